"""Customers, the people and programs that act for them, and how they prove it."""

from ringline.customers.authentication import Authentication
from ringline.customers.directory import (
    AccesskeyDirectory,
    AgentDirectory,
    Customer,
    CustomerDirectory,
)
from ringline.customers.http import accesskey_routes, customer_routes, login_routes
from ringline.customers.service import AccesskeyService, CustomerService, LoginService
from ringline.customers.tokens import Tokens

__all__ = [
    "AccesskeyDirectory",
    "AccesskeyService",
    "AgentDirectory",
    "Authentication",
    "Customer",
    "CustomerDirectory",
    "CustomerService",
    "LoginService",
    "Tokens",
    "accesskey_routes",
    "customer_routes",
    "login_routes",
]
