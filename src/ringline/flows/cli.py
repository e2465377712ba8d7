"""``ringline flow``: flows in files: checked, drawn and tried.

Commands import what they need, so that ``--help`` is quick.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringline import settings

if TYPE_CHECKING:
    from ringline.flows.check import Finding, UrlCheck
    from ringline.flows.documents import Document

flow_app = typer.Typer(no_args_is_help=True)

Files = Annotated[list[Path], typer.Argument(help="JSON files; - is the standard input.", allow_dash=True)]
File = Annotated[Path, typer.Argument(help="A JSON file; - is the standard input.", allow_dash=True)]


@flow_app.command("check")
def check_files(
    files: Files,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say what is wrong with flows, and what is odd about them, each with its line.

    Exit status 0 if nothing is wrong (warnings are no faults), 1 if something is, 2 if a file cannot be read.
    """
    from ringline.flows.documents import Unreadable  # noqa: PLC0415

    documents, unreadable = [], []
    for file in files:
        try:
            documents.append(load(file))
        except Unreadable as error:
            unreadable.append(str(error))
    if as_json:
        shown = [document.as_json() for document in documents]
        typer.echo(json.dumps({"files": shown, "unreadable": unreadable}, indent=2))
    else:
        for document in documents:
            report(document)
        for sentence in unreadable:
            typer.echo(f"{typer.style(sentence, fg='red')}", err=True)
    if unreadable:
        raise typer.Exit(2)
    raise typer.Exit(1 if any(document.faults for document in documents) else 0)


@flow_app.command("draw")
def draw_file(file: File) -> None:
    """Print a flow as a Mermaid diagram (paste it into a Markdown file, or into a Mermaid viewer)."""
    from ringline.flows import drawing  # noqa: PLC0415

    typer.echo(drawing.draw(load_good(file).actions), nl=False)


@flow_app.command("try")
def try_file(
    file: File,
    digits: Annotated[
        str,
        typer.Option(
            help='Keys of the other side, one text for each time the flow waits for some: "1 42# -" (- presses'
            ' nothing); "1@7.5" is pressed 7.5 s after the start.'
        ),
    ] = "",
    script: Annotated[
        Path | None,
        typer.Option(help="A JSON file with the scenario: the body of POST /v1.0/flows/{id}/simulations."),
    ] = None,
    incoming: Annotated[bool, typer.Option("--incoming", help="Try it as an incoming call.")] = False,
    text: Annotated[
        str | None, typer.Option("--text", help="Try it as the flow of a text that says this.")
    ] = None,
    variable: Annotated[
        list[str] | None, typer.Option("--variable", help="NAME=TEXT; may be given more than once.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the whole trace as JSON at the end.")
    ] = False,
    interactive: Annotated[
        bool | None,
        typer.Option(
            "--interactive/--no-interactive",
            help="Ask for keys when the flow waits for some. Default: in a terminal, where none are given.",
        ),
    ] = None,
) -> None:
    """Run a flow without a telephone, in virtual time, and say what happens.

    Nothing is called, requested or charged. Exit status 0 if the flow came to its end or the caller hung up, 1 if it
    was stopped by a fault or is wrong, 2 if a file cannot be read.
    """
    from ringline.flows import terminal  # noqa: PLC0415

    document = load_good(file)
    scenario = terminal.scenario_of(
        script, digits=digits, incoming=incoming, text=text, variables=variable or [], url=_url_rule()
    )
    if interactive is None:
        interactive = not (scenario.digits or as_json or str(file) == "-") and terminal.is_interactive()
    raise typer.Exit(terminal.run(document.actions, scenario, as_json=as_json, interactive=interactive))


def load(file: Path) -> Document:
    """A file's flow, checked. Raises ``Unreadable``."""
    from ringline.flows.documents import read  # noqa: PLC0415

    url = _url_rule()
    if str(file) == "-":
        return read(None, typer.get_text_stream("stdin").read(), url=url)
    return read(file, url=url)


def _url_rule() -> UrlCheck:
    from ringline.media import address_guard  # noqa: PLC0415

    return partial(address_guard.check_url, allowed=settings.load().fetch_allowed_networks)


def load_good(file: Path) -> Document:
    """A file's flow without faults; where there are any they are said, and the command ends."""
    from ringline.flows.documents import Unreadable  # noqa: PLC0415

    try:
        document = load(file)
    except Unreadable as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if document.faults:
        report(document, err=True)
        raise typer.Exit(1)
    return document


def report(document: Document, *, err: bool = False) -> None:
    """Each finding on a line, ``file:line:column`` first, as compilers do, and a summary."""
    _list(document, document.faults, typer.style("fault:", fg="red", bold=True), err=err)
    _list(document, document.warnings, typer.style("warning:", fg="yellow"), err=err)
    found = [
        _count(len(findings), word)
        for findings, word in ((document.faults, "fault"), (document.warnings, "warning"))
        if findings
    ]
    summary = f"{document.name}: {_count(document.count, 'action')}, {' and '.join(found) or 'no faults'}."
    typer.echo(typer.style(summary, fg="red" if document.faults else "green"), err=err)


def _list(document: Document, findings: Sequence[Finding], word: str, *, err: bool) -> None:
    for finding in findings:
        where = typer.style(document.where(finding), bold=True)
        typer.echo(f"{where}: {word} {finding.field} {finding.message}", err=err)


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
