#!/bin/bash
# Follows the logs of one instance: logs.sh [SERVICE...].
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ -e "$ENV_FILE" ]] || die "There is no $ENV_FILE yet: run 'make up' first."
has docker || die "There is no Docker engine here yet: run 'make up' first."
compose logs --follow --tail "${TAIL:-100}" "$@"
