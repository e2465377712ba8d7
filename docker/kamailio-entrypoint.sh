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
export EDGE_TLS_PORT="${RINGLINE_KAMAILIO_TLS_PORT:-5061}"
export EDGE_WS_PORT="${RINGLINE_KAMAILIO_WS_PORT:-5066}"
export EDGE_WSS_PORT="${RINGLINE_KAMAILIO_WSS_PORT:-5067}"
export EDGE_ASTERISK_ADDRESS="${RINGLINE_ASTERISK_HOST:-127.0.0.1}"
export EDGE_ASTERISK_PORT="${RINGLINE_ASTERISK_SIP_PORT:-5080}"
# All Asterisks (RINGLINE_ASTERISK_SIP_ADDRESSES, such as 10.0.0.1:5080,10.0.0.2:5080); empty: the one above. Kept with a
# blank on both sides of each, so that one can be looked for.
asterisks="$(printf '%s' "${RINGLINE_ASTERISK_SIP_ADDRESSES:-}" | tr -d ' ')"
case "$asterisks" in
    "") asterisks="$EDGE_ASTERISK_ADDRESS:$EDGE_ASTERISK_PORT" ;;
    *[!0-9.:,]*) fail "RINGLINE_ASTERISK_SIP_ADDRESSES must be addresses with ports such as 10.0.0.1:5080, with commas between them" ;;
    *,*) export EDGE_SEVERAL=yes EDGE_PING_FROM="sip:edge@$RINGLINE_SIP_DOMAIN" ;;
esac
export EDGE_ASTERISKS=" $(printf '%s' "$asterisks" | sed 's/,/  /g') "
: >/run/kamailio/dispatcher.list
for asterisk in $(printf '%s' "$asterisks" | tr ',' ' '); do
    printf '1 sip:%s 0 0\n' "$asterisk" >>/run/kamailio/dispatcher.list
done

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

# Where providers that we register with send their calls.
export EDGE_CONTACT="${EDGE_ADVERTISED:-$EDGE_ADDRESS:$EDGE_PORT}"
# How often each provider is asked whether it is there, in seconds.
seconds="${RINGLINE_PROVIDER_CHECK_SECONDS:-5}"
case "$seconds" in
    "" | *[!0-9]* | 0*) fail "RINGLINE_PROVIDER_CHECK_SECONDS must be whole seconds, not $seconds" ;;
esac
export EDGE_PROVIDER_TIMER="name=providers;interval=$seconds;mode=1;"

export EDGE_ADVERTISED_HOST="${RINGLINE_ADVERTISED_ADDRESS:-none}"
EDGE_ADVERTISED_HOST="${EDGE_ADVERTISED_HOST%%:*}"
if [ "$EDGE_ADVERTISED_HOST" != none ]; then
    export EDGE_ADVERTISED_TLS="$EDGE_ADVERTISED_HOST:$EDGE_TLS_PORT"
    export EDGE_ADVERTISED_WS="$EDGE_ADVERTISED_HOST:$EDGE_WS_PORT"
    export EDGE_ADVERTISED_WSS="$EDGE_ADVERTISED_HOST:$EDGE_WSS_PORT"
fi
# Pages that may open a WebSocket (RINGLINE_WEBSOCKET_ORIGINS, such as https://phone.example, a list with commas).
origins="$(printf '%s' "${RINGLINE_WEBSOCKET_ORIGINS:-}" | tr -d ' ')"
case "$origins" in
    *[!0-9a-zA-Z.:/,_-]*) fail "RINGLINE_WEBSOCKET_ORIGINS must be origins such as https://phone.example, with commas between them" ;;
esac
export EDGE_WEBSOCKET_ORIGINS="${origins:-any}"
# Networks that are not public and may be called all the same (RINGLINE_SIP_ALLOWED_NETWORKS, a list with commas).
allowed="$(printf '%s' "${RINGLINE_SIP_ALLOWED_NETWORKS:-}" | tr -d ' ')"
case "$allowed" in
    *[!0-9a-fA-F.:/,]*) fail "RINGLINE_SIP_ALLOWED_NETWORKS must be networks such as 10.1.2.0/24, with commas between them" ;;
esac
export EDGE_ALLOWED_NETWORKS="${allowed:-none}"

