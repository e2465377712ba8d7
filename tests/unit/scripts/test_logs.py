"""``scripts/logs.sh`` and the locks of ``scripts/lib.sh``."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]


def test_logs_are_those_of_the_instance(tmp_path: Path) -> None:
    """Compose must be given the instance's own environment file, also where a service names it itself."""
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho "$RINGLINE_ENV_FILE $*"\n')
    docker.chmod(0o755)
    env_file = tmp_path / "env"
    env_file.write_text("")
    done = subprocess.run(
        [CHECKOUT / "scripts/logs.sh", "carrier"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "RINGLINE_ENV_FILE": str(env_file)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    first, _, rest = done.stdout.partition(" ")
    assert first == str(env_file)
    assert "--project-name ringline logs --follow --tail 100 carrier" in rest


def test_a_lock_in_the_checkout_is_held_until_its_subshell_ends(tmp_path: Path) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "lib.sh").write_text((CHECKOUT / "scripts/lib.sh").read_text())

    def bash(command: str) -> subprocess.Popen[bytes]:
        program = f'source "{scripts}/lib.sh"; {command}'
        return subprocess.Popen(["/bin/bash", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    with bash("(lock one; echo held; read -r); read -r") as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with bash("(lock other)") as another:
            assert another.wait(30) == 0
        with bash("echo here; (lock one; echo mine)") as waiter:
            assert waiter.stdout is not None
            assert waiter.stdout.readline() == b"here\n"
            time.sleep(0.3)
            assert waiter.poll() is None
            holder.stdin.write(b"\n")
            holder.stdin.flush()
            assert waiter.stdout.readline() == b"mine\n"
    assert sorted(path.name for path in (tmp_path / "var/cache").iterdir()) == ["one.lock", "other.lock"]
