#!/bin/bash
# Runs the benchmark against the test instance, which has the yardstick extension in its dialplan.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

export RINGLINE_INSTANCE=test
scripts/venv.sh
has sipp || apt_install sip-tester
scripts/up.sh
trap 'RINGLINE_INSTANCE=test scripts/down.sh' EXIT
set -a
# shellcheck disable=SC1091
source .env.test
set +a
.venv/bin/python -m bench
