"""Telephone numbers: what a customer may be called at and call from."""

from ringline.numbers.acquiring import NumberTaken, acquired
from ringline.numbers.buying import NumberShop
from ringline.numbers.directory import Number, NumberDirectory
from ringline.numbers.errors import NumberNotFound
from ringline.numbers.http import number_routes
from ringline.numbers.orders import NumberOrders
from ringline.numbers.renewal import NumberRenewals
from ringline.numbers.service import NumberService, forget_flow
from ringline.numbers.source import ResolvedSource, resolve_source, source_problem

__all__ = [
    "Number",
    "NumberDirectory",
    "NumberNotFound",
    "NumberOrders",
    "NumberRenewals",
    "NumberService",
    "NumberShop",
    "NumberTaken",
    "ResolvedSource",
    "acquired",
    "forget_flow",
    "number_routes",
    "resolve_source",
    "source_problem",
]
