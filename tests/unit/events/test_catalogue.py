"""The catalogue has every event that anybody announces, and no other; its page shows it."""

from __future__ import annotations

import re
from importlib import import_module
from itertools import chain
from pathlib import Path

from ringline.announcing import VIEWS
from ringline.calls import telling as calls
from ringline.conferences.models import call_telling
from ringline.events.catalogue import BY_RESOURCE, TYPES
from ringline.events.telling import Telling
from ringline.flows import telling as flows
from ringline.groupcalls.models import telling as groupcall_telling
from ringline.queues.models import telling as queuecall_telling
from ringline.queues.states import ENDED, IN_LINE
from ringline.recordings.models import telling as recording_telling
from ringline.transfers.models import telling as transfer_telling

ROOT = Path(__file__).parents[3]
TRIGGERS = import_module("ringline.storage.migrations.versions.0033_announcing")


def _of(telling: Telling, *steps: str) -> set[str]:
    names = {telling._types.get(step, step) for step in steps}
    return {f"{telling._resource}_{name}" for name in (names | {"updated"} if telling._updates else names)}


def _announced() -> set[str]:
    by_triggers = {resource for resource, _, _ in TRIGGERS.TABLES.values()}
    assert by_triggers | {"message"} == set(VIEWS)
    return {
        *(f"call_{name}" for name in calls._BITS),
        calls.UPDATED,
        *flows._TYPES.values(),
        *_of(groupcall_telling(), "created", "progressing", "hangingup", "hangup", "deleted"),
        *_of(queuecall_telling(), "created", "service", "deleted", *chain(ENDED, IN_LINE)),
        *_of(recording_telling(), "recording", "ended", "deleted"),
        *_of(call_telling(), "created", "progressing", "terminated"),
        *_of(transfer_telling(), "created"),
        *(f"{one}_{what}" for one in by_triggers for what in ("created", "updated", "deleted")),
        "number_renewed",
        # webhooks.deliveries.disabling
        "webhook_disabled",
        *(f"message_{what}" for what, _, _ in TRIGGERS._MESSAGES),
    }


def test_what_is_announced_is_in_the_catalogue_and_the_other_way_round() -> None:
    assert _announced() == set(TYPES)
    for resource, types in BY_RESOURCE.items():
        assert all(name.startswith(f"{resource}_") for name in types)


def test_who_announces_a_resource_in_plain_words_names_one_of_the_catalogue() -> None:
    """``Told("queuecall", ...)`` anywhere in the source."""
    found = set()
    for path in (ROOT / "src/ringline").rglob("*.py"):
        # by text: parsing all of it (ast) fails now and then in a process that has done as much as this one (3.11)
        calls = re.findall(r"\b(?<!class )(?:Told|Telling)\(\s*([^\s,)]*)", path.read_text())
        for first in calls:
            assert re.fullmatch(r'"\w+"', first), f"{path}: {first}"
            found.add(first.strip('"'))
    assert found <= set(BY_RESOURCE)
    assert {"queuecall", "transfer"} <= found


def test_the_page_of_events_shows_the_catalogue() -> None:
    page = (ROOT / "docs/events.md").read_text()
    for name, text in TYPES.items():
        assert f"| `{name}` | {text} |" in page, name
