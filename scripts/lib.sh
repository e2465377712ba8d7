# Shared by the scripts here: where things are, how to speak, how to call compose. Sourced, never run.
# shellcheck shell=bash
# shellcheck disable=SC2034  # what is set here is used by the scripts that source this

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$ROOT"

# Which instance: "default" (.env) or "test" (.env.test, its own ports and data).
INSTANCE="${RINGLINE_INSTANCE:-default}"
case "$INSTANCE" in
default)
    ENV_FILE="${RINGLINE_ENV_FILE:-.env}"
    PROJECT="${RINGLINE_PROJECT:-ringline}"
    VAR_DIR="${RINGLINE_VAR_DIR:-./var}"
    ;;
test)
    ENV_FILE="${RINGLINE_ENV_FILE:-.env.test}"
    PROJECT="${RINGLINE_PROJECT:-ringline-test}"
    VAR_DIR="${RINGLINE_VAR_DIR:-./var/test}"
    ;;
*)
    echo "RINGLINE_INSTANCE is '$INSTANCE'; it can be 'default' or 'test'." >&2
    exit 2
    ;;
esac
BASE_IMAGE=debian:forky-slim
SUITE=forky

# pip and uv bring their own list of authorities; the machine's may hold a private one besides.
if [[ -s /etc/ssl/certs/ca-certificates.crt ]]; then
    export SSL_CERT_FILE="${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}"
    export PIP_CERT="${PIP_CERT:-$SSL_CERT_FILE}"
fi

# Seconds since the command that the user gave began, also in the scripts it calls.
export RINGLINE_STARTED="${RINGLINE_STARTED:-$(date +%s)}"
SECONDS=$(($(date +%s) - RINGLINE_STARTED))

say() { printf '%4ds  %s\n' "$SECONDS" "$*"; }

# One sentence: what is missing and how to get it.
die() {
    printf '\n%s\n' "$*" >&2
    exit 1
}

is_root() { [[ "$(id -u)" == 0 ]]; }

has() { command -v "$1" >/dev/null 2>&1; }

# Runs a command with its output in a log; shows the end of it only when the command fails.
quietly() {
    local log="$1"
    shift
    mkdir -p "$(dirname "$log")"
    if ! "$@" >"$log" 2>&1; then
        tail -n 25 "$log" >&2
        die "'$*' failed; all of its output is in $log."
    fi
}

# Waits for a lock and holds it until the subshell ends. In the checkout: in a folder that everybody may write to, anybody
# could hold it, or have root write elsewhere.
lock() {
    local descriptor
    mkdir -p "$ROOT/var/cache"
    exec {descriptor}>>"$ROOT/var/cache/$1.lock"
    flock "$descriptor"
}

# One apt at a time, and lists of packages that are not older than a day.
apt_install() {
    is_root || die "These packages are missing: $*. Run 'apt-get install $*' as root, then this command again."
    has apt-get || die "These packages are missing and there is no apt-get to install them: $*."
    (
        lock apt
        apt_update
        DEBIAN_FRONTEND=noninteractive quietly var/log/apt-install.log \
            apt-get -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends "$@"
    )
}

apt_update() {
    (
        lock apt-update
        if [[ -z "$(find /var/lib/apt/lists -maxdepth 1 -name '*Packages*' -mmin -1440 -print -quit 2>/dev/null)" ]]; then
            quietly var/log/apt-update.log apt-get update
        fi
    )
}

# The version apt would install, empty when it knows none. No early exit in such pipes: the writer would die of SIGPIPE.
candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: \([^(].*\)/\1/p'; }

compose() {
    RINGLINE_ENV_FILE="$ENV_FILE" RINGLINE_PROJECT="$PROJECT" RINGLINE_VAR_DIR="$VAR_DIR" \
        docker compose --project-directory "$ROOT" --file "$ROOT/docker-compose.yml" \
        --env-file "$ENV_FILE" --project-name "$PROJECT" "$@"
}

# The value of one key of the environment file.
env_value() { sed -n "s/^$1=//p" "$ENV_FILE" | tail -n 1; }
