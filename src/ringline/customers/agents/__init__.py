"""Agents: people who log in, and whose telephones ring."""

from ringline.customers.agents.http import agent_routes
from ringline.customers.agents.service import AgentService

__all__ = ["AgentService", "agent_routes"]
