"""Letters of authorisation and bills: what a file is, judged by what is in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from aiohttp import content_disposition_filename, parse_content_disposition

from ringline.errors import InvalidArgument, PayloadTooLarge

DocumentKind = Literal["letter", "bill"]
KINDS: Final[tuple[DocumentKind, ...]] = ("letter", "bill")
MAX_BYTES: Final = 10 * 1024**2
TYPES: Final = ("application/pdf", "image/png", "image/jpeg")
_TAIL: Final = 2048
_PARTS: Final = 8
_NAME: Final = 100
_BOUNDARY: Final = re.compile(r"boundary=\"?([0-9A-Za-z'()+_,./:=? -]{1,70})\"?")
_ENDINGS: Final = {"application/pdf": ".pdf", "image/png": ".png", "image/jpeg": ".jpg"}


@dataclass(frozen=True, slots=True)
class Document:
    """A file of a port. ``content_type`` is what it was found to be."""

    kind: DocumentKind
    name: str
    content_type: str
    content: bytes


def document(kind: DocumentKind, name: str, content: bytes) -> Document:
    """The file if it is one of ``TYPES``. Raises ``InvalidArgument`` and ``PayloadTooLarge``."""
    if not content:
        raise _refused(kind, "the file is empty")
    if len(content) > MAX_BYTES:
        raise PayloadTooLarge(f"`{kind}`: the file is larger than {MAX_BYTES // 1024**2} MB.")
    content_type = _type(content)
    if content_type is None:
        raise _refused(kind, "must be a whole PDF, PNG or JPEG file; it was judged by what is in it")
    return Document(kind, file_name(name) or kind + _ENDINGS[content_type], content_type, content)


def file_name(given: str) -> str:
    """A name without folders and without anything that a header or a terminal would take for more than a name."""
    base = re.split(r"[/\\]", given)[-1]
    kept = "".join(letter for letter in base if letter.isprintable() and letter not in '"<>|:*?;')
    return kept.strip(" .")[-_NAME:]


def of_form(content_type: str, body: bytes) -> list[Document]:
    """The files of ``multipart/form-data``; each field is named by its kind. Raises as ``document`` does."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise InvalidArgument("The Content-Type names no boundary.", reason="INVALID_FORM")
    documents: dict[str, Document] = {}
    for field, name, content in _parts(body, found[1].encode()):
        kind = next((kind for kind in KINDS if kind == field), None)
        if kind is None:
            raise InvalidArgument(
                f"There is no field {field[:40]!r}; the files are `letter` and `bill`.",
                details=[{"field": field[:40], "message": "must be letter or bill"}],
            )
        if kind in documents:
            raise _refused(kind, "there is more than one")
        documents[kind] = document(kind, name, content)
    if not documents:
        raise InvalidArgument(
            "The form holds no file; send one as `letter` or `bill`.", reason="INVALID_FORM"
        )
    return list(documents.values())


def _type(content: bytes) -> str | None:
    head, tail = content[:1024], content[-_TAIL:]
    if b"%PDF-" in head and b"%%EOF" in tail:
        return "application/pdf"
    if content.startswith(b"\x89PNG\r\n\x1a\n") and content[12:16] == b"IHDR" and b"IEND" in tail:
        return "image/png"
    if content.startswith(b"\xff\xd8\xff") and b"\xff\xd9" in tail:
        return "image/jpeg"
    return None


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[str, str, bytes]]:
    """Field, file name and content of each part (RFC 7578)."""
    delimiter = b"\r\n--" + boundary
    # the first delimiter has no line before it
    text = b"\r\n" + body
    start = text.find(delimiter)
    for _ in range(_PARTS):
        if start < 0:
            break
        begin = start + len(delimiter)
        if text.startswith(b"--", begin):
            return
        end = text.find(delimiter, begin)
        head_end = text.find(b"\r\n\r\n", begin, end if end >= 0 else None)
        if end < 0 or head_end < 0:
            break
        yield *_names(text[begin:head_end]), text[head_end + 4 : end]
        start = end
    raise InvalidArgument(
        f"The form is broken off, malformed, or has more than {_PARTS - 1} fields.", reason="INVALID_FORM"
    )


def _names(head: bytes) -> tuple[str, str]:
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-disposition":
            _, parameters = parse_content_disposition(value.strip())
            return parameters.get("name", ""), content_disposition_filename(parameters) or ""
    return "", ""


def _refused(kind: str, message: str) -> InvalidArgument:
    return InvalidArgument(
        f"`{kind}`: {message}.", reason="INVALID_DOCUMENT", details=[{"field": kind, "message": message}]
    )
