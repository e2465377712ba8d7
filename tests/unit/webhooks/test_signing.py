"""Signatures, judged by the package that receivers use."""

from __future__ import annotations

import json
import time
from uuid import uuid4

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from ringline.webhooks.signing import Secrets, sign


def headers(message_id: str, timestamp: int, signature: str) -> dict[str, str]:
    return {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": signature}


def test_receivers_can_verify_with_either_secret_and_no_other() -> None:
    secrets = Secrets("key")
    new, old, other = uuid4(), uuid4(), uuid4()
    body = json.dumps({"type": "call_hangup", "name": "Ümit \U0001f697"}).encode()
    now = int(time.time())
    given = headers("one", now, sign([secrets.raw(new), secrets.raw(old)], "one", now, body))
    for salt in (new, old):
        assert Webhook(secrets.text(salt)).verify(body, given) == json.loads(body)
    for wrong in (secrets.text(other), Secrets("another key").text(new)):
        with pytest.raises(WebhookVerificationError):
            Webhook(wrong).verify(body, given)
    for tampered in (given | {"webhook-id": "two"}, given | {"webhook-timestamp": str(now + 1)}):
        with pytest.raises(WebhookVerificationError):
            Webhook(secrets.text(new)).verify(body, tampered)
    with pytest.raises(WebhookVerificationError):
        Webhook(secrets.text(new)).verify(body + b" ", given)


def test_a_secret_is_recognised_by_its_beginning() -> None:
    secrets, salt = Secrets("key"), uuid4()
    assert secrets.text(salt) == Secrets("key").text(salt), "the same in every process"
    assert secrets.text(salt).startswith(secrets.prefix(salt)) and len(secrets.prefix(salt)) == 12
    assert secrets.text(salt).startswith("whsec_") and len(secrets.raw(salt)) == 32
