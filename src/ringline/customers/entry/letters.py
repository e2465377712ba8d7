"""What the mails say."""

from __future__ import annotations

from typing import Final

from ringline.customers.mailed import RESET_LIFE, VERIFY_LIFE
from ringline.mail import Letter

_VERIFY_HOURS: Final = int(VERIFY_LIFE.total_seconds() // 3600)
_RESET_MINUTES: Final = int(RESET_LIFE.total_seconds() // 60)


class Letters:
    """Letters with links to ``url``, where people reach this installation."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def verify(self, to: str, token: str) -> Letter:
        return Letter(
            to,
            "Confirm your e-mail address",
            "Somebody, you hopefully, has asked for an account with this address.\n\n"
            f"Confirm it within {_VERIFY_HOURS} hours:\n\n{self._url}/auth/email-verify?token={token}\n\n"
            "If it was not you, do nothing: the account is deleted by itself.\n",
        )

    def known(self, to: str) -> Letter:
        return Letter(
            to,
            "You have an account already",
            "Somebody, you perhaps, has asked for an account with this address, which has one already.\n\n"
            "Log in with it. If the password is forgotten, ask for a new one:\n\n"
            f"{self._url}/auth/password-forgot\n\n"
            "If it was not you, do nothing.\n",
        )

    def reset(self, to: str, username: str, token: str) -> Letter:
        return Letter(
            to,
            "Choose a new password",
            f"Somebody, you hopefully, has asked for a new password of the login {username}.\n\n"
            f"Choose it within {_RESET_MINUTES} minutes:\n\n{self._url}/auth/password-reset?token={token}\n\n"
            "If it was not you, do nothing: the password stays as it is.\n",
        )

    def welcome(self, to: str, username: str, token: str) -> Letter:
        return Letter(
            to,
            "Your account",
            f"The administrator has made an account for you. Your login is {username}.\n\n"
            f"Choose a password within {_VERIFY_HOURS} hours:\n\n{self._url}/auth/password-reset?token={token}\n",
        )
