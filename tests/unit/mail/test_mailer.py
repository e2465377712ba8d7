"""Letters that leave, through a real SMTP server on loopback and through servers that misbehave."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
import structlog
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from ringline.log import redact
from ringline.mail import Letter, Mailer, MailServer
from ringline.mail import mailer as mailers
from ringline.mail.server import MailRefused

SENDER = "Ringline <no-reply@ringline.example>"
LETTER = Letter("ada@example.com", "Your password", "A link: https://example.com/x?token=1\n")


class Inbox:
    """What the server does with letters: its next answers, then it takes them."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.letters: list[EmailMessage] = []
        self.tries = 0

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.tries += 1
        if self.answers:
            return self.answers.pop(0)
        read: Any = message_from_bytes(envelope.content, policy=default)
        assert envelope.rcpt_tos == [read["To"]]
        self.letters.append(read)
        return "250 OK"


@asynccontextmanager
async def smtp(inbox: Inbox, **options: Any) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(inbox, hostname="test", loop=loop, **options), "127.0.0.1", 0
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def until_idle(mailer: Mailer) -> None:
    async with asyncio.timeout(30):
        while mailer.depth:
            await asyncio.sleep(0.01)


async def test_a_letter_arrives() -> None:
    inbox = Inbox()
    async with smtp(inbox) as port:
        mailer = Mailer(MailServer.of(f"smtp://127.0.0.1:{port}?starttls=auto"), SENDER)
        mailer.post(LETTER)
        await until_idle(mailer)
        await mailer.close()
    (letter,) = inbox.letters
    assert letter["Subject"] == "Your password"
    assert letter.get_content().replace("\r\n", "\n") == LETTER.text


async def test_it_is_tried_again_until_the_server_takes_it() -> None:
    inbox = Inbox("451 later", "452 later")
    async with smtp(inbox) as port:
        mailer = Mailer(
            MailServer.of(f"smtp://127.0.0.1:{port}?starttls=never"), SENDER, retries=(0.01, 0.01, 0.01)
        )
        mailer.post(LETTER)
        await until_idle(mailer)
    assert (len(inbox.letters), inbox.tries) == (1, 3)


async def test_what_is_refused_for_good_is_not_tried_again() -> None:
    inbox = Inbox("554 no such mailbox")
    async with smtp(inbox) as port:
        mailer = Mailer(MailServer.of(f"smtp://127.0.0.1:{port}?starttls=never"), SENDER, retries=(0.01,) * 5)
        with structlog.testing.capture_logs() as said:
            mailer.post(LETTER)
            await until_idle(mailer)
    assert inbox.tries == 1
    (failed,) = [line for line in said if line["event"] == "mail_failed"]
    assert "554" in failed["why"]
    assert "token" not in str(said), "a link that opens an account stays out of the log"


async def test_a_server_that_is_not_there_is_given_up_in_the_end() -> None:
    mailer = Mailer(MailServer("127.0.0.1", 9, starttls=False), SENDER, retries=(0.01, 0.01))
    with structlog.testing.capture_logs() as said:
        mailer.post(LETTER)
        await until_idle(mailer)
    assert [line["event"] for line in said] == ["mail_again", "mail_again", "mail_failed"]


async def test_a_server_without_tls_gets_nothing_when_tls_is_wanted() -> None:
    inbox = Inbox()
    async with smtp(inbox) as port:
        with pytest.raises(MailRefused):
            await MailServer.of(f"smtp://127.0.0.1:{port}").hand_over(LETTER.message(SENDER))
    assert inbox.tries == 0


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Any) -> None:
    certificate = await self_signed(tmp_path)
    inbox = Inbox()
    async with smtp(inbox, tls_context=certificate) as port:
        with pytest.raises(MailRefused):
            await MailServer.of(f"smtp://127.0.0.1:{port}").hand_over(LETTER.message(SENDER))
    assert inbox.tries == 0


async def self_signed(folder: Any) -> ssl.SSLContext:
    key, certificate = folder / "key.pem", folder / "cert.pem"
    made = await asyncio.create_subprocess_exec(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=test"),
        *("-keyout", str(key), "-out", str(certificate)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await made.wait() == 0
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@pytest.mark.filterwarnings("ignore:Requiring AUTH")  # the server, of what it is told to do here
async def test_a_login_is_made_where_one_is_given() -> None:
    def check(_server: Any, _session: Any, _envelope: Any, mechanism: str, data: LoginPassword) -> AuthResult:
        assert mechanism in {"LOGIN", "PLAIN"}
        return AuthResult(success=(data.login, data.password) == (b"us er", b"p@ss"), handled=False)

    inbox = Inbox()
    async with smtp(inbox, authenticator=check, auth_required=True, auth_require_tls=False) as port:
        right = MailServer.of(f"smtp://us%20er:p%40ss@127.0.0.1:{port}?starttls=never")
        await right.hand_over(LETTER.message(SENDER))
        with pytest.raises(MailRefused) as refused:
            await MailServer("127.0.0.1", port, "us er", "wrong", starttls=False).hand_over(
                LETTER.message(SENDER)
            )
    assert len(inbox.letters) == 1
    assert refused.value.lasting


class Hanging:
    """A server that never answers."""

    def __init__(self) -> None:
        self.at_once = 0

    async def hand_over(self, message: EmailMessage) -> None:
        self.at_once += 1
        await asyncio.Event().wait()


async def test_a_server_that_hangs_holds_up_a_few_and_the_rest_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mailers, "_CLOSE_SECONDS", 0.05)
    server = Hanging()
    mailer = Mailer(server, SENDER, most=10)
    with structlog.testing.capture_logs() as said:
        for _ in range(12):
            mailer.post(LETTER)
        await asyncio.sleep(0.05)
        assert (server.at_once, mailer.depth) == (mailers.AT_ONCE, 10)
        await mailer.close()
    assert [line["event"] for line in said] == ["mail_dropped", "mail_dropped", "mail_lost"]


async def test_a_try_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailers, "LONGEST_SECONDS", 0.05)
    mailer = Mailer(Hanging(), SENDER, retries=())
    mailer.post(LETTER)
    await until_idle(mailer)


async def test_without_a_server_it_is_printed_in_the_log() -> None:
    mailer = Mailer(None, SENDER)
    with structlog.testing.capture_logs() as said:
        mailer.post(LETTER)
    (line,) = said
    assert (line["event"], line["to"], line["text"]) == ("mail", "ada@example.com", LETTER.text)
    cleaned = redact(None, "info", dict(line))
    assert cleaned["text"] == LETTER.text, "its link is what somebody waits for"
    assert "token=1" not in redact(None, "info", {"text": LETTER.text})["text"], "no other secret is"
    await mailer.close()
