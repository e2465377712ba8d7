"""A flow as a Mermaid diagram: a node for each action, an arrow for each way to go on. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from ringline.flows import graph
from ringline.flows.actions import Action

MAX_LABEL: Final = 60
_SHOWN_OPTIONS: Final = 3
_SPECIAL: Final = re.compile(r"[^\w .,:;!?'()/+*=@%$-]", re.ASCII)


def draw(actions: Sequence[Action]) -> str:
    """The flowchart of checked actions; those for other calls stand in boxes of their own."""
    lines = ["flowchart TD"]
    lines += [f"    {line}" for line in _list(actions, "a")]
    return "\n".join(lines) + "\n"


def _list(actions: Sequence[Action], prefix: str) -> Iterator[str]:
    start, end = f"{prefix}_start", f"{prefix}_end"
    yield f'{start}(["start"])'
    for index, action in enumerate(actions):
        yield f"{prefix}{index}{_shape(action, _label(index, action))}"
    found = graph.edges(actions)
    if not actions or any(edge.target is None for edge in found) or _ends(actions):
        yield f'{end}(["end"])'
    yield f"{start} --> {f'{prefix}0' if actions else end}"
    for edge in found:
        action = actions[edge.source]
        target = end if edge.target is None else f"{prefix}{edge.target}"
        label = action.way(edge.place)
        yield f"{prefix}{edge.source} -->{f'|{_quoted(label)}|' if label else ''} {target}"
    for index, action in enumerate(actions):
        if not action.goes_on and not action.targets():
            yield f"{prefix}{index} --> {end}"
        for place, inner in action.inner().items():
            if inner:
                box = f"{prefix}{index}_{place.rpartition('.')[2]}_"
                yield f"subgraph {box}box [{_quoted(f'{index}. {action_type(action)}: {place}')}]"
                yield from (f"    {line}" for line in _list(inner, box))
                yield "end"
                yield f"{prefix}{index} -.-> {box}_start"


def _ends(actions: Sequence[Action]) -> bool:
    return any(not action.goes_on and not action.targets() for action in actions)


def action_type(action: Action) -> str:
    """The ``type`` of an action, as it was written."""
    return str(getattr(action, "type", "?"))


def _shape(action: Action, label: str) -> str:
    if action.targets():
        return f"{{{label}}}"
    if not action.goes_on:
        return f"([{label}])"
    return f"[{label}]"


def _label(index: int, action: Action) -> str:
    """Position, type and the options that were given, without those that the arrows show."""
    option: Any = getattr(action, "option", None)
    arrows = {place.split(".")[1] for place in action.targets() if place.startswith("option.")}
    given = [
        f"{name}: {_short(value)}"
        for name, value in option.model_dump(mode="json", by_alias=True, exclude_unset=True).items()
        if name not in arrows and name not in action.nested
    ]
    lines = [f"{index}. {action_type(action)}", *given[:_SHOWN_OPTIONS]]
    return _quoted(*lines)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= MAX_LABEL else text[: MAX_LABEL - 3] + "..."


def _quoted(*lines: str) -> str:
    """A text of the diagram's: whatever might mean something in it is written as an entity (``#35;``)."""
    return '"' + "<br/>".join(_SPECIAL.sub(lambda found: f"#{ord(found[0])};", line) for line in lines) + '"'
