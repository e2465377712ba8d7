"""States and provinces of the North American countries: vendors want their two letters, people write their names."""

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
_CA: Final = (
    "AB Alberta|BC British Columbia|MB Manitoba|NB New Brunswick|NL Newfoundland and Labrador|NS Nova Scotia|"
    "NT Northwest Territories|NU Nunavut|ON Ontario|PE Prince Edward Island|QC Quebec|SK Saskatchewan|YT Yukon"
)


def _table(text: str) -> dict[str, str]:
    pairs = [entry.split(" ", 1) for entry in text.split("|")]
    return {code.casefold(): code for code, _ in pairs} | {name.casefold(): code for code, name in pairs}


_CODES: Final = {"US": _table(_US), "CA": _table(_CA)}


def state(country: str, region: str) -> str:
    """The two letters of a state or province of the USA or Canada, by letters or name; ``""`` for anything else."""
    return _CODES.get(country, {}).get(" ".join(region.casefold().replace("é", "e").split()), "")
