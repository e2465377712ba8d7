curl --location --request POST 'https://api.voipbin.net/v1.0/flows?token=<YOUR_AUTH_TOKEN>' \
--header 'Content-Type: application/json' \
--data-raw '{
"name": "Notify third party anonymously",
"actions": [
{
"type": "answer"
},
{
"type": "talk",
"option": {
"text": "Incoming customer request detected. Triggering anonymous notification.",
"language": "en-US"
}
},
{
"type": "call",
"option": {
"anonymous": "yes",
"source": {
"type": "tel",
"target": "+15551234567"
},
"destinations": [
{
"type": "tel",
"target": "+15557778888"
}
],
"actions": [
{
"type": "talk",
"option": {
"text": "This is an automated notification. A customer request has been received.",
"language": "en-US"
}
}
]
}
},
{
"type": "talk",
"option": {
"text": "Notification sent. Thank you.",
"language": "en-US"
}
}
]
}'
