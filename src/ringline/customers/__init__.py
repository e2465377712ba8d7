"""Customers, the people and programs that act for them, and how they prove it."""

from ringline.customers.agents import AgentService, agent_routes
from ringline.customers.authentication import Authentication
from ringline.customers.country import country_of
from ringline.customers.directory import (
    AccesskeyDirectory,
    Agent,
    AgentDirectory,
    Customer,
    CustomerDirectory,
)
from ringline.customers.http import accesskey_routes, customer_routes, login_routes
from ringline.customers.identity import Identity
from ringline.customers.logout import RevokedTokens
from ringline.customers.presence import Engagement, Presence
from ringline.customers.service import AccesskeyService, CustomerService, LoginService
from ringline.customers.signing import SigningKeyDirectory
from ringline.customers.tags import TagService, tag_routes
from ringline.customers.tokens import Tokens
from ringline.customers.vigil import Vigil

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
    "Identity",
    "LoginService",
    "Presence",
    "RevokedTokens",
    "SigningKeyDirectory",
    "TagService",
    "Tokens",
    "Vigil",
    "accesskey_routes",
    "agent_routes",
    "country_of",
    "customer_routes",
    "login_routes",
    "tag_routes",
]
