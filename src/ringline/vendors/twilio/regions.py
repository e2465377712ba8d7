"""States and provinces by name: Twilio knows them by their postal abbreviation (ISO 3166-2) only."""

from __future__ import annotations

from typing import Final

_NAMES: Final[dict[str, str]] = {
    "US": (
        "AL Alabama;AK Alaska;AZ Arizona;AR Arkansas;CA California;CO Colorado;CT Connecticut;DE Delaware;"
        "DC District of Columbia;FL Florida;GA Georgia;HI Hawaii;ID Idaho;IL Illinois;IN Indiana;IA Iowa;KS Kansas;"
        "KY Kentucky;LA Louisiana;ME Maine;MD Maryland;MA Massachusetts;MI Michigan;MN Minnesota;MS Mississippi;"
        "MO Missouri;MT Montana;NE Nebraska;NV Nevada;NH New Hampshire;NJ New Jersey;NM New Mexico;NY New York;"
        "NC North Carolina;ND North Dakota;OH Ohio;OK Oklahoma;OR Oregon;PA Pennsylvania;PR Puerto Rico;"
        "RI Rhode Island;SC South Carolina;SD South Dakota;TN Tennessee;TX Texas;UT Utah;VT Vermont;VA Virginia;"
        "WA Washington;WV West Virginia;WI Wisconsin;WY Wyoming"
    ),
    "CA": (
        "AB Alberta;BC British Columbia;MB Manitoba;NB New Brunswick;NL Newfoundland and Labrador;NS Nova Scotia;"
        "NT Northwest Territories;NU Nunavut;ON Ontario;PE Prince Edward Island;QC Quebec;SK Saskatchewan;YT Yukon"
    ),
}
_CODES: Final = {
    (country, name.casefold()): code
    for country, names in _NAMES.items()
    for code, name in (entry.split(" ", 1) for entry in names.split(";"))
}
_KNOWN: Final = {(country, code) for (country, _), code in _CODES.items()}


def region_code(country: str, region: str) -> str:
    """``CA`` for ``California``, ``ca`` and ``CA``; ``""`` for what is no state or province."""
    written = region.strip().replace("é", "e")
    if (country, written.upper()) in _KNOWN:
        return written.upper()
    return _CODES.get((country, written.casefold()), "")
