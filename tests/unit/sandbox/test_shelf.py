"""The carrier's state on the disk, and the signatures of its webhooks."""

from __future__ import annotations

import base64
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from ringline.sandbox import shelf as shelves
from ringline.sandbox.hooks import sign
from ringline.sandbox.shelf import Shelf


def opened(path: Path) -> Shelf:
    shelf = Shelf(path / "state.jsonl")
    shelf.open()
    return shelf


def test_what_is_kept_is_there_again(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.put("orders", "a", {"n": 1})
    first.put("orders", "b", {"text": "\u2028 \u00e9 \n"})
    first.put("orders", "a", {"n": 2})
    first.put("numbers", "a", {"n": 3})
    first.drop("numbers", "a")
    first.drop("numbers", "nothing")
    first.close()
    second = opened(tmp_path)
    assert second.table("orders") == {"a": {"n": 2}, "b": {"text": "\u2028 \u00e9 \n"}}
    assert second.table("numbers") == {}
    assert len((tmp_path / "state.jsonl").read_text().splitlines()) == 2  # written anew
    second.close()


def test_lines_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    shelf = opened(tmp_path)
    shelf.put("orders", "a", {"n": 1})
    shelf.close()
    with (tmp_path / "state.jsonl").open("ab") as file:
        file.write(b'[]\nnull\n{"table": "orders", "key": "c", "row": 5}\n\xff\xfe\n{"table": "orders", "ke')
    again = opened(tmp_path)
    assert again.table("orders") == {"a": {"n": 1}}
    again.close()


def test_the_file_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "_SLACK", 50)
    shelf = opened(tmp_path)
    for turn in range(1000):
        shelf.put("orders", "a", {"n": turn})
    assert len((tmp_path / "state.jsonl").read_text().splitlines()) < 60
    shelf.close()
    again = opened(tmp_path)
    assert again.table("orders") == {"a": {"n": 999}}
    again.close()


def test_a_disk_that_says_no_is_no_reason_to_stop(tmp_path: Path) -> None:
    shelf = opened(tmp_path)
    shelf.close()

    class Full:
        def write(self, _: str) -> None:
            raise OSError("No space left on device")

        def close(self) -> None: ...

    shelf._file = Full()  # type: ignore[assignment]  # a full disk
    shelf.put("orders", "a", {"n": 1})
    assert (shelf.failures, shelf.table("orders")) == (1, {"a": {"n": 1}})
    shelf.close()


@settings(deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"])), st.from_regex(r"msg_[0-9a-f]{1,24}", fullmatch=True)
)
def test_signatures_are_those_of_the_public_package(text: str, message_id: str) -> None:
    secret = "whsec_" + base64.b64encode(os.urandom(24)).decode()
    timestamp, body = int(time.time()), json.dumps({"text": text})
    ours = sign(secret, message_id, timestamp, body)
    theirs = Webhook(secret).sign(message_id, datetime.fromtimestamp(timestamp, UTC), body)
    assert ours == theirs
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,AAAA {ours}",  # one of several
    }
    assert Webhook(secret).verify(body, headers) == {"text": text}
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + base64.b64encode(os.urandom(24)).decode()).verify(body, headers)
    assert sign(secret.removeprefix("whsec_"), message_id, timestamp, body) == ours
