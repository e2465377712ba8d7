"""``play``: audio files from the web, one after another."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Annotated, Final, Literal

from pydantic import Field

from ringline.calls.leg import LegError
from ringline.errors import InvalidArgument
from ringline.flows.actions.base import Action, ActionFailed, Context, Media, Options, unless_variable
from ringline.flows.engine import Next, Result
from ringline.media import MediaFailed, Prompt
from ringline.media.address_guard import check_url

_ANYWHERE: Final = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))


def _check_form(value: str) -> None:
    """Whether it is an address of the web at all; which of them may be fetched is the operator's to say."""
    try:
        check_url(value, _ANYWHERE)
    except InvalidArgument as error:
        raise ValueError(error.message) from error


Url = Annotated[str, Field(min_length=1, max_length=2048), unless_variable(_check_form)]


class PlayOptions(Options):
    """``stream_urls``: public http or https addresses of WAV, MP3 or Ogg files."""

    stream_urls: list[Url] = Field(
        min_length=1, max_length=50, description="http(s) addresses of WAV, MP3, Ogg or FLAC files."
    )


class Play(Action):
    """Play files in order; one that cannot be had is noted on the call and the rest are played."""

    type: Literal["play"]
    option: PlayOptions

    async def run(self, context: Context) -> Result:
        urls = self.option.stream_urls
        begin = int(context.progress.get("position", 1))
        faults: list[MediaFailed | LegError] = []
        ahead: asyncio.Task[Prompt] | None = None
        try:
            for position, url in enumerate(urls, start=1):
                if position < begin:
                    continue
                if position > begin:
                    context.progress.keep(position=position)
                fetch, ahead = ahead or context.media.file(url), None
                try:
                    prompt = await fetch
                    if position < len(urls):
                        ahead = asyncio.ensure_future(context.media.file(urls[position]))
                    await context.leg.play([prompt], playing=context.progress.playing(f"file{position}"))
                except (MediaFailed, LegError) as error:
                    faults.append(error)
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)
        if faults:
            raise ActionFailed(faults[0].reason, "; ".join(str(fault) for fault in faults[:5]))
        return Next(waited=True)

    async def prepare(self, media: Media) -> None:
        await media.file(self.option.stream_urls[0])

    def waits(self) -> bool:
        return True

    def urls(self) -> dict[str, str]:
        return {f"option.stream_urls[{index}]": url for index, url in enumerate(self.option.stream_urls)}
