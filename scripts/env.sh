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
    sip_tls=15061 sip_ws=15066 sip_wss=15067 hep=19060
    postgres=25432 redis=26379
else
    api=8080 kamailio=5060 asterisk=5080 ari=8088 ami=5038 rtp=10000 carrier=5090 carrier_rtp=11000 control=8091
    sip_tls=5061 sip_ws=5066 sip_wss=5067 hep=9060
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
        if [[ "$key" =~ ^[A-Z0-9_]+$ ]]; then known["$key"]=1; fi
    done < <(cat "$ENV_FILE" && echo)
    first=no
else
    first=yes
fi

new=()
comment() { if [[ "$first" == yes ]]; then new+=("" "# $1"); fi; }
# note NAME DEFAULT: a line to take the # from, at the first run.
note() { if [[ "$first" == yes && -z "${known[$1]:-}" ]]; then new+=("# $1=$2"); fi; }
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
key RINGLINE_WEBHOOK_SECRET "$(secret 48)"

comment "Accounts of people. RINGLINE_SIGNUP_ENABLED: whether strangers may sign up. RINGLINE_SMTP_URL: the server that takes mail, smtp://user:password@mail.example:587 (empty: mail is printed in the log). RINGLINE_AUDIT_KEEP_DAYS: how long the trail of changes is kept."
note RINGLINE_SIGNUP_ENABLED false
note RINGLINE_SMTP_URL ""
note RINGLINE_MAIL_FROM "Ringline <ringline@example.com>"
note RINGLINE_AUDIT_KEEP_DAYS 400

comment "SIP edge. RINGLINE_KAMAILIO_ADDRESS: the interface it listens on. RINGLINE_ADVERTISED_ADDRESS: the address others see, when that is another one (NAT); also where RTP is sent to. RINGLINE_DEFAULT_COUNTRY: where customers dial from of whom no number tells it."
key RINGLINE_SIP_DOMAIN ringline.test
key RINGLINE_DEFAULT_COUNTRY us
key RINGLINE_KAMAILIO_ADDRESS 127.0.0.1
key RINGLINE_ADVERTISED_ADDRESS ""
key RINGLINE_KAMAILIO_HOST 127.0.0.1
key RINGLINE_KAMAILIO_PORT "$kamailio"; kamailio="$value"
key RINGLINE_KAMAILIO_TLS_PORT "$sip_tls"
key RINGLINE_KAMAILIO_WS_PORT "$sip_ws"
key RINGLINE_KAMAILIO_WSS_PORT "$sip_wss"
key RINGLINE_KAMAILIO_RPC_URL "http://127.0.0.1:$kamailio/rpc"
key RINGLINE_KAMAILIO_SECRET "$(random 'a-f0-9' 48)"
key RINGLINE_KAMAILIO_DB_PASSWORD "$(random 'a-f0-9' 48)"

comment "TLS: the files of your own certificate (PEM, with its chain) and key; empty: Kamailio makes one that nobody else trusts. Pages that may open a WebSocket, such as https://phone.example; empty: all."
key RINGLINE_TLS_CERTIFICATE ""
key RINGLINE_TLS_KEY ""
key RINGLINE_WEBSOCKET_ORIGINS ""
comment "The authorities of providers reached by TLS: a file (PEM), or system for those of the operating system; empty: their certificates are not checked."
key RINGLINE_PROVIDER_TLS_CA ""
comment "SIP messages of calls, for GET /v1.0/calls/{id}/sip. RINGLINE_HEP_PORT: where Kamailio sends copies (loopback, UDP). Kept so many days (0: none are made) and bytes."
key RINGLINE_HEP_PORT "$hep"; hep="$value"
key RINGLINE_SIP_TRACE_DAYS 7
key RINGLINE_SIP_TRACE_BYTES 1073741824

