"""Ports at the sandbox: the real carrier process, asked by ``SandboxVendor``, and its webhooks."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from uuid import uuid4

import pytest
from tests.component.vendors.test_sandbox import Sandbox, sandbox  # noqa: F401 - a fixture

from ringline.vendors.errors import VendorRefused, VendorUncertain
from ringline.vendors.events import PortChanged
from ringline.vendors.models import Address, Held, Letter, Port, PortProgress

OWNER = Address("Example Inc.", "548 Market St", "San Francisco", "CA", "94104", "US")
LETTER = Letter("letter.pdf", "application/pdf", b"%PDF-1.4 %%EOF")


def port(account: str = "4711", numbers: int = 1, letter: Letter | None = LETTER) -> Port:
    base = uuid4().int % 10**6
    return Port(
        id=uuid4(),
        numbers=tuple(f"+1628{(base * 10 + place) % 10**7:07d}" for place in range(numbers)),
        carrier="Old Telephone",
        account=account,
        owner=OWNER,
        authorised_person="Anna Example",
        pin="1234",
        wanted=date(2027, 1, 15),
        letter=letter,
    )


async def until(sandbox: Sandbox, wanted: Port, *states: str) -> PortProgress:  # noqa: F811
    async with asyncio.timeout(60):
        while True:
            found = await sandbox.vendor.find_port(wanted, "")
            if found is not None and found.state in states:
                return found
            await asyncio.sleep(0.05)


async def test_a_port_goes_its_way(sandbox: Sandbox) -> None:  # noqa: F811
    wanted = port(numbers=2)
    begun, again = await sandbox.vendor.port(wanted), await sandbox.vendor.port(wanted)
    assert begun.state == "submitted"
    assert begun.reference == again.reference
    done = await until(sandbox, wanted, "ported")
    assert set(done.number_references) == set(wanted.numbers)
    assert done.tm_foc == datetime(2027, 1, 15, 9, tzinfo=UTC)
    assert await sandbox.vendor.find_port(wanted, begun.reference) == done
    for number, reference in done.number_references.items():
        await sandbox.vendor.configure(Held(number, reference))
    states = ("in-process", "foc-confirmed", "ported")

    def reports(state: str) -> object:
        return lambda event: (
            isinstance(event, PortChanged) and (event.port_id, event.progress.state) == (wanted.id, state)
        )

    await sandbox.receiver.until(*map(reports, states))
    with pytest.raises(VendorRefused, match="agreed already"):
        await sandbox.vendor.cancel_port(wanted, begun.reference)


async def test_what_does_not_go_well(sandbox: Sandbox) -> None:  # noqa: F811
    with pytest.raises(VendorRefused, match="no such account"):
        await sandbox.vendor.port(port("9001"))
    with pytest.raises(VendorRefused, match="letter"):
        await sandbox.vendor.port(port(letter=None))
    odd, rejected, partial, late = port("9002"), port("9003"), port("9004", 2), port("19005")
    for wanted in (odd, rejected, partial, late):
        await sandbox.vendor.port(wanted)
    with pytest.raises(VendorRefused, match="is here already"):
        await sandbox.vendor.port(Port(**{**_fields(partial), "id": uuid4()}))
    reference = (await until(sandbox, late, "submitted", "in-process", "foc-confirmed")).reference
    with pytest.raises(VendorRefused):
        await sandbox.vendor.cancel_port(late, reference)
    found = await until(sandbox, odd, "exception")
    assert "owner's name" in found.reason
    assert (await sandbox.vendor.cancel_port(odd, found.reference)).state == "cancelled"
    assert (await until(sandbox, rejected, "cancelled")).reason
    assert list((await until(sandbox, partial, "ported")).number_references) == [partial.numbers[0]]


async def test_a_lost_answer_is_found(sandbox: Sandbox) -> None:  # noqa: F811
    wanted = port("9006")
    assert await sandbox.vendor.find_port(wanted, "") is None
    with pytest.raises(VendorUncertain):
        await sandbox.vendor.port(wanted)
    assert await sandbox.vendor.find_port(wanted, "") is not None


def _fields(wanted: Port) -> dict[str, object]:
    return {name: getattr(wanted, name) for name in Port.__dataclass_fields__}
