"""Transfers on real calls: who hears whom at each step, every order of hang-ups, and nothing is left.

Who is connected with whom is heard by keys and texts: numbers ending in 001D press the key D two seconds after their
answer, and a text whispered to a number ending in 0008 comes back from there and is heard by its partner.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from tests.stack.audio import RATE, Samples, chirp, encode, find, read_wav
from tests.stack.conftest import Api, AsteriskView
from tests.stack.files import Files
from tests.stack.product import HANGUP, SOURCE, Json, Product, eventually, number, play
from tests.stack.rtp import linear
from tests.stack.test_connect import connect, legs, tone

CHECKOUT = Path(__file__).parents[2]
ZERO = "00000000-0000-0000-0000-000000000000"
WHO = pytest.mark.parametrize("who", ["caller", "callee"])


@pytest.fixture(autouse=True)
async def nothing_left(ari: AsteriskView) -> AsyncIterator[None]:
    """After each test Asterisk has no channel and no bridge."""
    yield
    await ari.wait_idle()


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    folder = tmp_path_factory.mktemp("music")
    subprocess.run(
        [sys.executable, str(CHECKOUT / "docker" / "music.py"), str(folder)], check=True, timeout=60
    )
    once = linear((folder / "hold.ulaw").read_bytes())
    return np.concatenate([once, once])


class Pair:
    """A caller connected with a callee, and words for what is done to them."""

    def __init__(self, product: Product, api: Api) -> None:
        self.product = product
        self.api = api
        self.caller: Json
        self.callee: Json
        self.after: Json = {"type": "sleep", "option": {"duration": 1}}

    async def begin(self, caller: str, callee: str, *after: Json) -> None:
        self.caller = await self.product.place(caller, connect(callee), *after, HANGUP)
        (self.callee,) = await legs(self.product, self.caller, 1)
        self.callee = await self.product.reached(self.callee, "progressing")
        await asyncio.sleep(0.3)

    def parties(self, who: str) -> tuple[Json, Json]:
        """Transferer and partner."""
        return (self.caller, self.callee) if who == "caller" else (self.callee, self.caller)

    async def transfer(self, kind: str, by: Json, *to: str, status: int = 200) -> Json:
        body = {
            "type": kind,
            "transferer_call_id": by["id"],
            "transferee_addresses": [{"type": "tel", "target": target} for target in to],
        }
        code, answer = await self.api.call("POST", "/v1.0/transfers", body)
        assert code == status, answer
        found: Json = answer
        return found

    async def reached(self, transfer: Json, *statuses: str, within: float = 30) -> Json:
        async def there() -> Json | None:
            found: Json = await self.api.get(f"/v1.0/transfers/{transfer['id']}")
            return found if found["status"] in statuses else None

        found: Json = await eventually(there, f"the transfer is {statuses}", within=within)
        return found

    async def target(self, transfer: Json) -> Json:
        """The record of the call that was answered."""
        shown: Json = await self.api.get(f"/v1.0/transfers/{transfer['id']}")
        assert shown["transferee_call_id"] != ZERO
        found: Json = await self.api.get(f"/v1.0/calls/{shown['transferee_call_id']}")
        return found


@pytest.fixture
def pair(product: Product, api: Api) -> Pair:
    return Pair(product, api)


def heard_by(product: Product, line: Json) -> Samples:
    return read_wav(product.recording(line))


def answered_at(line: Json) -> float:
    return datetime.fromisoformat(line["tm_answer"]).timestamp()


@WHO
async def test_blind_the_partner_rings_and_gets_the_new_party(
    product: Product, pair: Pair, who: str, files: Files
) -> None:
    numbers = {"caller": number("1234"), "callee": number("1234")}
    target = number("0017")
    after = play(files.add("after.wav", encode(chirp(2600, 1800), "wav")))
    await pair.begin(numbers["caller"], numbers["callee"], after)
    transferer, partner = pair.parties(who)
    partner_number = numbers["callee" if who == "caller" else "caller"]
    transfer = await pair.transfer("blind", transferer, target)
    assert (transfer["transferer_call_id"], transfer["transferred_call_id"]) == (
        transferer["id"],
        partner["id"],
    )
    gone = await product.ended(transferer)
    assert gone["hangup_by"] == "local"
    transfer = await pair.reached(transfer, "completed")
    leg = await pair.target(transfer)
    assert (leg["master_call_id"], leg["source"]["target"]) == (partner["id"], SOURCE)

    async def one_bridge() -> bool:
        return len(await product.asterisk.list("bridges")) == 1

    # what is sent on a WebSocket and what is asked over HTTP may overtake each other
    await eventually(one_bridge, "one bridge")
    # the new party presses its key two seconds after its answer
    await asyncio.sleep(4.5)
    assert (await product.show(partner))["status"] == "progressing"
    await product.hang_up(leg)
    record = await product.ended(partner)
    line = await product.line(partner_number)
    assert line["dtmf"] == "7", "the partner hears what the new party does"
    heard = heard_by(product, line)
    if who == "callee":
        assert find(heard, chirp(2600, 1800)).peak > 0.9, "its flow goes on after connect"
    else:
        assert record["hangup_by"] == "local"


@WHO
async def test_blind_rings_meanwhile_and_nobody_answers(
    product: Product, pair: Pair, who: str, files: Files
) -> None:
    numbers = {"caller": number("1234"), "callee": number("1234")}
    after = play(files.add("after.wav", encode(chirp(2600, 1800), "wav")))
    await pair.begin(numbers["caller"], numbers["callee"], after)
    transferer, partner = pair.parties(who)
    partner_number = numbers["callee" if who == "caller" else "caller"]
    transfer = await pair.transfer("blind", transferer, number("0002"))
    await product.ended(transferer)
    # a period of the ringing tone, whenever it begins: 2 s of sound and 4 s of none
    await asyncio.sleep(6.5)
    assert (await product.show(partner))["status"] == "progressing"
    status, answer = await pair.api.call("POST", f"/v1.0/transfers/{transfer['id']}/cancel")
    assert (status, answer["status"]) == (200, "canceled")
    record = await product.ended(partner)
    line = await product.line(partner_number)
    heard = heard_by(product, line)
    began = datetime.fromisoformat(transfer["tm_create"].replace("Z", "+00:00")).timestamp()
    # times of the API are whole seconds
    begin, end = max(0.0, began - answered_at(line)), heard.size / RATE - 0.8
    ringing = [tone(heard, 440, 480, begin=at, seconds=0.8) for at in np.arange(begin, end, 0.2)]
    assert max(ringing) > 0.8
    if who == "callee":
        assert find(heard, chirp(2600, 1800)).peak > 0.9, "its flow goes on"
    else:
        assert record["hangup_detail"] == "the transfer ended: canceled by a request"


async def test_a_busy_target_fails_the_transfer(product: Product, pair: Pair) -> None:
    await pair.begin(number("1234"), number("1234"))
    transfer = await pair.transfer("blind", pair.caller, number("0001"))
    transfer = await pair.reached(transfer, "failed")
    assert transfer["detail"] == "nobody answered: busy"
    assert (await product.ended(pair.callee))["hangup_detail"].endswith("nobody answered: busy")


@WHO
async def test_attended_music_consultation_and_the_hand_over(
    product: Product, pair: Pair, who: str, music: Samples
) -> None:
    # the partner presses nothing, the transferer presses 3 while it talks with its partner, the target presses 7
    numbers = {"caller": number("1234"), "callee": number("1234")}
    target = number("0017")
    await pair.begin(numbers["caller"], numbers["callee"])
    transferer, partner = pair.parties(who)
    mine, theirs = (
        (numbers["caller"], numbers["callee"]) if who == "caller" else (numbers["callee"], numbers["caller"])
    )
    transfer = await pair.transfer("attended", transferer, target)
    transfer = await pair.reached(transfer, "consulting")
    assert (await product.show(partner))["moh"] is True
    leg = await pair.target(transfer)
    await asyncio.sleep(5)  # the 7 is pressed in here
    hand_over = datetime.now().timestamp()
    await product.hang_up(transferer)
    await pair.reached(transfer, "completed")
    assert (await product.show(partner))["moh"] is False
    handed_over = datetime.now().timestamp()
    await product.api.post(f"/v1.0/calls/{leg['id']}/talk", {"text": "only the target hears this"})
    await asyncio.sleep(2.5)
    expected = {f"call-{leg['id']}", f"call-{partner['id']}"}

    async def alone() -> bool:
        channels = {channel["id"] for channel in await product.asterisk.list("channels")}
        (bridge,) = await product.asterisk.list("bridges")
        assert set(bridge["channels"]) == expected
        assert expected <= channels
        return True

    await eventually(alone, "the two are alone in their bridge")
    await product.hang_up(partner)
    await product.ended(leg)
    assert (await product.line(mine))["dtmf"] == "7", "the transferer talked with the target"
    line = await product.line(theirs)
    assert line["dtmf"] == "", "the partner did not hear that"
    heard = heard_by(product, line)
    end = int((hand_over - answered_at(line)) * RATE)
    assert find(music, heard[end - 2 * RATE : end - RATE]).peak > 0.9, "music while it waits"
    over = int((handed_over - answered_at(line)) * RATE)
    after = heard[over + RATE // 2 : over + 3 * RATE // 2]
    assert float(np.sqrt(np.mean(after**2))) < 100, "and none afterwards"


@WHO
@pytest.mark.parametrize("how", ["busy", "target hangs up", "cancel"])
async def test_attended_is_rolled_back(product: Product, pair: Pair, who: str, how: str) -> None:
    caller, callee = number("1234"), number("0008")
    await pair.begin(caller, callee)
    transferer, partner = pair.parties(who)
    endings = {"busy": "0001", "target hangs up": "0007", "cancel": "0002"}
    transfer = await pair.transfer("attended", transferer, number(endings[how]))
    if how == "cancel":
        await asyncio.sleep(1)
        status, _ = await pair.api.call("POST", f"/v1.0/transfers/{transfer['id']}/cancel")
        assert status == 200
    transfer = await pair.reached(transfer, "failed", "canceled")

    async def together() -> bool:
        (bridge,) = await product.asterisk.list("bridges")
        assert set(bridge["channels"]) == {f"call-{call['id']}" for call in (transferer, partner)}
        return True

    await eventually(together, "the two are in their bridge again")
    assert (await product.show(partner))["moh"] is False
    # the two hear each other again: what is said to the echo comes back to the caller
    said = datetime.now().timestamp()
    await product.api.post(f"/v1.0/calls/{pair.callee['id']}/talk", {"text": "one two three four five six"})
    await asyncio.sleep(3)
    await product.hang_up(pair.caller)
    await product.ended(pair.callee)
    line = await product.line(caller)
    heard = heard_by(product, line)
    # half a second for the music to end; the words are rendered first
    begin = int((said - answered_at(line) + 0.5) * RATE)
    seconds = [heard[at : at + RATE] for at in range(begin, heard.size - RATE + 1, RATE // 4)]
    assert max(float(np.sqrt(np.mean(second**2))) for second in seconds) > 100
    status, answer = await pair.api.call("POST", f"/v1.0/transfers/{transfer['id']}/cancel")
    assert (status, answer["error"]["reason"]) == (409, "TRANSFER_STATE_INVALID")


@WHO
async def test_the_transferer_does_not_wait_for_the_answer(product: Product, pair: Pair, who: str) -> None:
    numbers = {"caller": number("1234"), "callee": number("1234")}
    await pair.begin(numbers["caller"], numbers["callee"])
    transferer, partner = pair.parties(who)
    transfer = await pair.transfer("attended", transferer, number("1234"))  # rings for a second
    status, _ = await pair.api.call("POST", f"/v1.0/transfers/{transfer['id']}/complete")
    assert status == 200
    await product.ended(transferer)
    transfer = await pair.reached(transfer, "completed")
    leg = await pair.target(transfer)
    await eventually(lambda: _two_in_a_bridge(product), "the two are in the bridge")
    await product.hang_up(leg)
    await product.ended(partner)


async def _two_in_a_bridge(product: Product) -> bool:
    (bridge,) = await product.asterisk.list("bridges")
    return len(bridge["channels"]) == 2


@WHO
@pytest.mark.parametrize("answered", [False, True])
async def test_the_partner_hangs_up(product: Product, pair: Pair, who: str, answered: bool) -> None:
    await pair.begin(number("1234"), number("1234"))
    transferer, partner = pair.parties(who)
    transfer = await pair.transfer("attended", transferer, number("0017" if answered else "0002"))
    if answered:
        transfer = await pair.reached(transfer, "consulting")
    await product.hang_up(partner)
    transfer = await pair.reached(transfer, "canceled")
    await product.ended(partner)
    if answered:
        await asyncio.sleep(1)
        assert (await product.show(transferer))["status"] == "progressing", "they go on talking"
        await eventually(lambda: _two_in_a_bridge(product), "the two are in the bridge")
        await product.hang_up(
            await pair.target({**transfer, "transferee_call_id": transfer["transferee_call_id"]})
        )
    await product.ended(transferer)


@pytest.mark.parametrize("order", ["TPX", "TXP", "PTX", "PXT", "XTP", "XPT"])
@pytest.mark.parametrize("kind", ["blind", "attended"])
async def test_everybody_hangs_up_at_once_in_any_order(
    product: Product, pair: Pair, kind: str, order: str
) -> None:
    await pair.begin(number("1234"), number("1234"))
    transferer, partner = pair.parties("callee" if order[0] == "T" else "caller")
    transfer = await pair.transfer(kind, transferer, number("0017"))
    target: Json = await eventually(lambda: _target_of(product, partner), "the target's record", within=30)
    calls = {"T": target, "P": partner, "X": transferer}
    await asyncio.gather(*(product.hang_up(calls[one]) for one in order))
    for call in calls.values():
        await product.ended(call)
    await pair.reached(transfer, "completed", "canceled", "failed")


async def _target_of(product: Product, partner: Json) -> Json | None:
    page = await product.api.get("/v1.0/calls", page_size="50")
    return next((call for call in page["result"] if call["master_call_id"] == partner["id"]), None)


async def test_who_may_transfer_which_call(product: Product, pair: Pair, api: Api) -> None:
    alone = await product.place(number("1234"), {"type": "sleep", "option": {"duration": 20000}}, HANGUP)
    await product.reached(alone, "progressing")
    refused = await pair.transfer("blind", alone, number("1234"), status=409)
    assert refused["error"]["reason"] == "CALL_STATE_INVALID"
    await product.hang_up(alone)
    await product.ended(alone)
    refused = await pair.transfer("blind", alone, number("1234"), status=409)
    refused = await pair.transfer("blind", {"id": ZERO}, number("1234"), status=404)
    assert refused["error"]["reason"] == "CALL_NOT_FOUND"
    status, answer = await api.call("GET", f"/v1.0/transfers/{alone['id']}")
    assert (status, answer["error"]["reason"]) == (404, "TRANSFER_NOT_FOUND")
    await pair.begin(number("1234"), number("1234"))
    refused = await pair.transfer("blind", pair.caller, "5551234", status=400)
    assert "transferee_addresses[0]" in refused["error"]["message"]
    refused = await pair.transfer("sideways", pair.caller, number("1234"), status=400)
    refused = await pair.transfer("blind", pair.caller, status=400)
    transfer = await pair.transfer("attended", pair.caller, number("0002"))
    refused = await pair.transfer("attended", pair.callee, number("0002"), status=409)

    async def listed() -> bool:
        (first,) = (await api.get("/v1.0/transfers", page_size="1"))["result"]
        assert (first["id"], first["status"]) == (transfer["id"], "dialing")
        return True

    await eventually(listed, "the transfer is the first of the list")
    await product.hang_up(pair.caller)
    await product.hang_up(pair.callee)
    await product.ended(pair.caller)
    await product.ended(pair.callee)
