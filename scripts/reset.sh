#!/bin/bash
# Deletes the containers and the data (database, Redis) of one instance, also of an earlier clone whose environment file
# is lost. Asks first, unless FORCE=1. Recordings in var/ and .env stay.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

timeout 15 docker info >/dev/null 2>&1 || { say "Nothing to delete: no Docker engine is running"; exit 0; }
label="label=com.docker.compose.project=$PROJECT"
mapfile -t containers < <(docker ps --all --quiet --filter "$label")
mapfile -t volumes < <(docker volume ls --quiet --filter "$label")
mapfile -t networks < <(docker network ls --quiet --filter "$label")
if ((${#containers[@]} + ${#volumes[@]} + ${#networks[@]} == 0)); then
    say "Nothing to delete: $PROJECT has neither containers nor data"
    exit 0
fi
if [[ "${FORCE:-}" != 1 ]]; then
    [[ -t 0 ]] || die "This deletes all data of $PROJECT (${volumes[*]}): run 'make reset FORCE=1' to mean it."
    read -r -p "Delete all data of $PROJECT (${volumes[*]})? Type 'yes': " answer
    [[ "$answer" == yes ]] || die "Nothing was deleted."
fi
if ((${#containers[@]})); then
    docker stop --time 30 "${containers[@]}" >/dev/null
    docker rm --force "${containers[@]}" >/dev/null
fi
if ((${#volumes[@]})); then docker volume rm "${volumes[@]}" >/dev/null; fi
if ((${#networks[@]})); then docker network rm "${networks[@]}" >/dev/null; fi
say "$PROJECT is deleted; 'make up' starts anew"
