"""Pictures and the like that came with a text, for customers whose vendor gives them to nobody else."""

from __future__ import annotations

import re
from typing import Final, Protocol
from uuid import UUID

from ringline.errors import FailedPrecondition, NotFound, Unavailable
from ringline.http import BytesReply
from ringline.messages import store
from ringline.messages.service import MessageNotFound
from ringline.storage import Database
from ringline.storage.rows import one
from ringline.vendors.base import Vendor
from ringline.vendors.errors import NotSupported, VendorError, VendorRefused, VendorUnknown

MAX_BYTES: Final = 16 * 1024**2
"""No carrier brings more than some 5 MB."""
_TYPE: Final = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.+-]{0,60}")
_INDEX: Final = re.compile(r"[0-9]{1,3}")
_UNSAID: Final = "application/octet-stream"
_ENDINGS: Final = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "image/heic": ".heic",
    "audio/amr": ".amr",
    "audio/mpeg": ".mp3",
    "audio/mp4": ".m4a",
    "audio/ogg": ".ogg",
    "video/mp4": ".mp4",
    "video/3gpp": ".3gp",
    "video/quicktime": ".mov",
    "application/pdf": ".pdf",
    "text/vcard": ".vcf",
    "text/x-vcard": ".vcf",
    "text/plain": ".txt",
}


class MediumNotFound(NotFound):
    """404: the message has no such medium, or its vendor has it no longer."""

    default_reason = "MESSAGE_MEDIUM_NOT_FOUND"


class Vendors(Protocol):
    """``vendors.registry.Vendors``."""

    def get(self, name: str) -> Vendor | None: ...


class Media:
    """What came with texts is kept by the vendor that brought them; it is fetched when somebody wants it."""

    def __init__(self, database: Database, vendors: Vendors) -> None:
        self._database = database
        self._vendors = vendors

    async def fetch(self, customer_id: UUID, message_id: UUID, index: str) -> BytesReply:
        """The medium at a place of the message's ``media``, counted from 0.

        Raises ``MessageNotFound``, ``MediumNotFound``, ``FailedPrecondition`` (its ``url`` needs nobody's help) and
        ``Unavailable``.
        """
        async with self._database.connect() as connection:
            row = await one(connection, store.messages, customer_id, message_id)
        if row is None:
            raise MessageNotFound("There is no such message; GET /v1.0/messages lists yours.")
        if _INDEX.fullmatch(index) is None or int(index) >= len(row.media):
            raise MediumNotFound(f"The message has {len(row.media)} media; they are counted from 0.")
        medium = row.media[int(index)]
        vendor = self._vendors.get(row.vendor) if row.direction == "inbound" else None
        try:
            if vendor is None:
                raise NotSupported("nobody keeps it for us")
            media_type, content = await vendor.fetch_media(medium["url"], MAX_BYTES)
        except (NotSupported, VendorRefused) as error:
            raise FailedPrecondition(
                f"This medium is to be had at its `url` only ({error.message}).",
                reason="MESSAGE_MEDIUM_ELSEWHERE",
            ) from None
        except VendorUnknown:
            raise MediumNotFound("The provider has this medium no longer.") from None
        except VendorError as error:
            raise Unavailable(f"The medium cannot be fetched now ({error.message}); try again.") from None
        kind = media_type.lower() if _TYPE.fullmatch(media_type.lower()) else _UNSAID
        # to be saved, never shown: a handset chose what is in it
        return BytesReply(content, kind, f"{message_id}-{int(index)}{_ENDINGS.get(kind, '')}")
