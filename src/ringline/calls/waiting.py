"""Calls that wait for their turn, and what those of one request have in common."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from ringline.calls.call import Call
from ringline.calls.caller import Anonymity
from ringline.sip.address import Address

UNSEEN = "the controller died while it was placing the call: what became of it was not seen"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What makes the flow of each call of a batch: an equal copy for each.

    ``webhook`` is the flow's own, address and method. ``size``: about so many bytes.
    """

    flow_id: UUID
    actions: list[dict[str, Any]]
    variables: dict[str, str]
    webhook: tuple[str, str] = ("", "")
    size: int = 0


@dataclass(slots=True, eq=False)
class Batch:
    """What the calls of one request have in common. ``source`` and ``anonymous`` as the request gave them."""

    id: UUID
    customer_id: UUID
    source: Address
    anonymous: Anonymity
    recipe: Recipe
    left: int = 0

    def row(self, now: Any, owner: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "customer_id": self.customer_id,
            "owner": owner,
            "source": self.source.as_json(),
            "anonymous": self.anonymous,
            "flow_id": self.recipe.flow_id,
            "actions": self.recipe.actions,
            "variables": self.recipe.variables,
            "webhook_uri": self.recipe.webhook[0],
            "webhook_method": self.recipe.webhook[1],
            "tm_create": now,
        }


@dataclass(slots=True, eq=False)
class Waiting:
    """A call that waits. ``number`` grows along a customer's queue.

    ``claimed``: when its turn came, as it is stored. ``claiming``: the same, where it may not have been stored.
    """

    call: Call
    batch: Batch
    number: int = 0
    claimed: datetime | None = None
    claiming: datetime | None = None


def batch_of(row: Any) -> Batch:
    """What ``Batch.row`` was."""
    recipe = Recipe(
        UUID(str(row.flow_id)),
        row.actions,
        row.variables,
        (row.webhook_uri, row.webhook_method),
        len(str(row.actions)),
    )
    return Batch(
        UUID(str(row.id)),
        UUID(str(row.customer_id)),
        Address.model_validate(row.source),
        row.anonymous,
        recipe,
    )
