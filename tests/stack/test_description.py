"""The OpenAPI description against what is answered: schemathesis makes requests from it, good and bad ones.

No 5xx, no status or body that the description does not know, nothing taken that it forbids. A customer of the test's
own asks, so nothing that others need is changed. ``RINGLINE_DESCRIPTION_EXAMPLES`` (2) is how many random requests
each operation gets besides those that cover its limits, ``RINGLINE_DESCRIPTION_SECONDS`` (0: once through all
operations) how long random ones go on. What is asked is the same with each run unless there is such a time.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.stack import tenants
from tests.stack.product import Product

EXAMPLES = os.environ.get("RINGLINE_DESCRIPTION_EXAMPLES", "2")
CHECKOUT = Path(__file__).parents[2]
SECONDS = int(os.environ.get("RINGLINE_DESCRIPTION_SECONDS", "0"))

pytestmark = pytest.mark.timeout(SECONDS + 900)

EXCLUDED = {
    "/auth/email-verify": "besides POST it has a page for people, which is not of the description",
    "/auth/password-reset": "as above",
    "/auth/login": "guesses of passwords are slowed down for everybody at this address",
    "/auth/logout": "it would end the credential that asks; it has tests of its own",
    "/auth/password-forgot": "every request writes a mail",
    "/auth/signup": "every request makes a customer",
    "/auth/unregister": "it would freeze the customer that asks",
    "/hooks/telnyx": "a vendor's: bodies are signed, and what is not is refused before it is looked at",
    "/hooks/twilio": "a vendor's, as above",
    "/hooks/sandbox": "a vendor's, as above",
    "/v1.0/ws": "a WebSocket",
}
"""Operations that are left out, and why."""

SETTINGS = """
[checks.positive_data_acceptance]
# what is right by its form may be wrong by what it names (400), or cost more than there is (402)
expected-statuses = ["2xx", "400", "401", "402", "403", "404", "409", "429"]
"""


async def test_what_is_answered_is_what_is_described(product: Product, tmp_path: Path) -> None:
    tenant = await tenants.new_tenant(product)
    try:
        await _run(product.env["RINGLINE_API_URL"], tenant.accesskey, tmp_path)
    finally:
        await tenants.clear(product, tenant)


async def _run(url: str, accesskey: str, folder: Path) -> None:
    command = [
        *(str(Path(sys.executable).parent / "schemathesis"), "run", f"{url}/openapi.json"),
        *("--header", f"Authorization: Bearer {accesskey}"),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES),
        *("--generation-deterministic", "--seed", "6", "--no-shrink"),
        # one worker: threads of Python 3.11 that parse at once break each other's `ast` now and then
        *("--request-timeout", "30", "--workers", "1", "--continue-on-failure", "--warnings", "off"),
        *("--checks", "all", "--exclude-deprecated", "--no-color"),
        *("--suppress-health-check", "all", "--generation-with-security-parameters", "false"),
        *(part for path in EXCLUDED for part in ("--exclude-path", path)),
    ]
    if SECONDS:
        command += ["--max-time", str(SECONDS)]
    (folder / "schemathesis.toml").write_text(SETTINGS)
    # it remembers failures where it runs: here it is to begin anew each time
    path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, "PYTHONPATH": path, "SCHEMATHESIS_HOOKS": "tests.stack.description_hooks"},
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode(errors="replace")[-20_000:]
