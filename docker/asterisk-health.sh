#!/bin/bash
# Healthy: fully booted, ARI answers, the SIP side is there (the endpoint named by $1) and, with a second argument,
# that ARI application is registered. A broken http.conf or pjsip.conf leaves an Asterisk that says it is fully booted.
set -euo pipefail

[[ "$(timeout 4 asterisk -rx 'core waitfullybooted')" == *'has fully booted'* ]]

ari_get() {
    local status
    exec 3<>"/dev/tcp/127.0.0.1/$RINGLINE_ARI_PORT"
    printf 'GET /ari/%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic %s\r\nConnection: close\r\n\r\n' "$1" \
        "$(printf '%s:%s' "$RINGLINE_ARI_USERNAME" "$RINGLINE_ARI_PASSWORD" | base64 -w0)" >&3
    read -r -t 3 _ status _ <&3
    exec 3>&-
    [[ "$status" == 200 ]] || { echo "GET /ari/$1 answered $status"; return 1; }
}

ari_get asterisk/ping
ari_get "endpoints/PJSIP/$1"
if [[ -n "${2:-}" ]]; then
    ari_get "applications/$2"
fi
