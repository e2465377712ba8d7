"""The SMTP server that takes our mail, as one URL says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.message import EmailMessage
from urllib.parse import parse_qs, unquote, urlsplit

_PORTS = {"smtp": 587, "smtps": 465}
_STARTTLS = {"required": True, "auto": None, "never": False}
TIMEOUT_SECONDS = 20.0


class MailRefused(Exception):
    """The server does not take this letter, now or ever (``lasting``)."""

    def __init__(self, why: str, *, lasting: bool) -> None:
        super().__init__(why)
        self.lasting = lasting


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where, in which way and as whom mail is handed over. ``starttls``: ``None`` where the server offers it."""

    host: str
    port: int
    username: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    starttls: bool | None = True

    @classmethod
    def of(cls, url: str) -> MailServer:
        """From ``smtp://user:password@host:587`` or ``smtps://...:465``. Raises ``ValueError``.

        ``smtp`` begins TLS before it says anything (STARTTLS); ``?starttls=auto`` takes a server without, and
        ``?starttls=never`` does not try, for one on the same machine. User and password are percent-encoded.
        """
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(
                "must be smtp://[user:password@]host[:port] or smtps://[user:password@]host[:port]"
            )
        query = parse_qs(parts.query, keep_blank_values=True)
        chosen = query.pop("starttls", ["required"])[-1]
        if query or chosen not in _STARTTLS:
            raise ValueError(
                "knows no other parameter than starttls=required, starttls=auto or starttls=never"
            )
        tls = parts.scheme == "smtps"
        return cls(
            parts.hostname,
            parts.port or _PORTS[parts.scheme],
            unquote(parts.username or ""),
            unquote(parts.password or ""),
            tls,
            False if tls else _STARTTLS[chosen],
        )

    async def hand_over(self, message: EmailMessage) -> None:
        """Raises ``MailRefused``, also where nobody answers within 20 s a step."""
        import aiosmtplib  # noqa: PLC0415 - with `ssl` and more behind it; most processes never send mail

        try:
            await aiosmtplib.send(
                message,
                hostname=self.host,
                port=self.port,
                username=self.username or None,
                password=self.password or None,
                use_tls=self.tls,
                start_tls=self.starttls,
                timeout=TIMEOUT_SECONDS,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [one.code for one in error.recipients]
            raise MailRefused(
                "the recipient is refused", lasting=all(code >= 500 for code in codes)
            ) from error
        except aiosmtplib.SMTPResponseException as error:
            raise MailRefused(f"{error.code} {error.message}"[:300], lasting=error.code >= 500) from error
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise MailRefused(f"{type(error).__name__}: {error}"[:300], lasting=False) from error
