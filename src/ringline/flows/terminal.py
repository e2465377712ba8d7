"""Trying a flow in a terminal: the trace as it happens, and keys from the keyboard."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import typer
from pydantic import ValidationError

from ringline.errors import InvalidArgument
from ringline.flows.actions import Action
from ringline.flows.check import Rules, UrlCheck, canonical
from ringline.flows.documents import well_formed
from ringline.flows.simulation.run import Tried, simulate
from ringline.flows.simulation.scenario import Scenario
from ringline.flows.simulation.trace import Entry
from ringline.http.problems import from_validation

HANG_UP = frozenset({"h", "hangup"})
_WELL = frozenset({"complete", "hangup"})
_COLOURS = {"failed": "red", "hangup": "magenta", "goes_on": "cyan", "variable": "cyan", "received": "green"}


def is_interactive() -> bool:
    """Whether somebody sits at a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def scenario_of(
    file: Path | None,
    *,
    digits: str,
    incoming: bool,
    variables: Sequence[str],
    url: UrlCheck,
    text: str | None = None,
) -> Scenario:
    """The scenario of a file and of options, which win. Ends the command where they cannot be used."""
    given: dict[str, Any] = {}
    if file is not None:
        try:
            given = json.loads(file.read_text())
        except (OSError, ValueError, RecursionError) as error:
            _end(f"{file}: {getattr(error, 'strerror', None) or error}", 2)
        if not isinstance(given, dict):
            _end(f"{file}: must be an object: the body of POST /v1.0/flows/{{id}}/simulations", 2)
    if digits:
        given["digits"] = digits.replace(",", " ").split()
    if incoming:
        given["direction"] = "incoming"
    if text is not None:
        given["text"] = text
    for variable in variables:
        name, separator, value = variable.partition("=")
        if not separator:
            _end(f"--variable {variable}: must be NAME=TEXT", 2)
        given.setdefault("variables", {})[name] = value
    try:
        return Scenario.model_validate_json(json.dumps(given), context=Rules(well_formed, url))
    except ValidationError as failure:
        faults = from_validation(failure, Scenario).details
        _end("\n".join(f"{file or 'options'}: {fault['field']} {fault['message']}" for fault in faults), 2)


def run(actions: Sequence[Action], scenario: Scenario, *, as_json: bool, interactive: bool) -> int:
    """Try it and print what happens; returns the exit status."""
    try:
        tried = asyncio.run(
            simulate(
                canonical(actions),
                scenario,
                rules=Rules(well_formed),
                emit=None if as_json else _print,
                ask=_ask if interactive else None,
            )
        )
    except InvalidArgument as error:
        typer.echo(error.message, err=True)
        return 2
    if as_json:
        typer.echo(json.dumps(asdict(tried), indent=2, ensure_ascii=False))
    else:
        typer.echo(typer.style(_summary(tried), bold=True))
    return 0 if tried.reason in _WELL else 1


def _summary(tried: Tried) -> str:
    what = {"complete": "The flow came to its end", "hangup": "The call ended before the flow did"}
    text = what.get(tried.reason, f"The flow was stopped: {tried.reason}")
    text += f" ({tried.message})" if tried.message else ""
    return f"{text}, after {tried.seconds:.1f} s."


def _print(entry: Entry) -> None:
    if entry.event == "action":
        where = f"{entry.action or 'fetched'} {entry.type}"
        typer.echo(f"{entry.at:8.1f} s  {typer.style(where, bold=True)}")
        return
    text = entry.text if entry.event != "failed" else f"! {entry.text}"
    typer.echo(f"{entry.at:8.1f} s    {typer.style(text, fg=_COLOURS.get(entry.event))}")


async def _ask(seconds: float, length: int, end_keys: str) -> str | None:
    """Keys from the keyboard. The virtual clock stands still meanwhile."""
    while True:
        try:
            text = await asyncio.to_thread(input, "            keys (Enter: none, h: hang up)> ")
        except EOFError:
            return None
        text = text.strip().upper()
        if text.lower() in HANG_UP:
            return None
        if all(key in "0123456789ABCD#*" for key in text):
            return text
        typer.echo("            keys are 0-9, A-D, # and *")


def _end(sentence: str, status: int) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(status)
