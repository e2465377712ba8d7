#!/bin/bash
# Writes the environment file of the instance: all of it at the first run, only missing keys later. Never changes a value.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

random() {
    local alphabet="$1" length="$2" text=''
    while ((${#text} < length)); do
        text+="$(head -c 256 /dev/urandom | base64 -w0 | tr -dc "$alphabet")"
    done
    printf '%s' "${text:0:length}"
}
secret() { random 'A-Za-z0-9' "$1"; }

# Values of this instance: "test" lives beside "default" on the same machine.
if [[ "$INSTANCE" == test ]]; then
    api=18080 kamailio=15060 asterisk=15080 ari=18088 ami=15038 rtp=20000 carrier=15090 carrier_rtp=21000 control=18091
    postgres=25432 redis=26379
else
    api=8080 kamailio=5060 asterisk=5080 ari=8088 ami=5038 rtp=10000 carrier=5090 carrier_rtp=11000 control=8091
    postgres=15432 redis=16379
fi

# Files in var/ belong to whoever runs make; root hands them to a user without a name instead.
uid="${SUDO_UID:-$(id -u)}" gid="${SUDO_GID:-$(id -g)}"
if [[ "$uid" == 0 ]]; then uid=10001 gid=10001; fi

# A container cannot have more open files than the engine may give it.
open_files="$(ulimit -Hn)"
if [[ "$open_files" == unlimited ]] || ((open_files > 65536)); then open_files=65536; fi

declare -A known=()
if [[ -e "$ENV_FILE" ]]; then
    while IFS='=' read -r key _; do
        if [[ "$key" =~ ^[A-Z_]+$ ]]; then known["$key"]=1; fi
    done < <(cat "$ENV_FILE" && echo)
    first=no
else
    first=yes
fi

new=()
comment() { if [[ "$first" == yes ]]; then new+=("" "# $1"); fi; }
# key NAME VALUE: adds it when the file does not have it. "value" holds what the file says in the end.
key() {
    if [[ -n "${known[$1]:-}" ]]; then
        value="$(env_value "$1")"
    else
        value="$2"
        new+=("$1=$2")
    fi
}

comment "HTTP: API, /docs, /metrics, /healthz, /readyz. A changed port is also changed in the URL below it."
key RINGLINE_API_HOST 127.0.0.1
key RINGLINE_API_PORT "$api"; api="$value"
key RINGLINE_API_URL "http://127.0.0.1:$api"

comment "First login and first customer"
key RINGLINE_ADMIN_USERNAME admin
key RINGLINE_ADMIN_PASSWORD "$(secret 20)"
key RINGLINE_ACCESSKEY "vb_$(secret 32)"
key RINGLINE_EXTENSION_PASSWORD "$(secret 20)"
key RINGLINE_JWT_SECRET "$(secret 48)"

comment "SIP edge. RINGLINE_KAMAILIO_ADDRESS: the interface it listens on. RINGLINE_ADVERTISED_ADDRESS: the address others see, when that is another one (NAT); also where RTP is sent to."
key RINGLINE_SIP_DOMAIN ringline.test
key RINGLINE_KAMAILIO_ADDRESS 127.0.0.1
key RINGLINE_ADVERTISED_ADDRESS ""
key RINGLINE_KAMAILIO_HOST 127.0.0.1
key RINGLINE_KAMAILIO_PORT "$kamailio"; kamailio="$value"
key RINGLINE_KAMAILIO_RPC_URL "http://127.0.0.1:$kamailio/rpc"
key RINGLINE_KAMAILIO_SECRET "$(random 'a-f0-9' 48)"
key RINGLINE_KAMAILIO_DB_PASSWORD "$(random 'a-f0-9' 48)"

comment "Media server (loopback only, except RTP once an address is advertised)"
key RINGLINE_ASTERISK_SIP_PORT "$asterisk"
key RINGLINE_RTP_START "$rtp"
key RINGLINE_RTP_END "$((rtp + 999))"
key RINGLINE_ARI_PORT "$ari"; ari="$value"
key RINGLINE_ARI_URL "http://127.0.0.1:$ari"
key RINGLINE_ARI_USERNAME ringline
key RINGLINE_ARI_PASSWORD "$(secret 32)"
key RINGLINE_AMI_HOST 127.0.0.1
key RINGLINE_AMI_PORT "$ami"
key RINGLINE_AMI_USERNAME ringline
key RINGLINE_AMI_PASSWORD "$(secret 32)"

comment "PostgreSQL and Redis"
key RINGLINE_POSTGRES_PORT "$postgres"; postgres="$value"
key RINGLINE_POSTGRES_DB ringline; database="$value"
key RINGLINE_POSTGRES_PASSWORD "$(secret 32)"
key RINGLINE_DATABASE_URL "postgresql+asyncpg://ringline:$value@127.0.0.1:$postgres/$database"
key RINGLINE_REDIS_PORT "$redis"; redis="$value"
key RINGLINE_REDIS_PASSWORD "$(secret 32)"
key RINGLINE_REDIS_URL "redis://:$value@127.0.0.1:$redis/0"

comment "Sandbox carrier: a simulated PSTN"
key RINGLINE_CARRIER_SIP_HOST 127.0.0.1
key RINGLINE_CARRIER_SIP_PORT "$carrier"
key RINGLINE_CARRIER_RTP_START "$carrier_rtp"
key RINGLINE_CARRIER_RTP_END "$((carrier_rtp + 999))"
key RINGLINE_CARRIER_CONTROL_HOST 127.0.0.1
key RINGLINE_CARRIER_CONTROL_PORT "$control"; control="$value"
key RINGLINE_CARRIER_CONTROL_URL "http://127.0.0.1:$control"
key RINGLINE_CARRIER_RECORDING_PREFIX "${VAR_DIR#./}/carrier/recordings"

comment "Number providers; empty: the vendor's own address"
key RINGLINE_TELNYX_BASE_URL ""
key RINGLINE_TWILIO_BASE_URL ""

comment "Logs: json or console; debug, info, warning or error"
key RINGLINE_LOG_FORMAT console
key RINGLINE_LOG_LEVEL info

comment "This instance: compose project, owner and place of its files, open files of a container, a dialplan extension for benchmarks (0 or 1)"
key RINGLINE_PROJECT "$PROJECT"
key RINGLINE_UID "$uid"
key RINGLINE_GID "$gid"
key RINGLINE_VAR_DIR "$VAR_DIR"
key RINGLINE_OPEN_FILES "$open_files"
if [[ "$INSTANCE" == test ]]; then
    key RINGLINE_BENCH 1
    # the tests' own file server; every other private address stays forbidden
    key RINGLINE_FETCH_ALLOWED_NETWORKS 127.0.0.2/32
    # the tests' own telephones; likewise
    key RINGLINE_SIP_ALLOWED_NETWORKS 127.0.0.3/32
else
    key RINGLINE_BENCH 0
fi

if ((${#new[@]})); then
    umask 077
    if [[ "$first" == yes ]]; then
        printf '%s\n' "# Made by Ringline's first start; later starts add missing keys and change nothing." "${new[@]}" >"$ENV_FILE.new"
        mv "$ENV_FILE.new" "$ENV_FILE"
        if [[ -n "${SUDO_UID:-}" ]]; then chown "$SUDO_UID:$SUDO_GID" "$ENV_FILE"; fi
        say "$ENV_FILE written, with random secrets"
    else
        # a last line without an end would swallow the first new one
        [[ -z "$(tail -c 1 "$ENV_FILE")" ]] || echo >>"$ENV_FILE"
        printf '%s\n' "${new[@]}" >>"$ENV_FILE"
        say "$ENV_FILE: added ${new[*]%%=*}"
    fi
fi

# A port stands in a URL as well; two different ones would start fine and then not find each other.
check() {
    local url port
    url="$(env_value "$1")" port="$(env_value "$2")"
    case "$url" in
    *//127.0.0.1:* | *@127.0.0.1:* | *//localhost:*)
        [[ "$url" =~ :$port(/|$) ]] || die "$ENV_FILE: $2 is $port but $1 has another port: make them agree, then run this again."
        ;;
    esac
}
check RINGLINE_API_URL RINGLINE_API_PORT
check RINGLINE_ARI_URL RINGLINE_ARI_PORT
check RINGLINE_DATABASE_URL RINGLINE_POSTGRES_PORT
check RINGLINE_REDIS_URL RINGLINE_REDIS_PORT
check RINGLINE_KAMAILIO_RPC_URL RINGLINE_KAMAILIO_PORT
check RINGLINE_CARRIER_CONTROL_URL RINGLINE_CARRIER_CONTROL_PORT
