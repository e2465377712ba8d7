"""Addresses and headers: nothing that a stranger writes becomes a header or a second recipient."""

from __future__ import annotations

import email
from email.policy import default

import pytest

from ringline.mail import Letter, MailServer, check_address


@pytest.mark.parametrize(
    "text", ["ada@example.com", "a.b+c@x.co", "o'hara@mail.example.org", "x" * 64 + "@" + "d" * 60 + ".com"]
)
def test_addresses(text: str) -> None:
    assert check_address(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "ada@example",
        "ada@127.0.0.1",
        "ada@[127.0.0.1]",
        "a da@example.com",
        "ada@exa mple.com",
        "ada@example.com\nBcc: eve@example.com",
        "ada@example.com\r\n",
        "ada,eve@example.com",
        "Ada <ada@example.com>",
        '"ada"@example.com',
        "ada@example..com",
        ".ada@example.com",
        "ada.@example.com",
        "ada@-example.com",
        "ädä@example.com",
        "ada@\x00example.com",
        "x" * 65 + "@example.com",
        "ada@" + ".".join(["d" * 60] * 5) + ".com",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="e-mail address"):
        check_address(text)


def test_a_letter_as_it_is_sent() -> None:
    letter = Letter("ada@example.com", "Grüße", "Erste Zeile\n.\nFrom here\n")
    message = letter.message("Ringline <no-reply@ringline.example>")
    read = email.message_from_bytes(message.as_bytes(), policy=default)
    assert read["From"] == "Ringline <no-reply@ringline.example>"
    assert (read["To"], read["Subject"]) == ("ada@example.com", "Grüße")
    assert read["Auto-Submitted"] == "auto-generated"
    assert read["Message-ID"].endswith("@ringline.example>")
    assert read["Date"] is not None
    assert read.get_content().replace("\r\n", "\n") == "Erste Zeile\n.\nFrom here\n"
    assert "Erste" not in repr(letter), "the text has links that open accounts"


@pytest.mark.parametrize(
    ("to", "subject"),
    [
        ("ada@example.com\nBcc: e@example.com", "x"),
        ("ada@example.com", "x\r\nBcc: e@example.com"),
        ("x", "x"),
    ],
)
def test_headers_cannot_be_injected(to: str, subject: str) -> None:
    with pytest.raises(ValueError, match=r"address|line breaks"):
        Letter(to, subject, "text").message("a@b.example")


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example", MailServer("mail.example", 587, starttls=True)),
        ("smtp://127.0.0.1:25?starttls=never", MailServer("127.0.0.1", 25, starttls=False)),
        ("smtp://mail.example?starttls=auto", MailServer("mail.example", 587, starttls=None)),
        (
            "smtps://a%40b:p%2Fw@mail.example",
            MailServer("mail.example", 465, "a@b", "p/w", tls=True, starttls=False),
        ),
    ],
)
def test_servers(url: str, server: MailServer) -> None:
    assert MailServer.of(url) == server
    assert "p/w" not in repr(server)


@pytest.mark.parametrize("url", ["http://x", "smtp://", "smtp://x?starttls=maybe", "smtp://x?tls=1", "x:25"])
def test_what_is_no_server(url: str) -> None:
    with pytest.raises(ValueError, match=r"smtp://|starttls"):
        MailServer.of(url)
