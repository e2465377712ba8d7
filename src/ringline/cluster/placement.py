"""In which process an operation's handler runs, said for whole rooms."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ringline.http import Route


def at_owner(routes: Iterable[Route], *, owned: str = "") -> list[Route]:
    """Of resources that live in a controller's memory: what names one runs where it is, lists anywhere.

    What makes one runs at any controller, or at the one that has the resource that the body's field ``owned`` names.
    """
    return [_placed(route, owned) for route in routes]


def at_controller(routes: Iterable[Route]) -> list[Route]:
    """What any controller knows, and nobody else."""
    return [replace(route, runs="controller") for route in routes]


def _placed(route: Route, owned: str) -> Route:
    if route.produces and not route.body:
        # files: whoever is asked sees them
        return route if route.response is bytes else replace(route, runs="owner")
    if any(name not in route.words for name in route.parameters):
        return replace(route, runs="owner")
    if route.method == "GET":
        return route
    return replace(route, runs="owner", owned=owned) if owned else replace(route, runs="controller")
