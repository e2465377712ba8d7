#!/bin/bash
# Makes sure of a running Docker engine, Compose 2 and buildx: does nothing where they are there, installs Debian's
# packages where they are not (as root).
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

DOCKERD_LOG=/var/log/ringline-dockerd.log

engine_answers() { has docker && [[ "$(timeout 15 docker info --format '{{.ServerVersion}}' 2>/dev/null)" == [0-9]* ]]; }
compose_ready() { [[ "$(docker compose version --short 2>/dev/null)" =~ ^v?([2-9]|[1-9][0-9]+)\. ]]; }
buildx_ready() { docker buildx version >/dev/null 2>&1; }

# Debian's own name of the engine's package ends like a host name, so it is looked up instead of written.
engine_package() { apt-cache pkgnames | grep -x 'docker[.]io' | head -n 1; }

# Compose and buildx where this Debian has them. Version 1 of docker-compose is another program.
own_plugins() {
    if [[ -n "$(candidate docker-compose)" && "$(candidate docker-compose)" != 1.* ]]; then echo docker-compose; fi
    if [[ -n "$(candidate docker-buildx)" ]]; then echo docker-buildx; fi
}

refuse_unless_root() {
    is_root && return
    if has docker && [[ "$(docker info 2>&1)" == *"permission denied"* ]]; then
        die "The Docker engine runs but $(id -un) may not use it: add yourself to the group 'docker' (and log in again), or run 'make up' as root."
    fi
    die "$1 is missing: run 'make up' once as root (it installs Debian's packages), or install Docker with Compose 2 yourself."
}

install_engine() {
    refuse_unless_root "A Docker engine"
    has apt-get || die "A Docker engine is missing and this is not a Debian system: install Docker with Compose 2, then run this again."
    say "No Docker engine here: installing Debian's package (needs root, which you are)"
    apt_update
    local package
    package="$(engine_package)"
    [[ -n "$package" ]] || die "apt knows no Docker engine package: check the sources in /etc/apt, then run this again."
    local packages=("$package" iptables)
    # since Debian 13 the client is a package of its own
    if [[ -n "$(candidate docker-cli)" ]]; then packages+=(docker-cli); fi
    # one installation is faster than three
    mapfile -t -O "${#packages[@]}" packages < <(own_plugins)
    apt_install "${packages[@]}"
}

start_engine() {
    refuse_unless_root "A running Docker engine"
    if [[ -d /run/systemd/system ]]; then
        say "Starting the Docker engine with systemd"
        systemctl enable --now docker >/dev/null 2>&1 || die "systemd could not start Docker: 'journalctl -u docker' says why."
    else
        say "Starting the Docker engine (no systemd here; its log is $DOCKERD_LOG)"
        # its own session, so that it outlives this script and the terminal
        setsid --fork dockerd >>"$DOCKERD_LOG" 2>&1 </dev/null
    fi
    local deadline=$((SECONDS + 60))
    until engine_answers; do
        ((SECONDS < deadline)) || die "The Docker engine did not answer within 60 s: $DOCKERD_LOG or 'journalctl -u docker' says why."
        sleep 0.3
    done
}

# Debian 12 has neither Compose 2 nor buildx; the packages of a later suite need nothing but libc.
install_plugins() {
    refuse_unless_root "Docker Compose 2 with buildx"
    has apt-get || die "Docker Compose 2 or buildx is missing: install both plugins, then run this again."
    apt_update
    local missing=() from_suite=() package
    compose_ready || missing+=(docker-compose)
    buildx_ready || missing+=(docker-buildx)
    for package in "${missing[@]}"; do
        if [[ " $(own_plugins | tr '\n' ' ') " == *" $package "* ]]; then
            say "Installing $package"
            apt_install "$package"
        else
            from_suite+=("$package")
        fi
    done
    ((${#from_suite[@]})) || return 0
    say "Installing ${from_suite[*]} from Debian $SUITE (this Debian has none)"
    quietly var/log/plugins.log scripts/suite-packages.sh "${from_suite[@]}"
}

main() {
    if engine_answers && compose_ready && buildx_ready; then return; fi
    mkdir -p var/log
    if ! engine_answers; then
        # a client alone is not an engine
        { has dockerd && has docker; } || install_engine
        start_engine
    fi
    if ! compose_ready || ! buildx_ready; then install_plugins; fi
    compose_ready || die "Docker Compose 2 is still missing after the installation: 'docker compose version' must answer."
    say "Docker engine $(docker info --format '{{.ServerVersion}}'), Compose $(docker compose version --short)"
}

main "$@"
