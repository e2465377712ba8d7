"""What every resource of the API shares: routes, requests, errors, paging, OpenAPI."""

from ringline.http.application import create_app
from ringline.http.auditing import Auditor
from ringline.http.credentials import Authenticator, Credential
from ringline.http.idempotency import DatabaseIdempotency, IdempotencyStore
from ringline.http.models import ZERO_UUID, Page, QueryModel, RequestModel, ResponseModel, UuidOrZero
from ringline.http.paging import Cursor, PageQuery, page_of, page_statement
from ringline.http.rates import Allowance, Doors, Rates
from ringline.http.readiness import Readiness
from ringline.http.resource import Resource
from ringline.http.route import (
    BytesReply,
    Cookie,
    FileReply,
    Permission,
    Principal,
    Reply,
    Request,
    Route,
    SocketReply,
    StreamReply,
)
from ringline.http.server import Server
from ringline.http.times import Moment, NumberTimestamp, Timestamp, utc_now

__all__ = [
    "ZERO_UUID",
    "Allowance",
    "Auditor",
    "Authenticator",
    "BytesReply",
    "Cookie",
    "Credential",
    "Cursor",
    "DatabaseIdempotency",
    "Doors",
    "FileReply",
    "IdempotencyStore",
    "Moment",
    "NumberTimestamp",
    "Page",
    "PageQuery",
    "Permission",
    "Principal",
    "QueryModel",
    "Rates",
    "Readiness",
    "Reply",
    "Request",
    "RequestModel",
    "Resource",
    "ResponseModel",
    "Route",
    "Server",
    "SocketReply",
    "StreamReply",
    "Timestamp",
    "UuidOrZero",
    "create_app",
    "page_of",
    "page_statement",
    "utc_now",
]
