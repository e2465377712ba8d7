"""The carrier's process: settings, log, signals."""

from __future__ import annotations

import asyncio
import resource
import signal

import structlog
import uvloop

from ringline.sandbox.carrier import Carrier
from ringline.sandbox.config import CarrierSettings
from ringline.sandbox.control import Control

log = structlog.get_logger(__name__)


async def serve(settings: CarrierSettings) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    carrier = Carrier(settings)
    control = Control(carrier)
    await carrier.start()
    try:
        await control.start()
        await stop.wait()
    finally:
        await control.close()
        await carrier.close()


def run() -> int:
    """Run the carrier. Exit status: 0 after a signal, 1 when it cannot start."""
    settings = CarrierSettings()
    configure_log(settings)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a call holds a socket and a file
    try:
        uvloop.run(serve(settings))
    except OSError as error:
        log.critical("carrier_cannot_start", error=str(error))
        return 1
    return 0


def configure_log(settings: CarrierSettings) -> None:
    """Lines of JSON, or coloured ones for a person, to stdout."""
    levels = {"debug": 10, "info": 20, "warning": 30, "error": 40}
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(levels[settings.log_level]),
        cache_logger_on_first_use=True,
    )
