"""The API of addresses that the edge takes nothing from, for the installation's administrator."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ringline.http import Request, RequestModel, ResponseModel, Route, Timestamp
from ringline.routing.bans import LONGEST_SECONDS, Ban, BanNotFound, Bans

_BANS = "/v1.0/bans"
_ONE = "/v1.0/bans/{address}"


class BanAnswer(ResponseModel):
    """An address from which nothing is taken, or, where it may be forged, nothing of strangers."""

    address: str
    reason: str = Field(
        description="`password` (guesses), `scanner`, `stranger` (went on without an account), `flood`, "
        "`operator`."
    )
    proven: bool = Field(
        description="Whether the address is really the banned one's. If not (UDP), phones that have registered from "
        "there are heard all the same."
    )
    tm_expire: Timestamp = Field(description="When the ban ends.")


class BanList(ResponseModel):
    """Everybody who is banned now, those who are released first at the top."""

    result: list[BanAnswer]
    next_page_token: Literal[""] = Field("", description="There is one page.")


class BanCreate(RequestModel):
    """Whom to ban."""

    address: str = Field(max_length=64, description="An IP address.")
    seconds: int = Field(86_400, ge=1, le=LONGEST_SECONDS, description="For how long.")


def ban_routes(bans: Bans) -> list[Route]:
    """The ban table of Kamailio, as ``ringline ban`` has it."""

    async def page(request: Request) -> BanList:
        return BanList(result=[_shown(ban) for ban in await bans.all()], next_page_token="")

    async def create(request: Request[BanCreate]) -> BanAnswer:
        return _shown(await bans.add(request.body.address, request.body.seconds))

    async def delete(request: Request) -> BanAnswer:
        return _shown(await bans.clear(request.words["address"]))

    tags = ("bans",)
    return [
        Route(
            method="GET",
            path=_BANS,
            handler=page,
            summary="List banned addresses",
            description="After floods, scans and wrong passwords, or by your word. Kamailio keeps them in memory: a "
            "restart of it forgets them.",
            tags=tags,
            auth="project",
            response=BanList,
        ),
        Route(
            method="POST",
            path=_BANS,
            handler=create,
            summary="Ban an address",
            description="In force when this is answered, in place of a ban that it has. This machine, Asterisk, "
            "providers and "
            "`RINGLINE_BAN_EXEMPT_NETWORKS` are heard all the same.",
            tags=tags,
            auth="project",
            body=BanCreate,
            response=BanAnswer,
            body_examples={"for an hour": {"address": "203.0.113.7", "seconds": 3600}},
        ),
        Route(
            method="DELETE",
            path=_ONE,
            handler=delete,
            summary="Lift a ban",
            description="What led to it is forgotten, too.",
            tags=tags,
            auth="project",
            response=BanAnswer,
            words=("address",),
            errors=(BanNotFound,),
        ),
    ]


def _shown(ban: Ban) -> BanAnswer:
    return BanAnswer(address=ban.address, reason=ban.reason, proven=ban.proven, tm_expire=ban.until)
