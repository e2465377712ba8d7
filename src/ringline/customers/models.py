"""What the API shows and takes of customers, access keys and logins."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, Field

from ringline.customers.country import Country
from ringline.customers.label import Label
from ringline.http import RequestModel, ResponseModel, Timestamp, UuidOrZero

CustomerStatus = Literal["initial", "active", "frozen", "deleted", "expired"]


class CustomerAnswer(ResponseModel):
    """A customer: whose numbers, calls and flows these are."""

    id: UUID
    name: str
    detail: str
    email: str
    phone_number: str
    address: str
    webhook_method: str = Field(description="`POST`, `GET`, `PUT`, `DELETE`, or empty.")
    webhook_uri: str
    billing_account_id: UuidOrZero
    default_outgoing_source_number_id: UuidOrZero = Field(
        description="The number that calls to the telephone network show when the request names none that may "
        "be used. The zero UUID means none."
    )
    domain_label: str = Field(
        description="The customer's short name in SIP addresses: `test11@test`. An extension's `domain_name` is "
        "the whole."
    )
    country: str = Field(
        description="Where the customer is at home, ISO 3166 alpha-2 in small letters; its phones may dial as people "
        "there do. Empty: the country of its default outgoing number, else of its oldest number."
    )
    metadata: dict[str, Any]
    email_verified: bool
    status: CustomerStatus
    identity_verification_status: Literal["none", "pending", "verified", "rejected"]
    tm_deletion_scheduled: Timestamp
    tm_create: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp


def http_url(text: str) -> str:
    """The URL as it is, or nothing. Raises ``ValueError``."""
    if not text:
        return text
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be empty or a URL that starts with http:// or https://")
    return text


class CustomerChange(RequestModel):
    """What is to be changed; what is left out stays."""

    name: str = Field("", max_length=255)
    detail: str = Field("", max_length=2000)
    email: str = Field("", max_length=254)
    phone_number: str = Field("", max_length=64)
    address: str = Field("", max_length=1000)
    webhook_method: Literal["", "POST", "GET", "PUT", "DELETE"] = ""
    webhook_uri: Annotated[str, AfterValidator(http_url)] = Field("", max_length=2000)
    default_outgoing_source_number_id: UuidOrZero = Field(
        None, description="The id of one of your numbers that is normal and active; the zero UUID for none."
    )
    domain_label: Label = ""
    country: Country = Field(
        "",
        description="Where you are at home: ISO 3166 alpha-2 such as `us` or `de`. Your phones may dial numbers as "
        "people there do. Empty: it follows from your default outgoing number, else from your oldest number.",
    )


class AccesskeyAnswer(ResponseModel):
    """An access key: the credential of a program."""

    id: UUID
    customer_id: UUID
    name: str
    detail: str
    token_prefix: str = Field(description="The first characters of the token, to recognise it by.")
    tm_expire: Timestamp
    tm_last_use: Timestamp = Field(description="When it was last used, to the minute.")
    tm_create: Timestamp
    tm_update: Timestamp
    tm_delete: Timestamp


class NewAccesskeyAnswer(AccesskeyAnswer):
    """An access key just made, with the token that is never shown again."""

    token: str = Field(description="The credential itself. Only its hash is stored: keep it now.")


class AccesskeyCreate(RequestModel):
    """The access key to make."""

    name: str = Field("", max_length=255)
    detail: str = Field("", max_length=2000)
    expire: int = Field(
        0, ge=0, le=315_360_000, description="Lifetime in seconds, at most ten years; 0 is without end."
    )


class AccesskeyChange(RequestModel):
    """What is to be changed; what is left out stays."""

    name: str = Field("", max_length=255)
    detail: str = Field("", max_length=2000)


class Login(RequestModel):
    """An agent's name and password."""

    username: str = Field(max_length=255)
    password: str = Field(max_length=1024)


class LoginAnswer(ResponseModel):
    """The token that proves the login for 7 days."""

    username: str
    token: str


class LogoutRequest(RequestModel):
    """Nothing is said: the token of the request is the one."""


class LogoutAnswer(ResponseModel):
    """It is done."""
