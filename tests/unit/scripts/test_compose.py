"""``docker-compose.yml``: which part is told what."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ringline.sandbox.config import CarrierSettings

CHECKOUT = Path(__file__).parents[3]
SHARED = {"api_url", "kamailio_host", "kamailio_port", "log_level", "log_format", "sandbox_hook_secret"}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What compose makes of the file with an environment file as ``scripts/env.sh`` writes it."""
    path = tmp_path_factory.mktemp("compose") / "env"
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RINGLINE_")}
    environment = {**bare, "RINGLINE_ENV_FILE": str(path)}
    subprocess.run(
        [CHECKOUT / "scripts/env.sh"], env=environment, capture_output=True, timeout=60, check=True
    )
    with path.open("a") as file:
        file.write("RINGLINE_CARRIER_MAX_DIALS=7\n")
    command = ["docker", "compose", "--env-file", str(path), "config", "--format", "json"]
    done = subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


def test_the_carrier_gets_its_own_settings_and_no_secret_but_that_of_its_webhooks(
    services: dict[str, Any],
) -> None:
    given = services["carrier"]["environment"]
    wanted = {
        f"RINGLINE_{name.upper()}" if name in SHARED else f"RINGLINE_CARRIER_{name.upper()}"
        for name in CarrierSettings.model_fields
    }
    assert set(given) == wanted
    assert given["RINGLINE_CARRIER_MAX_DIALS"] == "7"
    assert given["RINGLINE_CARRIER_SIP_PORT"] == "5090"
    assert given["RINGLINE_CARRIER_SILENCE"] is None


def test_only_the_controller_and_its_migrations_get_everything(services: dict[str, Any]) -> None:
    knowing = {
        name for name, part in services.items() if "RINGLINE_JWT_SECRET" in part.get("environment", {})
    }
    assert knowing == {"controller", "migrate"}


def test_everything_runs_without_privileges(services: dict[str, Any]) -> None:
    for name, part in services.items():
        assert part["read_only"] is True, name
        assert part["cap_drop"] == ["ALL"], name
        assert part["security_opt"] == ["no-new-privileges:true"], name
        assert part["user"] not in {"root", "0"}, name
