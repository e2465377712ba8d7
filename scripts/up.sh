#!/bin/bash
# Brings one instance of the stack up and waits until every part is healthy. Safe to run again.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PARTS=(asterisk2 controller1 controller2 api1 api2 worker1 worker2)
PROFILE="${RINGLINE_PROFILE:-}"
case "$PROFILE" in
"") SERVICES=(postgres redis asterisk kamailio carrier controller) ;;
scale) SERVICES=(postgres redis asterisk kamailio carrier "${PARTS[@]}") ;;
*) die "RINGLINE_PROFILE is '$PROFILE'; it can be empty or 'scale' (docs/scaling.md)." ;;
esac
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
    mkdir -p "$VAR_DIR"/{media,recordings,carrier/recordings,tls,log}
    chmod 0700 "$VAR_DIR/tls"
    if is_root; then
        chown "$uid:$gid" "$VAR_DIR" "$VAR_DIR"/{media,recordings,carrier,carrier/recordings,tls}
        [[ -z "${SUDO_UID:-}" ]] || chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" var/log var/cache
    fi
    # a clone made under a strict umask: the containers' users must be able to read what is mounted
    chmod -R go+rX asterisk-config kamailio-config
}

# An operator's certificate is copied to where Kamailio's user can read it; without one Kamailio makes its own. What is
# there is part of Kamailio's configuration: another certificate restarts it.
certificate() {
    local certificate key new="$VAR_DIR/tls/new"
    certificate="$(env_value RINGLINE_TLS_CERTIFICATE)" key="$(env_value RINGLINE_TLS_KEY)"
    if [[ -z "$certificate$key" ]]; then
        # one that was given earlier goes: "own" stands beside those of our making
        [[ -e "$VAR_DIR/tls/own" ]] || rm -f "$VAR_DIR"/tls/{certificate,key}.pem
        return
    fi
    [[ -n "$certificate" && -n "$key" ]] || die "$ENV_FILE: RINGLINE_TLS_CERTIFICATE and RINGLINE_TLS_KEY belong together: set both or none."
    [[ -r "$certificate" && -r "$key" ]] || die "$ENV_FILE: $certificate or $key (RINGLINE_TLS_CERTIFICATE, RINGLINE_TLS_KEY) cannot be read."
    grep -q 'BEGIN CERTIFICATE' "$certificate" || die "$certificate (RINGLINE_TLS_CERTIFICATE) holds no certificate in PEM."
    grep -q 'BEGIN .*PRIVATE KEY' "$key" || die "$key (RINGLINE_TLS_KEY) holds no private key in PEM."
    cmp -s "$certificate" "$VAR_DIR/tls/certificate.pem" && cmp -s "$key" "$VAR_DIR/tls/key.pem" && return
    rm -f "$VAR_DIR/tls/own"
    (
        umask 077
        cat "$key" >"$new" && mv "$new" "$VAR_DIR/tls/key.pem"
        cat "$certificate" >"$new" && mv "$new" "$VAR_DIR/tls/certificate.pem"
    )
    if is_root; then chown "$(env_value RINGLINE_UID):$(env_value RINGLINE_GID)" "$VAR_DIR"/tls/*; fi
    say "The TLS certificate is $certificate"
}

# The authorities whose certificates providers show, copied likewise.
authorities() {
    local given kept="$VAR_DIR/tls/providers.pem"
    given="$(env_value RINGLINE_PROVIDER_TLS_CA)"
    if [[ -z "$given" || "$given" == system ]]; then rm -f "$kept"; return; fi
    [[ -r "$given" ]] || die "$ENV_FILE: $given (RINGLINE_PROVIDER_TLS_CA) cannot be read."
    grep -q 'BEGIN CERTIFICATE' "$given" || die "$given (RINGLINE_PROVIDER_TLS_CA) holds no certificate in PEM."
    cmp -s "$given" "$kept" && return
    cat "$given" >"$kept.new" && mv "$kept.new" "$kept"
    if is_root; then chown "$(env_value RINGLINE_UID):$(env_value RINGLINE_GID)" "$kept"; fi
    say "Providers by TLS are checked against $given"
}

running() { [[ -n "$(compose ps --quiet --status running 2>/dev/null)" ]]; }

# Somebody else's program on one of our ports makes a container restart for ever: better said before.
free_ports() {
    local name port
    local names=(API ARI AMI POSTGRES REDIS CARRIER_CONTROL KAMAILIO KAMAILIO_TLS KAMAILIO_WS KAMAILIO_WSS)
    if [[ "$PROFILE" == scale ]]; then names+=(API2 ARI2 AMI2 CONTROLLER1 CONTROLLER2 WORKER1 WORKER2); fi
    for name in "${names[@]}"; do
        port="$(env_value "RINGLINE_${name}_PORT")"
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            die "Port $port is taken by another program: stop it, or change RINGLINE_${name}_PORT in $ENV_FILE."
        fi
    done
}

operators_certificate() {
    [[ -e "$VAR_DIR/tls/own" || ! -e "$VAR_DIR/tls/certificate.pem" ]] || echo "$VAR_DIR/tls/certificate.pem"
    [[ ! -e "$VAR_DIR/tls/providers.pem" ]] || echo "$VAR_DIR/tls/providers.pem"
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

counted_restarts() {
    local found
    found=$(docker inspect --format '{{.Id}} {{.RestartCount}}' "$PROJECT-$1-1" 2>/dev/null) || found='none 0'
    echo "$found"
}

# Of a container that runs already: how often it was restarted before, which is no fault of this start.
declare -A restarted_before=()

restarts_of() {
    local id count
    read -r id count <<<"$(counted_restarts "$1")"
    echo $((count - ${restarted_before[$id]:-0}))
}

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
    for service in postgres redis controller controller1 controller2 kamailio carrier asterisk asterisk2 api1 api2 worker1 worker2; do
        if [[ " $* " == *" $service "* ]]; then echo "$service"; return; fi
    done
}

wait_healthy() {
    local up_pid="$1" began=$SECONDS deadline=$((SECONDS + WAIT_SECONDS)) up_failed=no service status code pending id count
    declare -A told=()
    for service in "${SERVICES[@]}"; do
        read -r id count <<<"$(counted_restarts "$service")"
        restarted_before[$id]=$count
    done
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

# Either one process does everything, or several share it: those of the other way end first.
start() {
    if [[ "$PROFILE" == scale ]]; then
        compose rm --stop --force controller
        local port=RINGLINE_ASTERISK_SIP_PORT second=RINGLINE_ASTERISK2_SIP_PORT
        export RINGLINE_ASTERISK_SIP_ADDRESSES
        RINGLINE_ASTERISK_SIP_ADDRESSES="127.0.0.1:$(env_value $port),127.0.0.1:$(env_value $second)"
        compose --profile scale up --detach --remove-orphans --quiet-pull --scale controller=0
    else
        compose --profile scale rm --stop --force "${PARTS[@]}"
        compose up --detach --remove-orphans --quiet-pull
    fi
}

main() {
    local new=no
    [[ -e "$ENV_FILE" ]] || new=yes
    scripts/env.sh
    if [[ "$new" == yes ]] && timeout 15 docker info >/dev/null 2>&1; then refuse_foreign_data; fi
    engine_and_images
    if [[ "$new" == yes ]]; then refuse_foreign_data; fi
    folders
    certificate
    authorities
    running || free_ports
    say "Starting $PROJECT"
    export RINGLINE_ASTERISK_CONFIG_HASH RINGLINE_KAMAILIO_CONFIG_HASH
    RINGLINE_ASTERISK_CONFIG_HASH="$(hash_of asterisk-config)"
    RINGLINE_KAMAILIO_CONFIG_HASH="$(hash_of kamailio-config $(operators_certificate))"
    start >"$VAR_DIR/log/compose.log" 2>&1 &
    wait_healthy $!
    if [[ "$INSTANCE" == default ]]; then scripts/summary.sh; fi
}

main
