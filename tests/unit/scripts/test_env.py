"""``scripts/env.sh``: the environment file is made once and after that only completed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]


def run(path: Path, instance: str = "default") -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RINGLINE_")}
    return subprocess.run(
        [CHECKOUT / "scripts/env.sh"],
        env={**environment, "RINGLINE_ENV_FILE": str(path), "RINGLINE_INSTANCE": instance},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def values(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = tmp_path / "env"
    done = run(path)
    assert done.returncode == 0, done.stderr
    return path


def test_the_first_run_writes_what_shells_and_tests_read(made: Path) -> None:
    env = values(made)

    assert env["RINGLINE_API_URL"] == "http://127.0.0.1:8080"
    assert re.fullmatch(r"vb_[A-Za-z0-9]{32}", env["RINGLINE_ACCESSKEY"])
    assert (env["RINGLINE_TELNYX_BASE_URL"], env["RINGLINE_TWILIO_BASE_URL"]) == ("", "")
    for name in ("ADMIN_USERNAME", "ADMIN_PASSWORD", "SIP_DOMAIN", "EXTENSION_PASSWORD", "JWT_SECRET"):
        assert env[f"RINGLINE_{name}"]
    assert env["RINGLINE_POSTGRES_PASSWORD"] in env["RINGLINE_DATABASE_URL"]
    assert made.stat().st_mode & 0o777 == 0o600


def test_secrets_are_random(made: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    run(other)

    first, second = values(made), values(other)
    secrets = [name for name in first if re.search(r"PASSWORD|SECRET|ACCESSKEY", name)]
    assert len(secrets) >= 9
    assert all(first[name] != second[name] for name in secrets)
    assert len({first[name] for name in secrets}) == len(secrets)


def test_a_second_run_changes_nothing(made: Path) -> None:
    before = made.read_bytes()

    assert run(made).returncode == 0
    assert made.read_bytes() == before


def test_a_later_run_adds_only_what_is_missing(made: Path) -> None:
    lines = made.read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("RINGLINE_JWT_SECRET=", "RINGLINE_AMI_PORT="))]
    kept = ["RINGLINE_ADMIN_USERNAME=boss" if "ADMIN_USERNAME" in line else line for line in kept]
    made.write_text("\n".join(kept))  # without a newline at the end, as some editors leave it

    done = run(made)

    assert "added RINGLINE_JWT_SECRET RINGLINE_AMI_PORT" in done.stdout
    after = made.read_text().splitlines()
    assert after[: len(kept)] == kept
    assert values(made)["RINGLINE_AMI_PORT"] == "5038"
    assert len(values(made)["RINGLINE_JWT_SECRET"]) == 48


def test_a_url_made_from_a_changed_port_follows_it(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("RINGLINE_ARI_PORT=9999\nRINGLINE_REDIS_PASSWORD=known\n")

    assert run(path).returncode == 0
    assert values(path)["RINGLINE_ARI_URL"] == "http://127.0.0.1:9999"
    assert values(path)["RINGLINE_REDIS_URL"] == "redis://:known@127.0.0.1:16379/0"


def test_a_port_that_its_url_does_not_have_is_refused(made: Path) -> None:
    made.write_text(made.read_text().replace("RINGLINE_ARI_PORT=8088", "RINGLINE_ARI_PORT=8188"))

    done = run(made)

    assert done.returncode == 1
    assert "RINGLINE_ARI_PORT is 8188 but RINGLINE_ARI_URL has another port" in done.stderr


def test_the_test_instance_shares_no_port_with_the_default_one(made: Path, tmp_path: Path) -> None:
    other = tmp_path / "test"
    run(other, "test")

    def ports(path: Path) -> set[str]:
        return {value for name, value in values(path).items() if name.endswith(("_PORT", "_START", "_END"))}

    assert len(ports(made)) == len(ports(other)) == 17
    assert not ports(made) & ports(other)


def test_compose_finds_every_variable_that_it_needs(made: Path) -> None:
    text = (CHECKOUT / "docker-compose.yml").read_text()
    needed = set(re.findall(r"\$\{(RINGLINE_[A-Z_]+)\}", text))

    assert needed
    assert needed <= values(made).keys()


def test_the_guards_limits_are_told_and_left_at_their_defaults(made: Path) -> None:
    entrypoint = (CHECKOUT / "docker/kamailio-entrypoint.sh").read_text()
    defaults = dict(re.findall(r"\$\{(RINGLINE_(?:BAN|FLOOD)_\w+):-(\w*)\}", entrypoint))
    told = dict(re.findall(r"^# (RINGLINE_(?:BAN|FLOOD)_\w+)=(.*)$", made.read_text(), re.MULTILINE))
    assert told == defaults
    assert not set(told) & set(values(made))
