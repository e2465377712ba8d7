#!/bin/sh
# Turns Ringline's environment into the names that kamailio-config/ reads, then becomes Kamailio.
set -eu

fail() {
    echo "kamailio: $1" >&2
    exit 64
}

password="${RINGLINE_KAMAILIO_DB_PASSWORD:-}"
case "$password" in
    "" | *[!0-9A-Za-z]*) fail "RINGLINE_KAMAILIO_DB_PASSWORD is missing or not of letters and digits; 'make up' writes it into .env" ;;
esac
export EDGE_DB_URL="postgres://kamailio:$password@${RINGLINE_POSTGRES_HOST:-127.0.0.1}:${RINGLINE_POSTGRES_PORT:-15432}/${RINGLINE_POSTGRES_DB:-ringline}"
export EDGE_SECRET="${RINGLINE_KAMAILIO_SECRET:-}"
case "$EDGE_SECRET" in
    *[!0-9A-Za-z]*) fail "RINGLINE_KAMAILIO_SECRET may hold letters and digits only" ;;
    ????????????????*) ;;
    *) fail "RINGLINE_KAMAILIO_SECRET is missing or shorter than 16 characters; 'make up' writes it into .env" ;;
esac

export RINGLINE_SIP_DOMAIN="${RINGLINE_SIP_DOMAIN:-ringline.test}"
export EDGE_ADDRESS="${RINGLINE_KAMAILIO_ADDRESS:-127.0.0.1}"
export EDGE_PORT="${RINGLINE_KAMAILIO_PORT:-5060}"
export EDGE_ASTERISK_ADDRESS="${RINGLINE_ASTERISK_HOST:-127.0.0.1}"
export EDGE_ASTERISK_PORT="${RINGLINE_ASTERISK_SIP_PORT:-5080}"

case "$EDGE_ADDRESS" in
    0.0.0.0 | :: | "[::]") fail "RINGLINE_KAMAILIO_ADDRESS must be the address of one interface, not $EDGE_ADDRESS" ;;
    127.0.0.1) ;;
    *) export EDGE_PUBLIC=yes ;;
esac
case "${RINGLINE_ADVERTISED_ADDRESS:-}" in
    "") ;;
    *:*) export EDGE_ADVERTISED="$RINGLINE_ADVERTISED_ADDRESS" ;;
    *) export EDGE_ADVERTISED="$RINGLINE_ADVERTISED_ADDRESS:$EDGE_PORT" ;;
esac

export EDGE_ADVERTISED_HOST="${RINGLINE_ADVERTISED_ADDRESS:-none}"
EDGE_ADVERTISED_HOST="${EDGE_ADVERTISED_HOST%%:*}"
# Networks that are not public and may be called all the same (RINGLINE_SIP_ALLOWED_NETWORKS, a list with commas).
allowed="$(printf '%s' "${RINGLINE_SIP_ALLOWED_NETWORKS:-}" | tr -d ' ')"
case "$allowed" in
    *[!0-9a-fA-F.:/,]*) fail "RINGLINE_SIP_ALLOWED_NETWORKS must be networks such as 10.1.2.0/24, with commas between them" ;;
esac
export EDGE_ALLOWED_NETWORKS="${allowed:-none}"

exec kamailio -DD -E -m "${RINGLINE_KAMAILIO_SHM_MB:-64}" -M 8 -w /tmp -f /etc/ringline-kamailio/kamailio.cfg "$@"