# Words only: what is not set has its default, and a later release may change it.
comment "Floods, guesses and bans. These have defaults; write the ones you want to change without the # (and add networks of yours that are never shut out, such as 10.1.2.0/24): RINGLINE_BAN_FAILURES wrong passwords within RINGLINE_BAN_WINDOW_SECONDS, or RINGLINE_BAN_STRANGERS requests of a stranger in a minute, or RINGLINE_FLOOD_REQUESTS_PER_SECOND, and an address is shut out for RINGLINE_BAN_SECONDS (the first time)."
note RINGLINE_BAN_FAILURES 10
note RINGLINE_BAN_WINDOW_SECONDS 300
note RINGLINE_BAN_STRANGERS 20
note RINGLINE_BAN_SECONDS 600
note RINGLINE_FLOOD_REQUESTS_PER_SECOND 200
note RINGLINE_BAN_EXEMPT_NETWORKS ""

comment "Media server (loopback only, except RTP once an address is advertised)"
key RINGLINE_ASTERISK_SIP_PORT "$asterisk"; asterisk="$value"
key RINGLINE_RTP_START "$rtp"; rtp="$value"
key RINGLINE_RTP_END "$((rtp + 999))"
key RINGLINE_ARI_PORT "$ari"; ari="$value"
key RINGLINE_ARI_URL "http://127.0.0.1:$ari"
key RINGLINE_ARI_USERNAME ringline
key RINGLINE_ARI_PASSWORD "$(secret 32)"
key RINGLINE_AMI_HOST 127.0.0.1
key RINGLINE_AMI_PORT "$ami"; ami="$value"
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

comment "Vendors of numbers and texts. RINGLINE_NUMBER_VENDORS: telnyx, twilio, sandbox in the order in which they are asked; empty: those with credentials, and the sandbox. RINGLINE_PUBLIC_URL: where their webhooks reach this API, such as https://api.example.com; empty: RINGLINE_API_URL. Base URLs empty: the vendor's own address."
key RINGLINE_NUMBER_VENDORS ""
key RINGLINE_PUBLIC_URL ""
key RINGLINE_TELNYX_BASE_URL ""
key RINGLINE_TELNYX_API_KEY ""
key RINGLINE_TELNYX_PUBLIC_KEY ""
key RINGLINE_TELNYX_CONNECTION_ID ""
key RINGLINE_TELNYX_MESSAGING_PROFILE_ID ""
key RINGLINE_TWILIO_BASE_URL ""
key RINGLINE_TWILIO_ACCOUNT_SID ""
key RINGLINE_TWILIO_AUTH_TOKEN ""
key RINGLINE_TWILIO_TRUNK_SID ""
key RINGLINE_SANDBOX_HOOK_SECRET "whsec_$(secret 32)"
comment "Texts. RINGLINE_MESSAGE_OPT_OUT: keep (STOP, HELP and START are seen to here) or off (the carriers do); RINGLINE_MESSAGE_HELP_TEXT: what is answered to HELP, empty: a sentence of ours; RINGLINE_MESSAGE_RATE: texts a second that leave from one number, 0: no limit."
key RINGLINE_MESSAGE_OPT_OUT keep
key RINGLINE_MESSAGE_HELP_TEXT ""
key RINGLINE_MESSAGE_RATE 1

if [[ "${RINGLINE_PROFILE:-}" == scale ]]; then
    comment "Several processes beside each other (RINGLINE_PROFILE=scale, docs/scaling.md): their ports"
    key RINGLINE_API2_PORT "$((api + 1))"
    key RINGLINE_CONTROLLER1_PORT "$((api + 2))"
    key RINGLINE_CONTROLLER2_PORT "$((api + 3))"
    key RINGLINE_WORKER1_PORT "$((api + 4))"
    key RINGLINE_WORKER2_PORT "$((api + 5))"
    key RINGLINE_ASTERISK2_SIP_PORT "$((asterisk + 1))"
    key RINGLINE_ARI2_PORT "$((ari + 1))"
    key RINGLINE_AMI2_PORT "$((ami + 1))"
    key RINGLINE_HEP2_PORT "$((hep + 1))"
    key RINGLINE_RTP2_START "$((rtp + 3000))"
    key RINGLINE_RTP2_END "$((rtp + 3999))"
fi

comment "A statement of a customer's request that does not say whose rows it is about: refuse (the request is answered 500) or report (it is only counted and logged)"
key RINGLINE_UNBOUND_STATEMENTS refuse

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
