"""What ``/v1.0/customers`` takes and answers."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from ringline.customers.country import Country
from ringline.customers.label import Label
from ringline.customers.models import (
    CustomerAnswer,
    CustomerChange,
    CustomerStatus,
    NewAccesskeyAnswer,
    http_url,
)
from ringline.http import PageQuery, RequestModel
from ringline.mail import EmailAddress

Verification = Literal["none", "pending", "verified", "rejected"]


class CustomersQuery(PageQuery):
    """Which customers."""

    status: CustomerStatus | None = Field(
        None, description="Without it all that were neither deleted nor have expired."
    )
    email: str | None = Field(None, max_length=254, description="The whole address, in any case of letters.")
    name: str | None = Field(None, max_length=255, description="A part of the name, in any case of letters.")
    domain_label: str | None = Field(None, max_length=30)


class CustomerCreate(RequestModel):
    """The customer to make. It is active at once."""

    name: str = Field(min_length=1, max_length=255)
    email: EmailAddress = Field(
        description="The login of its admin, to which a link is mailed to choose a password."
    )
    detail: str = Field("", max_length=2000)
    phone_number: str = Field("", max_length=64)
    address: str = Field("", max_length=1000)
    webhook_method: Literal["", "POST", "GET", "PUT", "DELETE"] = ""
    webhook_uri: Annotated[str, AfterValidator(http_url)] = Field("", max_length=2000)
    domain_label: Label | None = None
    country: Country = Field("", description="ISO 3166 alpha-2 such as `us` or `de`; empty for unknown.")
    identity_verification_status: Verification = "none"


class NewCustomer(CustomerAnswer):
    """A customer just made, with its access key, which is shown now only, and its admin."""

    accesskey: NewAccesskeyAnswer
    agent_id: UUID
    username: str


class CustomerAdminChange(CustomerChange):
    """What is to be changed; what is left out stays."""

    identity_verification_status: Verification = Field(
        "none", description="What is known of who the customer is."
    )
    email_verified: bool = False
