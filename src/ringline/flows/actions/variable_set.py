"""``variable_set``: give a variable a value."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ringline.flows import variables
from ringline.flows.actions.base import Action, ActionFailed, Context, Options
from ringline.flows.engine import Next, Result


def _check_name(name: str) -> str:
    if name.lower().startswith(variables.RESERVED_PREFIX):
        raise ValueError(f"must not begin with `{variables.RESERVED_PREFIX}`: those names are the system's")
    if "{" in name or "}" in name:
        raise ValueError("must hold no braces")
    return name


class VariableSetOptions(Options):
    """``value`` may name other variables; they are put in when the action runs."""

    key: Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_check_name)] = Field(
        description="The variable's name."
    )
    value: str = Field(default="", max_length=variables.MAX_VALUE_BYTES, description="Its text.")


class VariableSet(Action):
    """Set a variable of this flow."""

    type: Literal["variable_set"]
    option: VariableSetOptions
    needs_call = False
    changes_variables = True

    async def run(self, context: Context) -> Result:
        held = context.state.variables
        if self.option.key not in held and len(held) >= 2 * variables.MAX_KEYS:
            raise ActionFailed("TOO_MANY_VARIABLES", f"a flow has at most {2 * variables.MAX_KEYS} variables")
        if len(self.option.value.encode()) > variables.MAX_VALUE_BYTES:
            raise ActionFailed("VALUE_TOO_LONG", f"a value has at most {variables.MAX_VALUE_BYTES} bytes")
        held[self.option.key] = self.option.value
        return Next()
