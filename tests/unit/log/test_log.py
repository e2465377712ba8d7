"""Logs without secrets."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from ringline.log import redact

HIDDEN = "***"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("password", "x", HIDDEN),
        ("ari_password", "x", HIDDEN),
        ("Authorization", "Bearer abc", HIDDEN),
        ("accesskey", b"x", HIDDEN),
        ("token", "", ""),
        ("token", None, None),
        ("tokens_left", 5, 5),
        ("call_id", "abc", "abc"),
        ("url", "http://h/p?a=1&token=abc.def&b=2", f"http://h/p?a=1&token={HIDDEN}&b=2"),
        ("url", "/x?accesskey=vb_1", f"/x?accesskey={HIDDEN}"),
        ("why", "GET /a.wav?X-Amz-Signature=0a1b&x=1", f"GET /a.wav?X-Amz-Signature={HIDDEN}&x=1"),
        ("why", "https://h/a.wav?sv=1&sig=a%2Fb", f"https://h/a.wav?sv=1&sig={HIDDEN}"),
        (
            "error",
            "cannot connect to postgresql://u:pw@h:1/d",
            f"cannot connect to postgresql://u:{HIDDEN}@h:1/d",
        ),
        ("header", "Bearer abcdefgh.ijk", f"Bearer {HIDDEN}"),
        ("event", "the bearer of news", "the bearer of news"),
        (
            "request",
            {"headers": {"cookie": "x"}, "n": [1, {"secret": "x"}]},
            {"headers": {"cookie": HIDDEN}, "n": [1, {"secret": HIDDEN}]},
        ),
    ],
)
def test_secrets_are_hidden(name: str, value: Any, shown: Any) -> None:
    assert redact(None, "info", {name: value}) == {name: shown}


_PROGRAM = """
import logging, sys
import structlog
from ringline import log
log.configure("info", sys.argv[1])
log = structlog.get_logger("ringline.test")
structlog.contextvars.bind_contextvars(call_id="c1")
log.debug("unseen")
log.info("seen", password="hunter2", n=1)
logging.getLogger("elsewhere").warning("from %s", "stdlib?token=hunter2")
logging.getLogger("aiohttp.access").info("unseen")
try:
    raise ValueError("no")
except ValueError:
    log.exception("failed")
print("output")
"""


def _run(style: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, style], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout, done.stderr


def test_json_lines() -> None:
    output, errors = _run("json")
    assert output == "output\n"  # standard output belongs to the commands
    lines = [json.loads(line) for line in errors.splitlines()]
    assert [line["event"] for line in lines] == ["seen", f"from stdlib?token={HIDDEN}", "failed"]
    assert lines[0] == {
        **lines[0],
        "level": "info",
        "logger": "ringline.test",
        "call_id": "c1",
        "password": HIDDEN,
        "n": 1,
    }
    assert lines[1]["logger"] == "elsewhere"
    assert lines[1]["call_id"] == "c1"
    assert "ValueError: no" in lines[2]["exception"]
    assert "hunter2" not in errors


def test_console_lines() -> None:
    _, errors = _run("console")
    assert "seen" in errors
    assert "\x1b" not in errors  # no colours into a file
    assert "hunter2" not in errors


def test_importing_configures_nothing() -> None:
    assert logging.getLogger().level != logging.INFO
