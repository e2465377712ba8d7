"""Customers, the people and programs that act for them, and how they prove it."""

from ringline.customers.agents import AgentService, agent_routes
from ringline.customers.authentication import Authentication
from ringline.customers.directory import (
    AccesskeyDirectory,
    Agent,
    AgentDirectory,
    Customer,
    CustomerDirectory,
)
from ringline.customers.http import accesskey_routes, customer_routes, login_routes
from ringline.customers.presence import Engagement, Presence
from ringline.customers.service import AccesskeyService, CustomerService, LoginService
from ringline.customers.tags import TagService, tag_routes
from ringline.customers.tokens import Tokens

__all__ = [
    "AccesskeyDirectory",
    "AccesskeyService",
    "Agent",
    "AgentDirectory",
    "AgentService",
    "Authentication",
    "Customer",
    "CustomerDirectory",
    "CustomerService",
    "Engagement",
    "LoginService",
    "Presence",
    "TagService",
    "Tokens",
    "accesskey_routes",
    "agent_routes",
    "customer_routes",
    "login_routes",
    "tag_routes",
]
