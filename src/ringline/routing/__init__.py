"""Providers, routes, and what Kamailio reads of them."""

from ringline.routing.kamailio import KamailioRefused, KamailioRpc, KamailioUnavailable
from ringline.routing.models import DEFAULT_CUSTOMER_ID, Provider, ProviderFields, Route, RouteFields, Source
from ringline.routing.seed import seed
from ringline.routing.service import RoutingService

__all__ = [
    "DEFAULT_CUSTOMER_ID",
    "KamailioRefused",
    "KamailioRpc",
    "KamailioUnavailable",
    "Provider",
    "ProviderFields",
    "Route",
    "RouteFields",
    "RoutingService",
    "Source",
    "seed",
]
