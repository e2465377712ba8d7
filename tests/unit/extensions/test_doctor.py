"""The doctor's opinion of the address that others are told."""

from __future__ import annotations

from typing import Any

import pytest

from ringline import doctor
from ringline.cluster.roll import Roll, Unit
from ringline.routing import KamailioRpc
from ringline.settings import Settings

PUBLIC, OTHER = "9.9.9.9", "8.8.8.8"


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Kamailio's sockets."""
    sockets: list[dict[str, Any]] = []

    async def call(self: KamailioRpc, method: str, *params: str | int) -> Any:
        return sockets

    monkeypatch.setattr(KamailioRpc, "call", call)
    return sockets


@pytest.mark.parametrize(
    ("listening", "wanted"),
    [("127.0.0.1", "this machine alone"), ("10.1.2.3", "private"), (PUBLIC, "public itself")],
)
async def test_none_is_needed(listening: str, wanted: str) -> None:
    assert wanted in await doctor._advertised(Settings(kamailio_address=listening))


async def test_what_runs_is_what_is_configured(running: list[dict[str, Any]]) -> None:
    settings = Settings(kamailio_address="10.1.2.3", kamailio_port=5060, advertised_address=f"{PUBLIC}:5060")
    running += [{"name": "127.0.0.1", "advertise": "-"}, {"name": "10.1.2.3", "advertise": PUBLIC}]
    assert await doctor._advertised(settings) == f"{PUBLIC}, for 10.1.2.3"
    running[1]["advertise"] = OTHER
    with pytest.raises(doctor.Trouble, match=f"advertises {OTHER}"):
        await doctor._advertised(settings)
    running[1]["advertise"] = "-"
    with pytest.raises(doctor.Trouble, match="advertises nothing"):
        await doctor._advertised(settings)


@pytest.mark.parametrize(
    ("listening", "advertised", "wanted"),
    [
        ("127.0.0.1", PUBLIC, "which nobody reaches"),
        (OTHER, "192.168.1.7", "private address"),
        ("10.1.2.3", "0.0.0.0", "nobody is reached"),
        ("10.1.2.3", "127.0.0.1", "nobody is reached"),
        ("10.1.2.3", "224.0.0.5", "nobody is reached"),
        ("10.1.2.3", f"{PUBLIC}:5070", "names port 5070"),
        ("10.1.2.3", f"{PUBLIC}:x", "whose port is none"),
        ("10.1.2.3", "no-such-host.invalid", "neither"),
        ("10.1.2.3", "a..b", "neither"),
    ],
)
async def test_trouble_says_what_to_set(
    running: list[dict[str, Any]], listening: str, advertised: str, wanted: str
) -> None:
    with pytest.raises(doctor.Trouble, match=wanted) as trouble:
        await doctor._advertised(Settings(kamailio_address=listening, advertised_address=advertised))
    assert trouble.value.advice


TWO = [
    {"name": name, "ari_url": f"http://{name}", "ami_port": 5038, "hep_port": 9060}
    for name in ("asterisk", "asterisk2")
]


async def test_each_asterisk_is_looked_at() -> None:
    async def check(settings: Settings) -> str:
        if settings.ari_url == "http://asterisk2" and settings.log_level == "error":
            raise doctor.Trouble("it refuses us", "Do this.")
        return f"well at {settings.ari_url}"

    each = doctor._of_each(check)
    assert await each(Settings(ari_url="http://one")) == "well at http://one"
    two = Settings.model_validate({"asterisks": TWO})
    assert await each(two) == "asterisk: well at http://asterisk; asterisk2: well at http://asterisk2"
    with pytest.raises(doctor.Trouble, match="asterisk2: it refuses us") as raised:
        await each(two.model_copy(update={"log_level": "error"}))
    assert "asterisk: well" in str(raised.value)
    assert raised.value.advice == "Do this."


async def test_who_drives_which_asterisk(monkeypatch: pytest.MonkeyPatch) -> None:
    driven: dict[str, Unit] = {}

    async def read(self: Roll) -> None:
        self._units = driven

    monkeypatch.setattr(Roll, "read", read)
    assert await doctor._controllers(Settings()) == "one process does everything"
    settings = Settings.model_validate({"asterisks": TWO})
    driven["asterisk"] = Unit("asterisk", "controller1-7", 1, 12, serves=True, takes=True)
    with pytest.raises(
        doctor.Trouble, match="asterisk: driven by controller1-7, 12 calls; asterisk2: nobody"
    ):
        await doctor._controllers(settings)
    driven["asterisk2"] = Unit("asterisk2", "controller1-7", 1, 0, serves=True, takes=True)
    assert "asterisk2: driven by controller1-7, 0 calls" in await doctor._controllers(settings)
