"""States, provinces and territories of the US and Canada by their two letters, which is how vendors know them."""

from __future__ import annotations

from typing import Final

_US: Final = (
    "AL Alabama|AK Alaska|AZ Arizona|AR Arkansas|CA California|CO Colorado|CT Connecticut|DE Delaware|"
    "DC District of Columbia|FL Florida|GA Georgia|HI Hawaii|ID Idaho|IL Illinois|IN Indiana|IA Iowa|KS Kansas|"
    "KY Kentucky|LA Louisiana|ME Maine|MD Maryland|MA Massachusetts|MI Michigan|MN Minnesota|MS Mississippi|"
    "MO Missouri|MT Montana|NE Nebraska|NV Nevada|NH New Hampshire|NJ New Jersey|NM New Mexico|NY New York|"
    "NC North Carolina|ND North Dakota|OH Ohio|OK Oklahoma|OR Oregon|PA Pennsylvania|PR Puerto Rico|RI Rhode Island|"
    "SC South Carolina|SD South Dakota|TN Tennessee|TX Texas|UT Utah|VT Vermont|VA Virginia|WA Washington|"
    "WV West Virginia|WI Wisconsin|WY Wyoming"
)
_CANADA: Final = (
    "AB Alberta|BC British Columbia|MB Manitoba|NB New Brunswick|NL Newfoundland and Labrador|"
    "NT Northwest Territories|NS Nova Scotia|NU Nunavut|ON Ontario|PE Prince Edward Island|QC Quebec|"
    "SK Saskatchewan|YT Yukon"
)


_LETTERS: Final = 2


def _table(text: str) -> dict[str, str]:
    return {entry[:2]: entry[3:] for entry in text.split("|")}


NAMES: Final[dict[str, dict[str, str]]] = {"US": _table(_US), "CA": _table(_CANADA)}
"""By country (ISO 3166 alpha-2): letters to name."""


def code(country: str, text: str) -> str:
    """What vendors call a region that may be written by name or letters.

    Other countries' are left as they are, and what is longer and no region's name: it may be a city. Raises
    ``ValueError`` for two letters that mean nothing.
    """
    names = NAMES.get(country)
    if names is None:
        return text
    wanted = text.casefold()
    for letters, name in names.items():
        if wanted in (letters.casefold(), name.casefold()):
            return letters
    if len(text) > _LETTERS:
        return text
    what = "state" if country == "US" else "province"
    raise ValueError(
        f"must be a {what} of {country}, by its two letters or its name, or a city, such as "
        + ("`CA` or `California`" if country == "US" else "`ON` or `Ontario`")
    )


def name(country: str, text: str) -> str:
    """A region's name in full, where it is known; else the text as it is."""
    return NAMES.get(country, {}).get(text, text)
