#!/bin/bash
# Says where things are and gives the first call to paste.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

url="$(env_value RINGLINE_API_URL)"
address="$(env_value RINGLINE_KAMAILIO_ADDRESS)"
cat <<EOF

Ringline is up.

  API          $url/v1.0    (docs $url/docs, metrics $url/metrics)
  phone        $url/phone    in your browser; extension test11, password RINGLINE_EXTENSION_PASSWORD in $ENV_FILE
  SIP          $address:$(env_value RINGLINE_KAMAILIO_PORT)   domain $(env_value RINGLINE_SIP_DOMAIN)
  login        $(env_value RINGLINE_ADMIN_USERNAME), password RINGLINE_ADMIN_PASSWORD in $ENV_FILE
  calls made   ${VAR_DIR#./}/carrier/calls.jsonl, what the other side heard in ${VAR_DIR#./}/carrier/recordings/
  next         make logs, ./ringline doctor, ./ringline --help, make down

Your first call; the sandbox carrier answers it and records what it hears:

curl --location --request POST '$url/v1.0/calls?accesskey=$(env_value RINGLINE_ACCESSKEY)' \\
--header 'Content-Type: application/json' \\
--data-raw '{
  "source": {"type": "tel", "target": "+15551234567"},
  "destinations": [{"type": "tel", "target": "+15559876543"}],
  "actions": [
    {
      "type": "talk",
      "option": {
        "text": "hello. welcome to voipbin. This is test message. This audio file is generated dynamically by the tts module. Please enjoy the voipbin service. Thank you. Bye",
        "language": "en-US"
      }
    }
  ]
}'

EOF
