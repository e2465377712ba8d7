#!/bin/bash
# Stops one instance. Data stays unless --volumes is given.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ -e "$ENV_FILE" ]] || { say "Nothing to stop: there is no $ENV_FILE"; exit 0; }
timeout 15 docker info >/dev/null 2>&1 || { say "Nothing to stop: no Docker engine is running"; exit 0; }
compose --profile scale down --remove-orphans --timeout 30 "$@" >/dev/null 2>&1 || die "Docker Compose could not stop $PROJECT: 'docker compose -p $PROJECT ps' shows what is left."
say "$PROJECT is stopped"
