"""BCP 47 tags are written one way and find what serves them."""

from __future__ import annotations

import pytest

from ringline.errors import InvalidArgument
from ringline.media.languages import canonical, check, match

KNOWN = frozenset(
    {"en-GB", "en-US", "de", "cmn", "yue", "nb", "es", "es-419", "fr-FR", "pt", "pt-BR", "vi", "he"}
)


@pytest.mark.parametrize(
    ("tag", "written"),
    [
        ("en-us", "en-US"),
        ("EN_us", "en-US"),
        ("zh-hans-cn", "zh-Hans-CN"),
        ("es-419", "es-419"),
        ("en-gb-x-rp", "en-GB-x-rp"),
        ("de", "de"),
        ("", ""),
        ("e", ""),
        ("en us", ""),
        ("-en", ""),
        ("en-", ""),
        ("en;rm -rf", ""),
    ],
)
def test_canonical(tag: str, written: str) -> None:
    assert canonical(tag) == written


@pytest.mark.parametrize(
    ("tag", "found"),
    [
        ("en-US", "en-US"),
        ("en", "en-US"),
        ("en-AU", "en-GB"),
        ("en-UK", "en-GB"),
        ("en-XX", "en-US"),
        ("de-AT", "de"),
        ("zh", "cmn"),
        ("zh-Hans-CN", "cmn"),
        ("zh-HK", "yue"),
        ("no", "nb"),
        ("nb-NO", "nb"),
        ("es-MX", "es-419"),
        ("es-ES", "es"),
        ("fr", "fr-FR"),
        ("fr-CA", "fr-FR"),
        ("pt-BR", "pt-BR"),
        ("pt-PT", "pt"),
        ("iw", "he"),
        ("vi-VN-x-south", "vi"),
        ("xx", None),
        ("tlh", None),
        ("", None),
    ],
)
def test_match(tag: str, found: str | None) -> None:
    assert match(tag, KNOWN) == found


@pytest.mark.parametrize(
    ("tag", "named"),
    [
        ("english", "en-US"),
        ("en US", "en-US"),
        ("dee", "de"),
        ("xx", ""),
        ("", ""),
        ("de;DE", "de"),
        ("x" * 500, ""),
    ],
)
def test_unknown_languages_are_refused_with_the_nearest(tag: str, named: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check(tag, KNOWN)
    assert named in caught.value.message
    assert caught.value.details[0]["field"] == "language"
    assert len(caught.value.message) < 300


def test_an_engine_for_any_language_widens_to_all_real_tags() -> None:
    assert check("tlh", KNOWN, any_language=True) == "tlh"
    with pytest.raises(InvalidArgument):
        check("english", KNOWN, any_language=True)
