#!/bin/bash
# Brings one instance of the stack up and waits until every part is healthy. Safe to run again.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SERVICES=(postgres redis asterisk kamailio carrier controller)
WAIT_SECONDS=180

engine_and_images() {
    local tar=var/cache/base.tar
    # Where an engine has to be installed first, a base image is made beside it: if a registry answers after all, it is
    # thrown away, else half a minute is won. A session of its own, so that all of it can be stopped.
    if is_root && ! has dockerd && ! timeout 15 docker info >/dev/null 2>&1 && has apt-get; then
        mkdir -p var/log var/cache
        rm -f "$tar" "$tar.part"
        setsid scripts/base.sh "$tar" >var/log/base.log 2>&1 &
        export RINGLINE_BASE_PID=$!
        trap 'kill -- "-$RINGLINE_BASE_PID" 2>/dev/null || true' EXIT
    fi
    scripts/engine.sh
    scripts/images.sh "$tar"
}

folders() {
    local uid gid
    uid="$(env_value RINGLINE_UID)" gid="$(env_value RINGLINE_GID)"
    mkdir -p "$VAR_DIR"/{media,recordings,carrier/recordings,log}
    if is_root; then
        chown "$uid:$gid" "$VAR_DIR" "$VAR_DIR"/{media,recordings,carrier,carrier/recordings}
        [[ -z "${SUDO_UID:-}" ]] || chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" var/log var/cache
    fi
    # a clone made under a strict umask: the containers' users must be able to read what is mounted
    chmod -R go+rX asterisk-config kamailio-config
}

running() { [[ -n "$(compose ps --quiet --status running 2>/dev/null)" ]]; }

# Somebody else's program on one of our ports makes a container restart for ever: better said before.
free_ports() {
    local name port
    for name in API ARI AMI POSTGRES REDIS CARRIER_CONTROL KAMAILIO; do
        port="$(env_value "RINGLINE_${name}_PORT")"
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            die "Port $port is taken by another program: stop it, or change RINGLINE_${name}_PORT in $ENV_FILE."
        fi
    done
}

hash_of() { find "$@" -type f -print0 | sort -z | xargs -0 cat | sha256sum | cut -c1-16; }

state_of() {
    docker inspect --format '{{.State.Status}} {{.State.ExitCode}}' "$PROJECT-$1-1" 2>/dev/null || echo missing
}

# Runs the container's own health check now: the engine does that seldom. What it says is kept for "explain".
is_healthy() {
    local test=() container="$PROJECT-$1-1"
    mapfile -t test < <(docker inspect --format '{{range .Config.Healthcheck.Test}}{{println .}}{{end}}' "$container" 2>/dev/null)
    case "${test[0]:-}" in
    CMD) test=("${test[@]:1}") ;;
    CMD-SHELL) test=(sh -c "${test[1]}") ;;
    *) return 1 ;;
    esac
    # the template ends with an empty line
    [[ -n "${test[-1]}" ]] || unset 'test[-1]'
    said["$1"]="$(timeout 12 docker exec "$container" "${test[@]}" 2>&1)"
}
declare -A said=()

explain() {
    local service="$1"
    printf '\nThe last lines of %s:\n' "$service" >&2
    compose logs --no-color --no-log-prefix --tail 20 "$service" >&2 || true
    printf '%s\n' "${said[$service]:-}" | tail -n 3 >&2
}

restarts_of() { docker inspect --format '{{.RestartCount}}' "$PROJECT-$1-1" 2>/dev/null || echo 0; }

crash_loop() {
    local service
    for service in "$@"; do
        if (($(restarts_of "$service") >= 5)); then return 0; fi
    done
    return 1
}

# Asterisk is unhealthy without a controller: the part that keeps ending comes first, then the one that others wait for.
culprit() {
    local service
    for service in "$@"; do
        if (($(restarts_of "$service") > 0)); then echo "$service"; return; fi
    done
    for service in postgres redis controller kamailio carrier asterisk; do
        if [[ " $* " == *" $service "* ]]; then echo "$service"; return; fi
    done
}

wait_healthy() {
    local up_pid="$1" began=$SECONDS deadline=$((SECONDS + WAIT_SECONDS)) up_failed=no service status code pending
    declare -A told=()
    while :; do
        pending=()
        for service in "${SERVICES[@]}"; do
            read -r status code <<<"$(state_of "$service")"
            if [[ "$status" != running ]]; then
                unset "told[$service]"
                pending+=("$service")
            elif [[ -z "${told[$service]:-}" ]]; then
                # what is healthy now may be about to be replaced as long as compose is at work
                if [[ -z "$up_pid" ]] && is_healthy "$service"; then
                    say "$service is healthy"
                    told[$service]=1
                else
                    pending+=("$service")
                fi
            fi
        done
        read -r status code _ <<<"$(state_of migrate)"
        if [[ -n "$up_pid" ]] && ! kill -0 "$up_pid" 2>/dev/null; then
            wait "$up_pid" && up_failed=no || up_failed=yes
            up_pid=''
        fi
        if [[ "$up_failed" == yes ]]; then
            if [[ "$status" == exited && "$code" != 0 ]]; then
                explain migrate
                die "The database could not be prepared; the lines above say why."
            fi
            tail -n 15 "$VAR_DIR/log/compose.log" >&2
            die "Docker Compose could not start the stack; the lines above say why."
        fi
        if ((${#pending[@]} == 0)); then break; fi
        if ((SECONDS > deadline)) || crash_loop "${pending[@]}"; then
            explain "$(culprit "${pending[@]}")"
            die "Not healthy after $((SECONDS - began)) s: ${pending[*]}. 'make logs' shows all of it."
        fi
        sleep 0.5
    done
}

# A database keeps the password of its first start: a new environment file does not fit an old volume.
refuse_foreign_data() {
    docker volume inspect "${PROJECT}_postgres" >/dev/null 2>&1 || return 0
    rm -f "$ENV_FILE"
    die "The database volume ${PROJECT}_postgres belongs to an earlier $ENV_FILE: put that file back, or run 'make reset' to delete its data and start anew."
}

main() {
    local new=no
    [[ -e "$ENV_FILE" ]] || new=yes
    scripts/env.sh
    if [[ "$new" == yes ]] && timeout 15 docker info >/dev/null 2>&1; then refuse_foreign_data; fi
    engine_and_images
    if [[ "$new" == yes ]]; then refuse_foreign_data; fi
    folders
    running || free_ports
    say "Starting $PROJECT"
    export RINGLINE_ASTERISK_CONFIG_HASH RINGLINE_KAMAILIO_CONFIG_HASH
    RINGLINE_ASTERISK_CONFIG_HASH="$(hash_of asterisk-config)"
    RINGLINE_KAMAILIO_CONFIG_HASH="$(hash_of kamailio-config)"
    compose up --detach --remove-orphans --quiet-pull >"$VAR_DIR/log/compose.log" 2>&1 &
    wait_healthy $!
    if [[ "$INSTANCE" == default ]]; then scripts/summary.sh; fi
}

main
