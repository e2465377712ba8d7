"""BCP 47 tags: written the one right way, and matched to what an engine has (RFC 4647 lookup, plus
habits).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from ringline.errors import InvalidArgument

_TAG = re.compile(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8}){0,6}\Z", re.ASCII)

_ALIASES = {
    "zh": "cmn",
    "zh-CN": "cmn",
    "zh-TW": "cmn",
    "zh-SG": "cmn",
    "cmn-CN": "cmn",
    "cmn-TW": "cmn",
    "zh-HK": "yue",
    "zh-MO": "yue",
    "no": "nb",
    "nn": "nb",
    "iw": "he",
    "in": "id",
    "ji": "yi",
    "arb": "ar",
    "sh": "sr",
    "en-UK": "en-GB",
    "en-AU": "en-GB",
    "en-IE": "en-GB",
    "en-IN": "en-GB",
    "en-NZ": "en-GB",
    "en-ZA": "en-GB",
    "en-CA": "en-US",
    "en-PH": "en-US",
}
_LATIN_AMERICA = frozenset(
    (
        "AR",
        "BO",
        "CL",
        "CO",
        "CR",
        "CU",
        "DO",
        "EC",
        "GT",
        "HN",
        "MX",
        "NI",
        "PA",
        "PE",
        "PR",
        "PY",
        "SV",
        "US",
        "UY",
        "VE",
    )
)
# The region meant when none is named and the engine has only regional voices.
_DEFAULT_REGION = {"en": "en-US", "fr": "fr-FR"}


def canonical(tag: str) -> str:
    """``tag`` as RFC 5646 (2.1.1) writes it, ``en_us`` becomes ``en-US``; ``""`` when it is no tag at all."""
    if not _TAG.match(tag):
        return ""
    subtags = re.split("[-_]", tag)
    written = [subtags[0].lower()]
    for subtag in subtags[1:]:
        if len(written[-1]) == 1:
            written.append(subtag.lower())
        elif len(subtag) == 2:
            written.append(subtag.upper())
        elif len(subtag) == 4 and subtag.isalpha():
            written.append(subtag.title())
        else:
            written.append(subtag.lower())
    return "-".join(written)


def match(tag: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` (canonical tags) that serves ``tag`` best, or ``None``."""
    have = known if isinstance(known, Mapping | set | frozenset) else set(known)
    wanted = canonical(tag)
    while wanted:
        for candidate in _candidates(wanted):
            if candidate in have:
                return candidate
        wanted, _, last = wanted.rpartition("-")
        if len(last) == 1:
            wanted = wanted.rpartition("-")[0]
    return None


def check(tag: str, known: Iterable[str], *, any_language: bool = False) -> str:
    """The canonical form of ``tag``. Raises `InvalidArgument` that names the nearest known tags."""
    have = frozenset(known)
    wanted = canonical(tag)
    if wanted and (match(wanted, have) is not None or (any_language and len(wanted.split("-")[0]) <= 3)):
        return wanted
    near = _nearest(tag, have)
    hint = f"; nearest known: {', '.join(near)}" if near else ""
    raise InvalidArgument(
        f"language {tag[:40]!r} is not a language that can be spoken here (BCP 47, such as en-US){hint}",
        details=[{"field": "language", "known": near}],
    )


def _candidates(tag: str) -> Iterable[str]:
    yield tag
    if tag in _ALIASES:
        yield _ALIASES[tag]
    language, _, region = tag.partition("-")
    if language == "es" and region in _LATIN_AMERICA:
        yield "es-419"
    if not region and language in _DEFAULT_REGION:
        yield _DEFAULT_REGION[language]


def _nearest(tag: str, known: Iterable[str]) -> list[str]:
    lowered = {name.lower(): name for name in known}
    wanted = tag.lower()[:40].replace("_", "-")
    near = difflib.get_close_matches(wanted, lowered, n=3, cutoff=0.5)
    near += sorted(name for name in lowered if name.startswith(wanted[:2]))
    return [lowered[name] for name in dict.fromkeys(near)][:3]
