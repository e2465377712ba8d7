#!/bin/bash
# Runs the benchmark; it brings up and takes down an instance of its own with the scripts here.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

scripts/venv.sh
has sipp || apt_install sip-tester
has wrk || apt_install wrk
exec .venv/bin/python -m bench "$@"
