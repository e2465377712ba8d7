"""The pages that mails about accounts lead to: an address is confirmed, a password chosen. They use the API alone."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from ringline.http import static

PAGES: Final = ("/auth/email-verify", "/auth/password-forgot", "/auth/password-reset")
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
}


def account_page_routes() -> list[web.RouteDef]:
    """One page under three names, and what belongs to it. The files are read once."""
    page = static.file(static.PAGES / "account.html", _HEADERS)
    return [
        *(web.get(path, page) for path in PAGES),
        web.get("/auth/account.css", static.file(static.PAGES / "account.css", {})),
        web.get("/auth/account.js", static.file(static.PAGES / "account.js", {})),
    ]
