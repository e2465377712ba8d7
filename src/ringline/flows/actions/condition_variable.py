"""``condition_variable``: compare a variable."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ringline.flows.actions.base import Context
from ringline.flows.actions.condition import COMPARE, Comparison, Condition, ConditionOptions
from ringline.flows.engine import Result


class ConditionVariableOptions(ConditionOptions):
    """``variable`` is a name, or a text with ``${…}`` in it, whose value is compared."""

    condition: Comparison = Field(description="The variable stands on the left side.")
    variable: str = Field(max_length=1024, description="A variable's name, or a text with `${name}` in it.")
    value_type: Literal["string", "number", "length"] = Field(
        default="string", description="Compare as text, as a number, or the text's length."
    )
    value_string: str = Field(default="", max_length=4096)
    value_number: float = 0
    value_length: int = Field(default=0, ge=0)


class ConditionVariable(Condition):
    """Go on when the comparison holds, else jump. What is no number is never equal, greater or less."""

    type: Literal["condition_variable"]
    option: ConditionVariableOptions

    async def run(self, context: Context) -> Result:
        option = self.option
        text = self._text(context)
        compare = COMPARE[option.condition]
        if option.value_type == "string":
            return self.decided(holds=compare(text, option.value_string))
        if option.value_type == "length":
            return self.decided(holds=compare(len(text), option.value_length))
        try:
            number = float(text)
        except ValueError:
            return self.decided(holds=option.condition == "!=")
        return self.decided(holds=compare(number, option.value_number))

    def _text(self, context: Context) -> str:
        """The value of the variable that was named, or the text itself where its variables were put in."""
        written = context.written["option"]["variable"]
        return self.option.variable if "${" in written else context.lookup(written)
