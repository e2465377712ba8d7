"""``ringline serve`` without the command line, whose libraries a restarted controller need not wait for."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from types import ModuleType

    from ringline.settings import Settings


def configured() -> Settings:
    """The settings of this process, its logging set up by them. Ends it with status 2 where one is wrong."""
    from pydantic import ValidationError  # noqa: PLC0415 - the command line asks for this only when a command runs

    from ringline import log, settings  # noqa: PLC0415

    try:
        chosen = settings.load()
    except ValidationError as problems:
        for problem in problems.errors():
            name = "RINGLINE_" + "_".join(str(part) for part in problem["loc"]).upper()
            sys.stderr.write(f"{name}: {problem['msg']}\n")
        raise SystemExit(2) from None
    log.configure(chosen.log_level, chosen.log_format)
    return chosen


def _without_rich() -> None:
    """structlog loads rich, the command line's library, wherever it is installed: for tracebacks in colours, which a
    controller does not print (``log.configure``).
    """
    if "rich" in sys.modules or "structlog" in sys.modules:
        return
    hidden: dict[str, ModuleType | None] = cast("dict[str, ModuleType | None]", sys.modules)
    hidden["rich"] = None
    import structlog  # noqa: F401, PLC0415

    del hidden["rich"]


def serve(role: str = "") -> None:
    """Run the controller: the API, and everything that drives Asterisk; or, with a ``role``, a part of that."""
    if role:
        os.environ["RINGLINE_ROLE"] = role
    # until it has started (``app.run``): calls that another controller left are waiting
    gc.disable()
    _without_rich()
    chosen = configured()
    from ringline.app import serve as run  # noqa: PLC0415

    run(chosen)