# Who is shut out, and for how long (guard.cfg).
number() {
    case "$2" in
        "" | *[!0-9]* | 0* | ???????*) fail "$1 must be a number from 1 to 999999, not $2" ;;
    esac
}
export EDGE_BAN_FAILURES="${RINGLINE_BAN_FAILURES:-10}"
number RINGLINE_BAN_FAILURES "$EDGE_BAN_FAILURES"
export EDGE_BAN_WINDOW="${RINGLINE_BAN_WINDOW_SECONDS:-300}"
number RINGLINE_BAN_WINDOW_SECONDS "$EDGE_BAN_WINDOW"
export EDGE_BAN_STRANGERS="${RINGLINE_BAN_STRANGERS:-20}"
number RINGLINE_BAN_STRANGERS "$EDGE_BAN_STRANGERS"
export EDGE_BAN_SECONDS="${RINGLINE_BAN_SECONDS:-600}"
number RINGLINE_BAN_SECONDS "$EDGE_BAN_SECONDS"
flood="${RINGLINE_FLOOD_REQUESTS_PER_SECOND:-200}"
number RINGLINE_FLOOD_REQUESTS_PER_SECOND "$flood"
# pike counts in slices of two seconds
export EDGE_FLOOD_DENSITY="$((flood * 2))"
# How often the way to a phone behind NAT is kept open, in seconds.
export EDGE_NAT_KEEPALIVE="${RINGLINE_NAT_KEEPALIVE_SECONDS:-25}"
number RINGLINE_NAT_KEEPALIVE_SECONDS "$EDGE_NAT_KEEPALIVE"
exempt="$(printf '%s' "${RINGLINE_BAN_EXEMPT_NETWORKS:-}" | tr -d ' ')"
case "$exempt" in
    *[!0-9a-fA-F.:/,]*) fail "RINGLINE_BAN_EXEMPT_NETWORKS must be networks such as 10.1.2.0/24, with commas between them" ;;
esac
export EDGE_GUARD_EXEMPT="${exempt:-none}"
export EDGE_ADVERTISED_SIP="${EDGE_ADVERTISED:-none}"

# The pair of files that tls.cfg names. Kept where RINGLINE_TLS_DIR is a volume; else they last as long as the container.
tls="${RINGLINE_TLS_DIR:-}"
if [ -n "$tls" ] && [ -d "$tls" ]; then
    [ -w "$tls" ] || fail "$tls, where the TLS certificate is kept, is not writable for $(id -u)"
    ln -sfn "$tls" /run/kamailio/tls
else
    tls=/run/kamailio/tls
    mkdir -p "$tls"
fi
umask 077
if [ -e "$tls/own" ] || [ ! -s "$tls/certificate.pem" ] || [ ! -s "$tls/key.pem" ]; then
    # What the certificate of our own making is for stands in "own": with another domain or address it is made anew.
    names="DNS:$RINGLINE_SIP_DOMAIN,DNS:*.$RINGLINE_SIP_DOMAIN,DNS:localhost,IP:127.0.0.1"
    for address in "$EDGE_ADDRESS" "$EDGE_ADVERTISED_HOST"; do
        case "$address" in
            none | 127.0.0.1) ;;
            *[!0-9.]*) names="$names,DNS:$address" ;;
            *) names="$names,IP:$address" ;;
        esac
    done
    if [ "$(cat "$tls/own" 2>/dev/null)" != "$names" ] \
        || ! openssl x509 -in "$tls/certificate.pem" -noout -checkend 2592000 >/dev/null 2>&1; then
        # In this order nothing that a crash leaves behind looks finished: "own" speaks before the certificate is there.
        rm -f "$tls/certificate.pem" "$tls/key.pem"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 825 \
            -subj "/O=Ringline/CN=$RINGLINE_SIP_DOMAIN" -addext "subjectAltName=$names" \
            -addext "keyUsage=critical,digitalSignature" -addext "extendedKeyUsage=serverAuth" \
            -keyout "$tls/key.new" -out "$tls/certificate.new" 2>/tmp/openssl.log \
            || fail "the TLS certificate could not be made: $(tail -n 1 /tmp/openssl.log)"
        printf '%s' "$names" >"$tls/own"
        mv "$tls/key.new" "$tls/key.pem"
        mv "$tls/certificate.new" "$tls/certificate.pem"
    fi
fi
# Whose certificates providers may show: "system", or a file that "make up" copies beside ours; empty: anybody's.
case "${RINGLINE_PROVIDER_TLS_CA:-}" in
    "") ;;
    system) authorities=/etc/ssl/certs/ca-certificates.crt ;;
    *) authorities="$tls/providers.pem" ;;
esac
if [ -n "${authorities:-}" ]; then
    [ -s "$authorities" ] || fail "RINGLINE_PROVIDER_TLS_CA is set, but there is no $authorities; 'make up' copies it"
    ln -sf "$authorities" /run/kamailio/authorities.pem
    export EDGE_TLS_CONFIG=/etc/ringline-kamailio/tls-checked.cfg
fi
export EDGE_TLS_CONFIG="${EDGE_TLS_CONFIG:-/etc/ringline-kamailio/tls.cfg}"
# Copies of SIP messages for the controller. Keeping them for no time at all means: none are made.
days="${RINGLINE_SIP_TRACE_DAYS:-7}"
case "$days" in
    *[!0-9.]* | "") fail "RINGLINE_SIP_TRACE_DAYS must be a number of days such as 7 or 0.5; 0 turns traces off" ;;
    *[1-9]*) export EDGE_TRACE=yes ;;
esac
export EDGE_HEP_URI="sip:127.0.0.1:${RINGLINE_HEP_PORT:-9060}"
export EDGE_HEP_KEY="$EDGE_SECRET"
EDGE_REALMS="[.]$(printf '%s' "$RINGLINE_SIP_DOMAIN" | sed 's/[.]/[.]/g')\$"
export EDGE_REALMS

exec kamailio -DD -E -m "${RINGLINE_KAMAILIO_SHM_MB:-128}" -M 8 -w /tmp -f /etc/ringline-kamailio/kamailio.cfg "$@"
