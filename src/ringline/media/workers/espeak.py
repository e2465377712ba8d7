"""Worker: runs the ``espeak-ng`` program, text on its standard input, and keeps the WAV it writes.

A process between controller and program costs nothing and keeps forking, niceness and limits out of the
controller.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from ringline.media.languages import canonical
from ringline.media.workers.serve import Job, Refused, limit, serve

MEMORY_BYTES = 512 * 1024**2
MAX_WAV_BYTES = 256 * 1024**2


def speak(job: Job) -> Job:
    """``markup`` (espeak's SSML) spoken by ``voice`` at ``words_per_minute`` into ``target``."""
    target = Path(job["target"])
    command = [
        job["program"],
        "-m",
        "-b",
        "1",
        "--stdin",
        "-v",
        job["voice"],
        "-s",
        str(job["words_per_minute"]),
    ]
    command += ["-w", str(target)]
    try:
        done = subprocess.run(  # noqa: S603 - the voice comes from espeak's own list, the text by stdin
            command,
            input=job["markup"].encode(),
            capture_output=True,
            timeout=job["seconds"],
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"espeak-ng took longer than {job['seconds']} s") from None
    if done.returncode != 0 or not target.exists() or target.stat().st_size <= 44:
        said = done.stderr.decode(errors="replace").strip()[-300:]
        raise Refused(f"espeak-ng ended with {done.returncode}: {said or 'no sound'}")
    return {}


def describe(job: Job) -> Job:
    """What ``program`` is and has: ``version``, ``voices`` (BCP 47 tag to espeak's name) and ``variants``."""
    version = _output(job["program"], "--version")
    found = re.search(r"\d+(\.\d+)+", version)
    voices: dict[str, str] = {}
    for line in _output(job["program"], "--voices").splitlines()[1:]:
        name = line.split()[1]
        voices.setdefault(canonical(name), name)
    voices.pop("", None)
    variants = [
        line.split()[-1].removeprefix("!v/")
        for line in _output(job["program"], "--voices=variant").splitlines()[1:]
        if "!v/" in line
    ]
    return {"version": found[0] if found else version[:40], "voices": voices, "variants": variants}


def _output(*command: str) -> str:
    done = subprocess.run(  # noqa: S603 - fixed arguments
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=5, check=True
    )
    return done.stdout.decode(errors="replace").strip()


if __name__ == "__main__":
    limit(memory_bytes=MEMORY_BYTES, file_bytes=MAX_WAV_BYTES)
    serve({"describe": describe, "speak": speak})
