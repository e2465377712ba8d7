"""Actions by themselves: how their JSON is checked, and what ``play`` fetches when."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import TypeAdapter, ValidationError

from ringline.calls.leg import LegGone
from ringline.calls.simulated import Script, SimulatedLeg, simulated_call
from ringline.clock import VirtualClock
from ringline.flows import actions
from ringline.flows.actions import Action, ActionFailed, AnyAction, Context, Services, ready
from ringline.flows.actions.talk import Talk
from ringline.flows.calling import NotedCalls
from ringline.flows.progress import Progress
from ringline.flows.snapshot import Snapshot
from ringline.media import MediaFailed, Prompt

ADAPTER: TypeAdapter[Action] = TypeAdapter(AnyAction)


def raw(kind: str, option: dict[str, Any], next_id: UUID | None = None) -> dict[str, Any]:
    return {"id": str(uuid4()), "next_id": str(next_id or UUID(int=0)), "type": kind, "option": option}


def files(*names: str) -> dict[str, Any]:
    return raw("play", {"stream_urls": [f"http://a.example/{name}" for name in names]})


def parse(kind: str, option: dict[str, Any]) -> Action:
    return ADAPTER.validate_python({"type": kind, "option": option}, strict=False)


@pytest.fixture(autouse=True)
def _nothing_known() -> None:
    actions._known.cache_clear()


def test_the_same_action_of_two_flows_is_checked_once_and_keeps_its_own_id() -> None:
    first, second = raw("talk", {"text": "hello"}), raw("talk", {"text": "hello"}, next_id=uuid4())
    one, other = ready(first), ready(second)
    assert actions._known.cache_info().misses == 1
    assert (str(one.id), str(one.next_id)) == (first["id"], first["next_id"])
    assert (str(other.id), str(other.next_id)) == (second["id"], second["next_id"])
    assert isinstance(other, Talk)
    assert other.option.text == "hello"


def test_a_long_action_is_not_kept() -> None:
    made = ready(raw("talk", {"text": "x" * actions.MAX_KNOWN_BYTES}))
    assert isinstance(made, Talk)
    assert actions._known.cache_info().currsize == 0


def test_an_option_that_is_wrong_at_run_time_is_refused_each_time() -> None:
    for _ in range(2):
        with pytest.raises(ValidationError):
            ready(raw("digits_send", {"digits": "12x"}))


@pytest.mark.parametrize("reason", ["", "timeout", "cancel", "dialout", "tired"])
def test_a_hangup_reason_that_means_nothing_is_refused(reason: str) -> None:
    with pytest.raises(ValidationError, match="'normal', 'failed', 'busy', 'noanswer' or 'amd'"):
        parse("hangup", {"reason": reason})


@pytest.mark.parametrize("reason", ["normal", "failed", "busy", "noanswer", "amd"])
async def test_a_hangup_reason_reaches_the_leg(reason: str) -> None:
    leg, _ = await played(raw("hangup", {"reason": reason}), Media())
    assert [(heard.what, heard.detail) for heard in leg.trace] == [("hangup", reason)]


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "a.wav", "http://", "http://u:p@a.example/", "ftp://a/"]
)
def test_what_is_no_address_of_the_web_is_refused_by_its_form(url: str) -> None:
    with pytest.raises(ValidationError, match="URL"):
        parse("play", {"stream_urls": [url]})


def test_the_form_of_an_action_depends_on_no_setting() -> None:
    assert parse("play", {"stream_urls": ["http://127.0.0.1/a.wav", "http://${host}/a.wav"]})


class Media:
    """Files that take a turn of the loop each; ``stuck`` ones for ever."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.under_way = 0

    async def speech(self, text: str, language: str = "en-US", voice_id: str = "") -> Prompt:
        return Prompt("/speech", 1000)

    async def beep(self) -> Prompt:
        return Prompt("/beep", 400)

    async def file(self, url: str) -> Prompt:
        name = url.rsplit("/", 1)[-1]
        self.asked.append(name)
        self.under_way += 1
        try:
            await asyncio.sleep(0)
            if name == "stuck":
                await asyncio.Event().wait()
            if name == "bad":
                raise MediaFailed("there is no such file", reason="FETCH_FAILED")
            return Prompt(f"/{name}", 1000)
        finally:
            self.under_way -= 1


class Watching(SimulatedLeg):
    """Notes what had been asked of the media when each prompt began."""

    def __init__(self, media: Media, script: Script | None) -> None:
        clock = VirtualClock()
        super().__init__(simulated_call(clock), clock, script)
        self.clock = clock
        self.media = media
        self.asked_at: list[list[str]] = []

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.asked_at.append(list(self.media.asked))
        await super().wait(seconds)


def context(leg: Any, media: Any, written: dict[str, Any]) -> Context:
    """What an action gets that needs no variables."""
    state = Snapshot()
    return Context(
        leg=leg,
        media=media,
        clock=leg.clock,
        lookup=lambda name: "",
        written=written,
        services=Services(calls=NotedCalls()),
        progress=Progress(state, leg.clock, lambda: None),
        state=state,
    )


async def played(action: dict[str, Any], media: Media, script: Script | None = None) -> tuple[Watching, Any]:
    leg = Watching(media, script)
    outcome: Any
    try:
        outcome = await ready(action).run(context(leg, media, action))
    except (ActionFailed, LegGone) as error:
        outcome = error
    return leg, outcome


async def test_play_fetches_one_file_ahead_and_no_more() -> None:
    leg, _ = await played(files("a", "b", "c", "d"), Media())
    assert leg.asked_at == [["a", "b"], ["a", "b", "c"], ["a", "b", "c", "d"], ["a", "b", "c", "d"]]
    assert [heard.detail for heard in leg.trace] == ["/a", "/b", "/c", "/d"]


async def test_play_goes_on_after_files_that_cannot_be_had() -> None:
    media = Media()
    leg, outcome = await played(files("bad", "a", "bad", "b", "bad"), media)
    assert [heard.detail for heard in leg.trace] == ["/a", "/b"]
    assert isinstance(outcome, ActionFailed)
    assert outcome.reason == "FETCH_FAILED"
    assert media.asked == ["bad", "a", "bad", "b", "bad"]


async def test_a_hang_up_ends_the_fetch_that_is_under_way() -> None:
    media = Media()
    _, outcome = await played(files("a", "stuck", "c"), media, Script(hangs_up_at=0.5))
    assert isinstance(outcome, LegGone)
    assert (media.asked, media.under_way) == (["a", "stuck"], 0)
