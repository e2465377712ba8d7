"""What the users' page says about verifying is true."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from ringline.webhooks.deliveries.schedule import PAUSES
from ringline.webhooks.signing import Secrets, sign

PAGE = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text()


def test_the_snippet_verifies() -> None:
    found = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}
    exec(compile(found[1], "docs/webhooks.md", "exec"), names)
    secrets, salt, body, now = Secrets("key"), uuid4(), '{"name": "Ümit"}'.encode(), int(time.time())
    headers = {
        "webhook-id": "one",
        "webhook-timestamp": str(now),
        "webhook-signature": sign([secrets.raw(uuid4()), secrets.raw(salt)], "one", now, body),
    }
    assert names["read"](secrets.text(salt), body, headers) == {"name": "Ümit"}
    assert names["read"](secrets.text(salt), body + b" ", headers) is None


def test_the_table_of_pauses_is_the_one_that_is_kept() -> None:
    units = {"s": 1, "min": 60, "h": 3600}
    rows = re.findall(r"^\| \d+(?: and later)? \| (\d+) (s|min|h) \|$", PAGE, re.MULTILINE)
    assert tuple(int(number) * units[unit] for number, unit in rows) == PAUSES
