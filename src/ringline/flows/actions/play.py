"""``play``: audio files from the web, one after another."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import Field

from ringline import settings
from ringline.calls.leg import LegError
from ringline.flows.actions.base import Action, ActionFailed, Context, Media, Options, unless_variable
from ringline.flows.engine import Next, Result
from ringline.media import MediaFailed, Prompt
from ringline.media.address_guard import check_url


@lru_cache(maxsize=1024)
def _check_url(value: str) -> None:
    try:
        check_url(value, settings.load().fetch_allowed_networks)
    except Exception as error:
        raise ValueError(str(error)) from error


Url = Annotated[str, Field(min_length=1, max_length=2048), unless_variable(_check_url)]


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
        first, *others = self.option.stream_urls
        fetches = [asyncio.ensure_future(context.media.file(url)) for url in others]
        faults: list[MediaFailed | LegError] = []
        try:
            for fetch in (context.media.file(first), *fetches):
                try:
                    prompt: Prompt = await fetch
                    await context.leg.play([prompt])
                except (MediaFailed, LegError) as error:
                    faults.append(error)
        finally:
            for fetch in fetches:
                fetch.cancel()
            if fetches:
                await asyncio.gather(*fetches, return_exceptions=True)
        if faults:
            raise ActionFailed(faults[0].reason, "; ".join(str(fault) for fault in faults[:5]))
        return Next(waited=True)

    async def prepare(self, media: Media) -> None:
        await media.file(self.option.stream_urls[0])
