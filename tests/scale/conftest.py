"""The instance with the profile ``scale``: two of each process (``RINGLINE_PROFILE=scale scripts/up.sh``)."""

from __future__ import annotations

from tests.stack.conftest import api, ari, containers, env, product

__all__ = ["api", "ari", "containers", "env", "product"]
