"""Telephone numbers: what a customer may be called at and call from."""

from ringline.numbers.directory import Number, NumberDirectory
from ringline.numbers.http import number_routes
from ringline.numbers.service import NumberNotFound, NumberService
from ringline.numbers.source import ResolvedSource, resolve_source, source_problem

__all__ = [
    "Number",
    "NumberDirectory",
    "NumberNotFound",
    "NumberService",
    "ResolvedSource",
    "number_routes",
    "resolve_source",
    "source_problem",
]
