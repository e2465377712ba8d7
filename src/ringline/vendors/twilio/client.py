"""HTTP to Twilio: where things are, and whose business a refusal is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

from ringline.vendors.client import TOTAL_SECONDS, Answer, Complaint, VendorClient
from ringline.vendors.errors import VendorUnavailable, VendorUncertain
from ringline.vendors.twilio.codes import OPERATORS, reason

API: Final = "https://api.twilio.com"
NUMBERS: Final = "https://numbers.twilio.com"
UPLOAD: Final = "https://numbers-upload.twilio.com"
TRUNKING: Final = "https://trunking.twilio.com"

Form = Mapping[str, str] | list[tuple[str, str]]


class TwilioClient(VendorClient):
    """The session with one account of Twilio's."""

    def __init__(
        self, account_sid: str, auth_token: str, *, base_url: str = "", total_seconds: float = TOTAL_SECONDS
    ) -> None:
        super().__init__(
            "twilio",
            base_url=base_url,
            auth=(account_sid, auth_token),
            complaint=_complaint,
            total_seconds=total_seconds,
        )
        self.account_sid = account_sid

    def of_account(self, path: str = "") -> str:
        """URL of what the account has: ``Messages``, ``IncomingPhoneNumbers/PN...``; ``""`` is the account itself."""
        tail = f"/{quote(path)}" if path else ""
        return f"{API}/2010-04-01/Accounts/{quote(self.account_sid, safe='')}{tail}.json"

    async def get(self, url: str, query: Mapping[str, str | int] | None = None) -> dict[str, Any]:
        """One resource, or the first page of a list."""
        body = (await self.request("GET", url, query=query)).body
        if not isinstance(body, dict):
            raise VendorUnavailable("twilio answered with something else than an object")
        return body

    async def post(self, url: str, form: Form, *, safe: bool = False) -> dict[str, Any]:
        """Make or change something; ``safe``: doing it twice is harmless."""
        return made(await self.request("POST", url, form=form, safe=safe))

    async def rows(
        self, url: str, key: str, query: Mapping[str, str | int], *, pages: int
    ) -> AsyncIterator[dict[str, Any]]:
        """The rows of a list, newest first as Twilio gives them, at most ``pages`` pages."""
        body = await self.get(url, query)
        for page in range(1, pages + 1):
            rows = body.get(key)
            for row in rows if isinstance(rows, list) else ():
                if isinstance(row, dict):
                    yield row
            following = body.get("next_page_uri")
            if not isinstance(following, str) or not following.startswith("/") or page == pages:
                return
            parts = urlsplit(following)
            body = await self.get(f"{API}{parts.path}?{parts.query}")


def made(answer: Answer) -> dict[str, Any]:
    """What a request made, or changed, as the answer has it."""
    if not isinstance(answer.body, dict):
        raise VendorUncertain("twilio answered with something else than an object")
    return answer.body


def _complaint(body: Any) -> Complaint:
    """``{"code": 21422, "message": "...", "more_info": "...", "status": 400}``; newer parts say ``detail``."""
    if not isinstance(body, dict):
        return Complaint("", "")
    words = body.get("message") or body.get("detail") or ""
    if body.get("code") is None:
        return Complaint("", str(words))
    code = str(body["code"])
    return Complaint(code, reason(code, words), ours=code in OPERATORS)
