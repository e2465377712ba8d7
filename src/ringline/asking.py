"""Commands that ask the running API, with the access key of ``.env``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import aiohttp
import typer

from ringline import settings

T = TypeVar("T")

_TIMEOUT = aiohttp.ClientTimeout(total=60)
_PAGE = 1000


class Refused(Exception):
    """The API said no; the text says why."""


class Api:
    """The running API."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url.rstrip("/")

    async def ask(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        """The answer. Raises ``Refused`` with the API's sentence."""
        async with self._session.request(method, self._url + path, json=body, params=query) as response:
            answer = await response.json(content_type=None)
            if response.status != 200:
                raise Refused(answer["error"]["message"])
            return answer

    async def all(self, path: str, **query: str) -> list[Any]:
        """The rows of all pages."""
        found: list[Any] = []
        token = ""
        while True:
            page = await self.ask("GET", path, page_size=str(_PAGE), page_token=token, **query)
            found += page["result"]
            token = page["next_page_token"]
            if not token:
                return found


def ask(work: Callable[[Api], Awaitable[T]]) -> T:
    """The result of ``work``. Where it is refused or nobody answers, the command says so and ends with status 1."""
    key = settings.load().accesskey.get_secret_value()
    return _answered(work, lambda _: _given(key))


def operate(work: Callable[[Api], Awaitable[T]]) -> T:
    """The same as the administrator of the installation, with the login of ``.env``."""
    chosen = settings.load()
    body = {"username": chosen.admin_username, "password": chosen.admin_password.get_secret_value()}

    async def token(api: Api) -> str:
        return str((await api.ask("POST", "/auth/login", body))["token"])

    return _answered(work, token)


async def _given(key: str) -> str:
    return key


def _answered(work: Callable[[Api], Awaitable[T]], credential: Callable[[Api], Awaitable[str]]) -> T:
    chosen = settings.load()

    async def run() -> T:
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            api = Api(session, chosen.api_url)
            session.headers["Authorization"] = f"Bearer {await credential(api)}"
            return await work(api)

    try:
        return asyncio.run(run())
    except Refused as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        typer.echo(
            f"No answer from {chosen.api_url}: {error or 'timeout'}. `ringline doctor` looks at each part.",
            err=True,
        )
        raise typer.Exit(1) from None


def table(head: Sequence[str], rows: Sequence[Sequence[str]], nothing: str) -> None:
    """Print rows under a head, or ``nothing`` where there are none."""
    if not rows:
        typer.echo(nothing)
        return
    # from the network: no control characters reach the terminal
    shown = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[index]) for row in (head, *shown)) for index in range(len(head))]
    for row in (head, *shown):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
