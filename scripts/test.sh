#!/bin/bash
# Every check and every test. Sets up what it needs, tests the stack on an instance of its own (.env.test, project
# ringline-test, var/test/) and takes that down again. Extra arguments go to pytest.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

export RINGLINE_INSTANCE=test
INSTANCE=test ENV_FILE=.env.test PROJECT=ringline-test VAR_DIR=./var/test
LOGS=var/test/logs
TIER_SECONDS=3000
# commands the tests call, and Debian's package of each
declare -A TOOLS=([espeak-ng]=espeak-ng [baresip]=baresip-core [sipp]=sip-tester [svwar]=sipvicious [chromium]=chromium [tshark]=tshark [wrk]=wrk)
# testcontainers' helper image cannot be had without a registry; containers end with their fixture
export TESTCONTAINERS_RYUK_DISABLED=true

results=()
failed=0
up_pid=''

step() {
    local name="$1" began=$SECONDS
    shift
    printf '\n'
    say "$name"
    if "$@"; then
        results+=("ok      $name ($((SECONDS - began)) s)")
    else
        results+=("FAILED  $name ($((SECONDS - began)) s)")
        failed=1
    fi
}

tests() {
    local tier="$1"
    shift
    if [[ -z "$(find "tests/$tier" -name 'test_*.py' -print -quit 2>/dev/null)" ]]; then
        echo "tests/$tier holds no tests"
        return 1
    fi
    # above pytest's own timeout of a test, which cannot break everything
    timeout --kill-after=20 "$TIER_SECONDS" .venv/bin/pytest "tests/$tier" "$@"
}

tools() {
    local tool missing=()
    for tool in "${!TOOLS[@]}"; do
        has "$tool" || missing+=("${TOOLS[$tool]}")
    done
    if ((${#missing[@]})); then
        say "Installing ${missing[*]}"
        apt_install "${missing[@]}"
    fi
}

bring_up() {
    # also what an earlier clone left
    FORCE=1 scripts/reset.sh
    rm -rf var/test/carrier var/test/media var/test/recordings
    scripts/up.sh
}

keep_logs() {
    mkdir -p "$LOGS"
    local service
    for service in migrate postgres redis asterisk kamailio carrier controller \
        asterisk2 controller1 controller2 api1 api2 worker1 worker2; do
        compose logs --no-color --no-log-prefix --timestamps "$service" >"$LOGS/$service.log" 2>/dev/null || true
    done
}

finish() {
    local status=$?
    trap - EXIT
    if [[ -n "$up_pid" ]] && kill -0 "$up_pid" 2>/dev/null; then
        kill "$up_pid" 2>/dev/null || true
        wait "$up_pid" 2>/dev/null || true
    fi
    if [[ -e "$ENV_FILE" ]] && timeout 15 docker info >/dev/null 2>&1; then
        keep_logs
        scripts/down.sh --volumes >/dev/null 2>&1 || true
    fi
    printf '\n'
    if ((${#results[@]})); then printf '  %s\n' "${results[@]}"; fi
    if ((failed != 0 && status == 0)); then status=1; fi
    if ((status == 0)); then say "All tests passed"; else say "Tests FAILED; the logs of the stack are in $LOGS"; fi
    exit "$status"
}

with_instance() {
    set -a
    # shellcheck disable=SC1091
    source .env.test
    set +a
    tests stack "$@"
}

# The same instance once more, as two of each process instead of one that does everything.
scaled() {
    export RINGLINE_PROFILE=scale
    scripts/up.sh || return 1
    set -a
    # shellcheck disable=SC1091
    source .env.test
    set +a
    tests scale "$@"
}

main() {
    mkdir -p var/log "$LOGS"
    trap finish EXIT
    trap 'exit 130' INT TERM
    scripts/engine.sh
    # the images are made while the cheap checks run
    bring_up >"$LOGS/up.log" 2>&1 &
    up_pid=$!
    tools
    scripts/venv.sh
    step "lint, types, imports" scripts/lint.sh
    step "unit tests" tests unit "$@"
    say "Waiting for the test instance of the stack"
    if wait "$up_pid"; then
        up_pid=''
        results+=("ok      the stack came up")
        step "component tests" tests component "$@"
        step "stack tests" with_instance "$@"
        compose logs --no-color --no-log-prefix --timestamps controller >"$LOGS/controller-alone.log" 2>/dev/null || true
        step "two of each process" scaled "$@"
    else
        up_pid=''
        tail -n 40 "$LOGS/up.log"
        results+=("FAILED  the stack did not come up: $LOGS/up.log")
        failed=1
        step "component tests" tests component "$@"
    fi
}

main "$@"
