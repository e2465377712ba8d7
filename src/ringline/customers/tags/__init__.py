"""Tags: what agents can do, and what queues ask of them."""

from ringline.customers.tags.http import tag_routes
from ringline.customers.tags.service import TagService

__all__ = ["TagService", "tag_routes"]
