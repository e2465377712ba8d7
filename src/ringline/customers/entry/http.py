"""The routes of sign-up, forgotten passwords and leaving."""

from __future__ import annotations

from ringline.customers.entry.leaving import CustomerNotFound, CustomerStateInvalid, Leaving
from ringline.customers.entry.models import (
    EmailVerify,
    Nothing,
    PasswordForgot,
    PasswordReset,
    SignedUp,
    SignUp,
    Unregister,
    Verified,
)
from ringline.customers.entry.resets import PasswordResets
from ringline.customers.entry.signup import Signups
from ringline.customers.models import CustomerAnswer, NewAccesskeyAnswer
from ringline.errors import PermissionDenied, ResourceExhausted, Unauthenticated
from ringline.http import Request, Route

_TOKEN = "0123456789abcdef" * 4


def entry_routes(signups: Signups, resets: PasswordResets, leaving: Leaving) -> list[Route]:
    """``/auth/signup`` and its neighbours; below ``/v1.0`` there is no ``auth``."""

    async def sign_up(request: Request[SignUp]) -> SignedUp:
        made = await signups.sign_up(request.body, request.remote, request.request_id)
        key = NewAccesskeyAnswer.model_validate({**made.accesskey._mapping, "token": made.token})
        return SignedUp(customer=CustomerAnswer.model_validate(made.customer), accesskey=key)

    async def verify(request: Request[EmailVerify]) -> Verified:
        customer, username, token = await signups.verify(
            request.body.token, request.remote, request.request_id
        )
        shown = CustomerAnswer.model_validate(customer)
        return Verified(customer=shown, username=username, password_token=token)

    async def forgot(request: Request[PasswordForgot]) -> Nothing:
        resets.forgot(request.body.username, request.remote)
        return Nothing()

    async def reset(request: Request[PasswordReset]) -> Nothing:
        body = request.body
        await resets.reset(body.token, body.password, request.remote, request.request_id)
        return Nothing()

    async def unregister(request: Request[Unregister]) -> CustomerAnswer:
        return CustomerAnswer.model_validate(await leaving.unregister(request.principal, request.body))

    async def come_back(request: Request) -> CustomerAnswer:
        return CustomerAnswer.model_validate(await leaving.come_back(request.customer_id))

    return [
        Route(
            method="POST",
            path="/auth/signup",
            handler=sign_up,
            summary="Sign up",
            description="Off unless the operator switches it on (`RINGLINE_SIGNUP_ENABLED`): 403 "
            "`SIGNUP_DISABLED`. Makes a customer that is `initial` until the address is verified by the link "
            "that is mailed to it, its admin, a billing account of the free plan and an access key, which works "
            "at once and is shown now only. Nothing may be dialled until `PUT /v1.0/outbound_config` names "
            "countries. After 72 hours without verification the customer is `expired`. The answer does not tell "
            "whether the address is known.",
            tags=("auth",),
            auth="none",
            body=SignUp,
            response=SignedUp,
            errors=(PermissionDenied, ResourceExhausted),
            body_examples={"sign up": {"email": "ada@example.com", "accepted_tos": True, "name": "Ada Ltd"}},
        ),
        Route(
            method="POST",
            path="/auth/email-verify",
            handler=verify,
            summary="Verify an e-mail address",
            description="With the token of the mail, once. The customer is `active` then, and the address is the "
            "name of its admin's login. `GET` with `?token=` shows people a page that does it.",
            tags=("auth",),
            auth="none",
            body=EmailVerify,
            response=Verified,
            body_examples={"token": {"token": _TOKEN}},
        ),
        Route(
            method="POST",
            path="/auth/password-forgot",
            handler=forgot,
            summary="Ask for a new password",
            description="Mails a link to the login's address, which is good once and for an hour. Always answers "
            "`{}`, whether there is such a login or not.",
            tags=("auth",),
            auth="none",
            body=PasswordForgot,
            response=Nothing,
            errors=(ResourceExhausted,),
            body_examples={"login": {"username": "ada@example.com"}},
        ),
        Route(
            method="POST",
            path="/auth/password-reset",
            handler=reset,
            summary="Choose a new password",
            description="With the token of the mail, once. Tokens of logins with the former password are refused "
            "from then on. `GET` with `?token=` shows people a page that does it.",
            tags=("auth",),
            auth="none",
            body=PasswordReset,
            response=Nothing,
            errors=(ResourceExhausted,),
            body_examples={"password": {"token": _TOKEN, "password": "correct horse battery"}},
        ),
        Route(
            method="POST",
            path="/auth/unregister",
            handler=unregister,
            summary="Close the account",
            description="Freezes your customer: every request is 403 `ACCOUNT_FROZEN` from then on, calls and "
            "messages are refused, and in 30 days it is deleted with everything that belongs to it. Calls that "
            "last go on to their end. Until then `DELETE /auth/unregister` takes it back. With `immediate` it "
            "is deleted at once.",
            tags=("auth",),
            auth="admin",
            body=Unregister,
            response=CustomerAnswer,
            errors=(Unauthenticated, CustomerNotFound, CustomerStateInvalid, ResourceExhausted),
            body_examples={
                "with the password": {"password": "correct horse battery"},
                "by an access key": {"confirmation_phrase": "DELETE"},
            },
        ),
        Route(
            method="DELETE",
            path="/auth/unregister",
            handler=come_back,
            summary="Recover the account",
            description="Takes `POST /auth/unregister` back: the customer is as it was. An account that the "
            "administrator of the installation has frozen stays frozen (403).",
            tags=("auth",),
            auth="admin",
            response=CustomerAnswer,
            errors=(CustomerNotFound, CustomerStateInvalid),
            while_frozen=True,
        ),
    ]
