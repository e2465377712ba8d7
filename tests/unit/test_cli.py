"""The command line, without a stack."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import Result
from typer.testing import CliRunner

from ringline import __version__, cli, log, settings


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings are read afresh, and the logging of the other tests stays as it is."""
    monkeypatch.setattr(log, "configure", lambda *_: None)
    settings.load.cache_clear()
    yield
    settings.load.cache_clear()


def _ringline(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments), env=environment)


@pytest.fixture
def nowhere() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{sock.getsockname()[1]}"


def test_version() -> None:
    assert _ringline("version").stdout == f"{__version__}\n"


def test_it_is_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from ringline.cli import app; app()", "version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == f"{__version__}\n"
    assert done.stderr == ""


def test_every_command_explains_itself() -> None:
    listed = _ringline("--help").stdout
    for command in (
        "serve",
        "migrate",
        "seed",
        "doctor",
        "openapi",
        "sandbox",
        "provider",
        "route",
        "flow",
        "number",
    ):
        assert command in listed
        assert _ringline(command, "--help").exit_code == 0


def test_a_wrong_setting_is_named() -> None:
    done = _ringline("version", RINGLINE_API_PORT="eighty")
    assert done.exit_code == 2
    assert "RINGLINE_API_PORT" in done.stderr
    assert isinstance(done.exception, SystemExit)


@pytest.mark.parametrize("command", ["migrate", "seed"])
def test_no_database(command: str, nowhere: str) -> None:
    done = _ringline(
        command,
        RINGLINE_DATABASE_URL=f"postgresql+asyncpg://u:hunter2@{nowhere}/x",
        RINGLINE_ADMIN_PASSWORD="x",
        RINGLINE_ACCESSKEY="x",
    )
    assert done.exit_code == 1
    assert "ringline doctor" in done.stderr
    assert isinstance(done.exception, SystemExit)
    assert "hunter2" not in done.stdout + done.stderr


def test_seed_without_secrets() -> None:
    done = _ringline("seed")
    assert done.exit_code == 2
    assert "RINGLINE_ADMIN_PASSWORD is empty" in done.stderr


def test_the_doctor_looks_at_everything_and_advises(nowhere: str, tmp_path: Path) -> None:
    host, port = nowhere.split(":")
    with structlog.testing.capture_logs():  # otherwise on stderr, which is not configured here
        done = _ringline(
            "doctor",
            "--json",
            RINGLINE_DATABASE_URL=f"postgresql+asyncpg://u:p@{nowhere}/x",
            RINGLINE_REDIS_URL=f"redis://{nowhere}/0",
            RINGLINE_ARI_URL=f"http://{nowhere}",
            RINGLINE_AMI_HOST=host,
            RINGLINE_AMI_PORT=port,
            RINGLINE_KAMAILIO_PORT=port,
            RINGLINE_KAMAILIO_RPC_URL=f"http://{nowhere}/rpc",
            RINGLINE_CARRIER_SIP_PORT=port,
            RINGLINE_CARRIER_CONTROL_URL=f"http://{nowhere}",
            RINGLINE_API_PORT=port,
            RINGLINE_MEDIA_DIR=str(tmp_path),
            RINGLINE_JWT_SECRET="short",
            RINGLINE_ADMIN_PASSWORD="x",
            RINGLINE_ACCESSKEY="x",
            RINGLINE_KAMAILIO_SECRET="x",
        )
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert done.exit_code == 1
    assert findings["media folder"]["ok"]
    assert "RINGLINE_JWT_SECRET" in findings["settings"]["detail"]
    for name in (
        "postgres",
        "schema",
        "redis",
        "asterisk",
        "asterisk manager",
        "kamailio sip",
        "carrier sip",
        "vendors",
        "api",
    ):
        assert not findings[name]["ok"], name
        assert findings[name]["advice"], name


def test_openapi_without_an_api(nowhere: str) -> None:
    done = _ringline("openapi", RINGLINE_API_URL=f"http://{nowhere}")
    assert done.exit_code == 1
    assert "Is the stack up?" in done.stderr
