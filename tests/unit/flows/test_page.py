"""docs/flows.md: every action has a section, every example is checked and run, so that the page cannot rot."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from ringline.calls.simulated import Script
from ringline.flows import actions
from ringline.flows.simulation.scenario import Scenario

from .test_runner import run

PAGE = (Path(__file__).parents[3] / "docs" / "flows.md").read_text()
SECTION = re.compile(r"^### `(\w+)`$", re.M)
EXAMPLE = re.compile(r"^```json\n(.*?)^```$", re.M | re.S)
OLD_NAMES = frozenset({"dtmf_send"})
"""Mentioned in the section of the present name."""


def sections() -> dict[str, str]:
    """The text of each action's section."""
    parts = SECTION.split(PAGE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def examples() -> Iterator[Any]:
    for match in EXAMPLE.finditer(PAGE):
        before = SECTION.findall(PAGE[: match.start()])
        yield pytest.param(
            before[-1] if before else "", match[1], id=f"line {PAGE[: match.start()].count(chr(10)) + 1}"
        )


def test_every_action_has_its_section_and_they_are_in_order() -> None:
    described = SECTION.findall(PAGE)
    assert described == sorted(described)
    assert set(described) == set(actions.kinds()) - OLD_NAMES


@pytest.mark.parametrize("kind", list(sections()))
def test_a_section_names_every_option_and_has_an_example(kind: str) -> None:
    text = sections()[kind]
    option = actions.kinds()[kind].model_fields["option"].annotation
    assert option is not None
    for name, field in option.model_fields.items():
        assert f"`{field.alias or name}`" in text, f"the option {name} of {kind} is not described"
    assert EXAMPLE.search(text), f"{kind} has no example"


@pytest.mark.parametrize(("kind", "text"), list(examples()))
async def test_an_example_is_a_good_flow_and_runs(kind: str, text: str) -> None:
    flow = orjson.loads(text)
    if "error" in flow:
        return  # an answer, not a flow
    if isinstance(flow, dict) and "actions" not in flow:
        assert Scenario.model_validate_json(text), "what is no flow is a scenario"
        return
    ran = await run(
        *(flow if isinstance(flow, list) else flow["actions"]), script=Script(digits=[(1.0, "1")])
    )
    assert ran.failures == []
    assert ran.flow.reason == "complete"
    if kind:
        assert kind in [done for done, _ in ran.observed.actions], f"the example of {kind} does not run it"
