"""Taking in is bounded in everything that a stranger can make grow."""

from __future__ import annotations

from ringline.traces.capture import MAX_DIALOG_BYTES, MAX_MESSAGE, MAX_MESSAGES, Capture
from tests.unit.traces.wire import ASTERISK, INVITE, KAMAILIO, KEY, outgoing, packet


def feed(capture: Capture, *datagrams: bytes) -> None:
    for one in datagrams:
        capture.take(one)


def test_messages_gather_by_call_id() -> None:
    capture = Capture(KEY)
    feed(capture, *outgoing("one"), *outgoing("two")[:3])
    one, two = capture.dialog("one"), capture.dialog("two")
    assert one is not None and two is not None
    assert (len(one.packets), len(two.packets), len(capture)) == (10, 3, 2)
    capture.forget("one")
    assert capture.dialog("one") is None
    assert capture.bytes == two.size
    capture.forget("one")


def test_only_who_has_the_key_is_heard() -> None:
    capture = Capture(KEY)
    feed(capture, *outgoing(key="fedcba9876543210"), b"", b"HEP3", INVITE, bytes(60_000))
    assert len(capture) == capture.bytes == 0


def test_a_message_without_call_id_is_dropped() -> None:
    capture = Capture(KEY)
    feed(capture, packet(ASTERISK, KAMAILIO, b"INVITE sip:a SIP/2.0\r\n\r\n"))
    assert len(capture) == 0


def test_a_dialog_has_so_many_messages_and_bytes() -> None:
    capture = Capture(KEY)
    feed(capture, *(outgoing()[:1] * (MAX_MESSAGES + 5)))
    dialog = capture.dialog("dialog-1")
    assert dialog is not None
    assert (len(dialog.packets), dialog.dropped) == (MAX_MESSAGES, 5)
    feed(capture, *[packet(ASTERISK, KAMAILIO, INVITE.replace(b"dialog-1", b"big") + b"x" * 60_000)] * 30)
    big = capture.dialog("big")
    assert big is not None
    assert max(map(len, big.packets)) == MAX_MESSAGE
    assert big.size <= MAX_DIALOG_BYTES
    assert big.dropped == 30 - MAX_DIALOG_BYTES // MAX_MESSAGE


def test_a_flood_of_call_ids_takes_no_more_than_there_is() -> None:
    capture = Capture(KEY, max_bytes=20_000, max_dialogs=50)
    feed(capture, *(outgoing(f"flood-{number}")[0] for number in range(500)))
    assert len(capture) <= 50
    assert capture.bytes <= 20_000


def test_the_sweep_keeps_calls_that_last_and_forgets_nobodys() -> None:
    capture = Capture(KEY)
    feed(capture, *outgoing("live")[:2], *outgoing("nobody")[:2])
    capture.sweep(["live"])
    assert len(capture) == 2, "both are fresh"
    capture.sweep(["live"], idle=-1.0)
    assert capture.dialog("live") is not None
    assert capture.dialog("nobody") is None
