"""What every resource of the API shares: routes, requests, errors, paging, OpenAPI."""

from ringline.http.application import create_app
from ringline.http.credentials import Authenticator, Credential
from ringline.http.idempotency import DatabaseIdempotency, IdempotencyStore
from ringline.http.models import ZERO_UUID, Page, QueryModel, RequestModel, ResponseModel, UuidOrZero
from ringline.http.openapi import openapi_document
from ringline.http.paging import Cursor, PageQuery, page_of, page_statement
from ringline.http.readiness import Readiness
from ringline.http.route import Cookie, FileReply, Permission, Principal, Reply, Request, Route
from ringline.http.server import Server
from ringline.http.times import NumberTimestamp, Timestamp, utc_now

__all__ = [
    "ZERO_UUID",
    "Authenticator",
    "Cookie",
    "Credential",
    "Cursor",
    "DatabaseIdempotency",
    "FileReply",
    "IdempotencyStore",
    "NumberTimestamp",
    "Page",
    "PageQuery",
    "Permission",
    "Principal",
    "QueryModel",
    "Readiness",
    "Reply",
    "Request",
    "RequestModel",
    "ResponseModel",
    "Route",
    "Server",
    "Timestamp",
    "UuidOrZero",
    "create_app",
    "openapi_document",
    "page_of",
    "page_statement",
    "utc_now",
]
