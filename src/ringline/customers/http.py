"""The routes of logins, the customer and access keys."""

from __future__ import annotations

from ringline.customers.logout import RevokedTokens
from ringline.customers.models import (
    AccesskeyAnswer,
    AccesskeyChange,
    AccesskeyCreate,
    CustomerAnswer,
    CustomerChange,
    Login,
    LoginAnswer,
    LogoutAnswer,
    LogoutRequest,
    NewAccesskeyAnswer,
)
from ringline.customers.service import AccesskeyNotFound, AccesskeyService, CustomerService, LoginService
from ringline.customers.signing import LIFETIME
from ringline.errors import AlreadyExists, ResourceExhausted, Unauthenticated
from ringline.http import Cookie, Page, PageQuery, Reply, Request, Resource, Route, page_of

_ACCESSKEYS = Resource(
    "/v1.0/accesskeys", "accesskey_id", AccesskeyAnswer, AccesskeyNotFound, "accesskeys", writing="admin"
)


def login_routes(service: LoginService, revoked: RevokedTokens) -> list[Route]:
    """``/auth/login`` and ``/auth/logout``; below ``/v1.0`` there is no ``auth``."""

    async def login(request: Request[Login]) -> Reply:
        body = request.body
        token = await service.login(body.username, body.password, request.remote)
        return Reply(
            LoginAnswer(username=body.username, token=token), cookies=(Cookie("token", token, LIFETIME),)
        )

    async def logout(request: Request[LogoutRequest]) -> Reply:
        await revoked.revoke(request.principal)
        return Reply(LogoutAnswer(), cookies=(Cookie("token", "", 0),))

    return [
        Route(
            method="POST",
            path="/auth/logout",
            handler=logout,
            summary="Log out",
            description="The token of this request is refused from now on, by every process within a second; the "
            "cookie is taken back. Other logins of the agent stay.",
            tags=("auth",),
            body=LogoutRequest,
            body_optional=True,
            response=LogoutAnswer,
        ),
        Route(
            method="POST",
            path="/auth/login",
            handler=login,
            summary="Log in",
            description="Answers a token that lasts 7 days and sets it as the cookie `token` (HttpOnly, "
            "SameSite=Strict, Secure over https). A wrong name or password is 401. Repeated attempts from one "
            "address are 429 with `Retry-After`.",
            tags=("auth",),
            auth="none",
            body=Login,
            response=LoginAnswer,
            errors=(Unauthenticated, ResourceExhausted),
            body_examples={"login": {"username": "admin", "password": "secret"}},
        ),
    ]


def customer_routes(service: CustomerService) -> list[Route]:
    """The customer that asks."""

    async def get(request: Request) -> CustomerAnswer:
        return CustomerAnswer.model_validate(await service.get(request.customer_id))

    async def update(request: Request[CustomerChange]) -> CustomerAnswer:
        return CustomerAnswer.model_validate(await service.update(request.customer_id, request.body))

    return [
        Route(
            method="GET",
            path="/v1.0/customer",
            handler=get,
            summary="Read your customer",
            tags=("customer",),
            response=CustomerAnswer,
        ),
        Route(
            method="PUT",
            path="/v1.0/customer",
            handler=update,
            summary="Change your customer",
            description="Fields that are left out stay as they are. `default_outgoing_source_number_id` is the "
            "number that calls to the telephone network show when their own source may not be used. A new "
            "`domain_label` moves "
            "all extensions to the new domain at once: phones are registered no more until they register there, "
            "with the "
            "password they have. A label that somebody has, or had when his extensions were made, is 409 "
            "`ALREADY_EXISTS`.",
            tags=("customer",),
            auth="admin",
            body=CustomerChange,
            response=CustomerAnswer,
            errors=(AlreadyExists,),
            body_examples={
                "default number": {
                    "default_outgoing_source_number_id": "0b266038-844b-11ec-97d8-63ba531361ce"
                },
                "webhook": {"webhook_method": "POST", "webhook_uri": "https://example.com/events"},
            },
        ),
    ]


def accesskey_routes(service: AccesskeyService) -> list[Route]:
    """Access keys."""

    async def page(request: Request[None, PageQuery]) -> Page[AccesskeyAnswer]:
        rows = await service.page(request.customer_id, request.query)
        return page_of(rows, request.query, AccesskeyAnswer.model_validate)

    async def get(request: Request) -> AccesskeyAnswer:
        return AccesskeyAnswer.model_validate(
            await service.get(request.customer_id, request.path["accesskey_id"])
        )

    async def create(request: Request[AccesskeyCreate]) -> NewAccesskeyAnswer:
        row, token = await service.create(request.principal, request.body)
        return NewAccesskeyAnswer.model_validate({**row._mapping, "token": token})

    async def update(request: Request[AccesskeyChange]) -> AccesskeyAnswer:
        row = await service.update(request.customer_id, request.path["accesskey_id"], request.body)
        return AccesskeyAnswer.model_validate(row)

    async def delete(request: Request) -> AccesskeyAnswer:
        row = await service.delete(request.customer_id, request.path["accesskey_id"])
        return AccesskeyAnswer.model_validate(row)

    return [
        _ACCESSKEYS.list(
            page,
            "List access keys",
            description="Tokens are shown only when a key is made; here it is `token_prefix`.",
        ),
        _ACCESSKEYS.create(
            create,
            "Make an access key",
            AccesskeyCreate,
            description="`token` of the answer is the credential; only its hash is stored, so it is not shown "
            "again. `expire` is a lifetime in seconds; left out or 0, the key does not expire.",
            body_examples={"a year": {"name": "my program", "expire": 31_536_000}},
            idempotent=False,
            response=NewAccesskeyAnswer,
        ),
        _ACCESSKEYS.get(get, "Read an access key"),
        _ACCESSKEYS.update(
            update,
            "Rename an access key",
            AccesskeyChange,
            description="Fields that are left out stay as they are.",
        ),
        _ACCESSKEYS.delete(
            delete, "Delete an access key", description="The key is refused from the next request on."
        ),
    ]
