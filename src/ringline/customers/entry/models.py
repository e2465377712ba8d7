"""What ``/auth/...`` takes and answers, apart from logins."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ringline.customers.agents.models import Password
from ringline.customers.mailed import MailedToken
from ringline.customers.models import CustomerAnswer, NewAccesskeyAnswer, http_url
from ringline.http import RequestModel, ResponseModel
from ringline.mail import EmailAddress


def _accepted(value: bool) -> bool:
    if not value:
        raise ValueError("must be true: without the terms there is no account")
    return value


class SignUp(RequestModel):
    """Who wants an account."""

    email: EmailAddress
    accepted_tos: Annotated[bool, AfterValidator(_accepted)] = Field(
        description="`true`: the terms of service of whoever runs this installation are accepted."
    )
    name: str = Field("", max_length=255)
    detail: str = Field("", max_length=2000)
    phone_number: str = Field("", max_length=64)
    address: str = Field("", max_length=1000)
    webhook_method: Literal["", "POST", "GET", "PUT", "DELETE"] = ""
    webhook_uri: Annotated[str, AfterValidator(http_url)] = Field("", max_length=2000)


class SignedUp(ResponseModel):
    """A customer just made, and its access key, which is shown now only."""

    customer: CustomerAnswer
    accesskey: NewAccesskeyAnswer


class EmailVerify(RequestModel):
    """The proof that a mail was read."""

    token: MailedToken


class Verified(ResponseModel):
    """The customer is active now, and its admin may choose a password."""

    customer: CustomerAnswer
    username: str = Field(description="The name to log in with: the e-mail address.")
    password_token: str = Field(
        description="Give it to `POST /auth/password-reset` within an hour to choose a password."
    )


class PasswordForgot(RequestModel):
    """Who has forgotten the password."""

    username: str = Field(min_length=1, max_length=255, description="The name to log in with.")


class PasswordReset(RequestModel):
    """The new password."""

    token: MailedToken
    password: Password


class Nothing(ResponseModel):
    """Nothing to say."""


class Unregister(RequestModel):
    """That it is meant: the password of who asks, or the word ``DELETE``."""

    password: str | None = Field(None, max_length=1024, description="The password of the login that asks.")
    confirmation_phrase: Literal["DELETE"] | None = Field(None, description="The word, in capital letters.")
    immediate: bool = Field(
        False, description="Delete at once, without the 30 days in which it can be undone."
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Unregister:
        if (self.password is None) == (self.confirmation_phrase is None):
            raise ValueError("must have either `password` or `confirmation_phrase`")
        return self
