"""What schemathesis runs within itself for ``test_description.py``."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import schemathesis

WHOLE = "CreateFlow"
FEW = {"talk", "branch", "hangup"}
"""Each action and option is tried where a flow is made; where else a flow may stand, these are enough: with all of
them in fourteen places, nine of ten requests would be about the same."""


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """The description with few actions in most places."""
    cut = [_few(schema) for name, schema in raw_schema["components"]["schemas"].items() if name != WHOLE]
    assert sum(cut) > 10, "the description names actions otherwise than these hooks know"


def _few(schema: Any) -> int:
    if isinstance(schema, list):
        return sum(map(_few, schema))
    if not isinstance(schema, dict):
        return 0
    mapping = schema.get("discriminator", {}).get("mapping", {}) if "oneOf" in schema else {}
    if not mapping.keys() >= FEW:
        return sum(map(_few, schema.values()))
    schema["discriminator"]["mapping"] = {name: place for name, place in mapping.items() if name in FEW}
    schema["oneOf"] = [{"$ref": mapping[name]} for name in sorted(FEW)]
    return 1


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A key of its own for each request: the same one with another body is a 409 before anything else."""
    if (case.headers or {}).get("Idempotency-Key"):
        case.headers["Idempotency-Key"] = str(uuid4())
