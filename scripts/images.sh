#!/bin/bash
# Makes sure of all images: the public ones by a pull or, where no registry can be reached, stand-ins made from Debian's
# packages under the same names; Ringline's own by a build. images.sh [TAR]: a base image's tar being made in the background.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

BASE_TAR="${1:-var/cache/base.tar}"
BASE_PID="${RINGLINE_BASE_PID:-}"
PULL_TIMEOUT=120
export BUILDX_BUILDER="${BUILDX_BUILDER:-$(docker context show 2>/dev/null || echo default)}"

image_exists() { docker image inspect "$1" >/dev/null 2>&1; }

# A registry that cannot be reached fails at once or never: the first try is short, the rest of a real pull may take longer.
pull() { timeout "$PULL_TIMEOUT" docker pull --quiet "$1" >>"var/log/pull.log" 2>&1; }

base_image() {
    image_exists "$BASE_IMAGE" && return
    say "Pulling $BASE_IMAGE"
    if pull "$BASE_IMAGE"; then
        REGISTRY=yes
        return
    fi
    REGISTRY=no
    say "No registry answers: making $BASE_IMAGE from Debian's packages instead"
    if [[ -n "$BASE_PID" ]]; then
        while kill -0 "$BASE_PID" 2>/dev/null; do sleep 0.3; done
    fi
    if [[ ! -s "$BASE_TAR" ]]; then quietly var/log/base.log scripts/base.sh "$BASE_TAR"; fi
    quietly var/log/base-import.log docker import \
        --change 'CMD ["bash"]' \
        --change 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt' \
        --change 'LABEL org.opencontainers.image.title="stand-in from Debian packages"' \
        "$BASE_TAR" "$BASE_IMAGE"
    rm -f "$BASE_TAR"
    say "$BASE_IMAGE is ready"
}

# build NAME TAG: docker/NAME.Dockerfile. The host's network: it works where a bridge or its name service does not.
build() {
    local began=$SECONDS
    quietly "var/log/build-$1.log" docker buildx build --progress=plain --load --network=host \
        --file "docker/$1.Dockerfile" --tag "$2" .
    if ((SECONDS - began > 2)); then say "$2 is built ($((SECONDS - began)) s)"; fi
}

# A public image: as it is, pulled, or its stand-in.
public() {
    image_exists "$2" && return
    if [[ "${REGISTRY:-}" != no ]] && pull "$2"; then
        say "$2 is pulled"
        return
    fi
    build "$1" "$2"
}

main() {
    mkdir -p var/log var/cache
    base_image
    # a tar that nobody needs any more may still be in the making
    if [[ -n "$BASE_PID" ]]; then kill -- "-$BASE_PID" 2>/dev/null || true; fi
    local jobs=() job failed=0
    # the longest first
    build ringline "ringline/ringline:${RINGLINE_IMAGE_TAG:-dev}" & jobs+=($!)
    sleep 0.5
    build asterisk "ringline/asterisk:${RINGLINE_IMAGE_TAG:-dev}" & jobs+=($!)
    public postgres postgres:18 & jobs+=($!)
    build kamailio "ringline/kamailio:${RINGLINE_IMAGE_TAG:-dev}" & jobs+=($!)
    public redis redis:8 & jobs+=($!)
    for job in "${jobs[@]}"; do wait "$job" || failed=1; done
    ((failed == 0)) || die "An image could not be made; the lines above say which and why."
}

main
