"""What readers of the WebSocket send."""

from __future__ import annotations

import pytest

from ringline.errors import InvalidArgument
from ringline.events.sockets import frames


@pytest.mark.parametrize(
    ("sent", "ref"),
    [
        ('{"type": "subscribe", "topics": ["everything"], "ref": "a"}', "a"),
        ('{"type": "publish", "ref": "b"}', "b"),
        ('{"type": "ping", "ref": 7}', ""),
        ('{"type": "ping", "ref": "' + "x" * 65 + '"}', ""),
        ('{"type": "publish"}', ""),
        ('["ref"]', ""),
        ("nothing", ""),
    ],
)
def test_what_cannot_be_carried_out_keeps_its_ref(sent: str, ref: str) -> None:
    with pytest.raises(InvalidArgument):
        frames.parse(sent)
    assert frames.ref_of(sent) == ref
