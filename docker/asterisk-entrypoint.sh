#!/bin/bash
# Renders the configuration mounted at $RINGLINE_CONFIG_SOURCE (placeholders @NAME@) into /etc/asterisk, which is a
# tmpfs, then becomes the given command.
set -euo pipefail

source_dir="${RINGLINE_CONFIG_SOURCE:-/etc/ringline/asterisk}"
target_dir=/etc/asterisk
: "${RINGLINE_ADVERTISED_ADDRESS:=127.0.0.1}"
RINGLINE_ADVERTISED_ADDRESS="${RINGLINE_ADVERTISED_ADDRESS%:*}" # Kamailio's may carry a port
: "${RINGLINE_KAMAILIO_HOST:=127.0.0.1}"
: "${RINGLINE_ARI_APPLICATION:=ringline}"
export RINGLINE_ADVERTISED_ADDRESS RINGLINE_KAMAILIO_HOST RINGLINE_ARI_APPLICATION
# A loopback address is bound as it is, so that nothing listens in public. Any other may belong to a NAT in front of
# this machine, where binding it would fail: then RTP listens on all addresses.
case "$RINGLINE_ADVERTISED_ADDRESS" in
127.*) export BIND_MEDIA=yes ;;
*) export BIND_MEDIA=no ;;
esac

render() {
    awk '/^;/ { next } {
        line = $0; out = ""
        while (match(line, /@[A-Z][A-Z_]*@/)) {
            name = substr(line, RSTART + 1, RLENGTH - 2)
            if (!(name in ENVIRON) || ENVIRON[name] == "") {
                print FILENAME ": " name " is not set in the environment" > "/dev/stderr"
                exit 1
            }
            out = out substr(line, 1, RSTART - 1) ENVIRON[name]
            line = substr(line, RSTART + RLENGTH)
        }
        print out line
    }' "$1"
}

umask 077
# Asterisk reports a missing one of these as an error, an empty one not at all
for name in acl ccss chan_websocket features pjproject udptl websocket_client; do
    : >"$target_dir/$name.conf"
done
for file in "$source_dir"/*.conf; do
    render "$file" >"$target_dir/${file##*/}"
done

# The machine's own addresses (the kernel's table of local routes), each advertised to browsers as the one that counts.
awk -v advertised="$RINGLINE_ADVERTISED_ADDRESS" '
    /32 host LOCAL/ && address !~ /^127[.]/ && !seen[address]++ { print address " => " advertised }
    { address = $2 }' /proc/net/fib_trie >"$target_dir/ice_host_candidates.conf"

if [[ "${RINGLINE_BENCH:-0}" == 1 ]]; then
    # half a second of ulaw silence: what a prompt costs does not depend on what it says
    head -c 4000 /dev/zero | tr '\0' '\377' >"$target_dir/bench.ulaw"
elif [[ -e "$target_dir/bench.conf" ]]; then
    : >"$target_dir/bench.conf"
fi

mkdir -p /var/spool/asterisk/recording
exec "$@"
