"""``python -m ringline.sandbox`` runs the carrier; with ``--check`` it asks a running one how it is.

Exit status: 0 after SIGTERM or a good check, 1 when it cannot start or the check fails.
"""

from __future__ import annotations

import sys

from ringline.sandbox.check import check


def main() -> int:
    """Decide what is wanted before anything heavy is imported: a health check runs every few seconds."""
    if sys.argv[1:] == ["--check"]:
        fault = check()
        if fault:
            sys.stderr.write(f"{fault}\n")
        return 1 if fault else 0
    from ringline.sandbox.process import run  # noqa: PLC0415

    return run()


if __name__ == "__main__":
    sys.exit(main())
