"""Is a running carrier well? For health checks: the standard library only, so that asking costs next to nothing."""

from __future__ import annotations

import http.client
import os

TIMEOUT = 2.0


def check() -> str:
    """What is wrong in one sentence, ``""`` where all is well. The address is that of ``CarrierSettings``."""
    host = os.environ.get("RINGLINE_CARRIER_CONTROL_HOST") or "127.0.0.1"
    port = int(os.environ.get("RINGLINE_CARRIER_CONTROL_PORT") or "8091")
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        body = response.read(10_000).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return f"the carrier does not answer at {host}:{port}: {error or type(error).__name__}"
    finally:
        connection.close()
    return "" if response.status == 200 else f"the carrier is not well: {body}"
