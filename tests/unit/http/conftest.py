"""Applications on a free port of loopback, for tests that speak HTTP to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from ringline.errors import Unauthenticated
from ringline.http import (
    Credential,
    IdempotencyStore,
    Permission,
    Principal,
    Readiness,
    Route,
    Server,
    create_app,
)
from ringline.settings import Settings

CUSTOMER = UUID("5e4a0680-804e-11ec-8477-2fea5968d85b")


class Doorkeeper:
    """Knows the access keys ``admin`` and ``agent``."""

    def authenticate(self, credential: Credential) -> Principal:
        permission = {"admin": Permission.CUSTOMER_ADMIN, "agent": Permission.CUSTOMER_AGENT}.get(
            credential.token
        )
        if permission is None:
            raise Unauthenticated("The credential cannot be used.", reason="INVALID_CREDENTIALS")
        return Principal(CUSTOMER, None, None, permission)


class Client:
    """Asks an application."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def ask(self, method: str, path: str, **kwargs: Any) -> tuple[int, Any]:
        """Status and decoded body."""
        async with self.session.request(method, self.url + path, **kwargs) as response:
            return response.status, await response.json()


Serve = Callable[..., Awaitable[Client]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves routes and returns a client."""
    servers: list[Server] = []
    session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20))

    async def start(
        *routes: Route,
        readiness: Readiness | None = None,
        idempotency: IdempotencyStore | None = None,
        max_body_bytes: int = 1_048_576,
    ) -> Client:
        app = create_app(
            routes,
            settings=Settings(max_body_bytes=max_body_bytes),
            authenticator=Doorkeeper(),
            readiness=readiness or Readiness(),
            idempotency=idempotency,
        )
        server = Server(app, "127.0.0.1", 0, grace=1.0)
        await server.start()
        servers.append(server)
        return Client(f"http://127.0.0.1:{server.port}", session)

    yield start
    await session.close()
    for server in servers:
        await server.close()
