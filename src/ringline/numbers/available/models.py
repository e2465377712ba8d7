"""What is asked and answered about numbers that may be bought."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, cast, get_args

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from ringline.errors import InvalidArgument
from ringline.http import ResponseModel
from ringline.http.models import QueryModel
from ringline.numbers.available import regions
from ringline.sip import e164
from ringline.vendors.models import Feature, Kind, Search

AvailableType = Literal["normal", "virtual", "local", "toll_free", "mobile"]
Order = Literal["ascending", "random"]

FEATURES: Final[tuple[Feature, ...]] = ("emergency", "fax", "voice", "sms", "mms")
"""In the order in which they are shown."""
LARGEST_SIZE: Final = 1000
_VIRTUAL_LENGTH: Final = 12
_CONTAINS: Final = re.compile(r"[0-9*]*", re.ASCII)


def _country(text: str) -> str:
    if text and not (text.isascii() and e164.is_country(text.upper())):
        raise ValueError("must be the two letters of a country (ISO 3166 alpha-2) such as `US` or `DE`")
    return text.upper()


def _contains(text: str) -> str:
    if not _CONTAINS.fullmatch(text):
        raise ValueError("must be digits, with `*` for any one digit, such as `777` or `55*1`")
    return text


def _region(text: str) -> str:
    stripped = text.strip()
    if not stripped.isprintable():
        raise ValueError("must be a name or letters such as `California` or `CA`")
    return stripped


def _features(value: object) -> object:
    """``voice,sms`` as a tuple."""
    if not isinstance(value, str):
        return value
    found = [word.strip().lower() for word in value.split(",") if word.strip()]
    for word in found:
        if word not in FEATURES:
            known = ", ".join(f"`{one}`" for one in FEATURES)
            raise ValueError(f"must be some of {known}, with commas between them")
    return tuple(dict.fromkeys(found))


_COUNTRY: Final = (
    "ISO 3166 alpha-2 code of the country, such as `US`. Needed unless `type` is `virtual`, which ignores it."
)


class AvailableQuery(QueryModel):
    """Which numbers are wanted. ``country`` and ``country_code`` are the same."""

    country_code: Annotated[str, AfterValidator(_country)] = Field("", max_length=8, description=_COUNTRY)
    country: Annotated[str, AfterValidator(_country)] = Field(
        "", max_length=8, description="The older name of `country_code`."
    )
    type: AvailableType = Field(
        "normal",
        description="`normal`: of the telephone network, of any kind; `local`, `toll_free` and `mobile`: of this "
        "kind only; `virtual`: our own, `+899` and nine digits.",
    )
    region: Annotated[str, AfterValidator(_region)] = Field(
        "",
        max_length=100,
        description="State, province or the like, as the country calls it (those of the US and Canada by two "
        "letters or by name), or a city.",
    )
    contains: Annotated[str, AfterValidator(_contains)] = Field(
        "",
        max_length=15,
        description="Digits that are to be in the number, anywhere in it, its country code included. `*` is "
        "any one digit.",
    )
    features: Annotated[
        tuple[Feature, ...],
        BeforeValidator(_features),
        WithJsonSchema({"type": "string", "examples": ["voice,sms"]}),
    ] = Field(
        (),
        description="What the number must be able to do: `voice`, `sms`, `mms`, `fax`, `emergency`, with "
        "commas between them.",
    )
    order: Order = Field(
        "ascending",
        description="Of virtual numbers: `ascending` from +899100000001 on, or at `random`.",
    )
    page_size: int = Field(100, ge=1, le=LARGEST_SIZE, description=f"Numbers wanted, 1 to {LARGEST_SIZE}.")

    @property
    def virtual(self) -> bool:
        """Whether virtual numbers are wanted."""
        return self.type == "virtual"

    @property
    def kind(self) -> Kind | None:
        """The kind of normal number; ``None`` for any."""
        return cast("Kind", self.type) if self.type in get_args(Kind) else None

    def search(self) -> Search:
        """What vendors are asked. Raises ``InvalidArgument`` for what does not go together."""
        country = "" if self.virtual else self._the_country()
        if self.virtual:
            for field in ("region", "features"):
                if getattr(self, field):
                    raise _fault(field, "cannot be asked of virtual numbers, which have none")
            if len(self.contains) > _VIRTUAL_LENGTH:
                raise _fault(
                    "contains", f"is longer than a virtual number, which has {_VIRTUAL_LENGTH} digits"
                )
        try:
            region = regions.code(country, self.region) if self.region else ""
        except ValueError as error:
            raise _fault("region", str(error)) from None
        return Search(
            country=country,
            kind=self.kind,
            region=region,
            contains=self.contains,
            features=self.features,
            limit=self.page_size,
            order=self.order,
        )

    def _the_country(self) -> str:
        if self.country_code and self.country and self.country_code != self.country:
            raise _fault("country", f"must be that of `country_code` ({self.country_code}); give one of them")
        if found := self.country_code or self.country:
            return found
        raise _fault(
            "country_code", "is required (ISO 3166 alpha-2, such as `US`), unless `type` is `virtual`"
        )


def _fault(field: str, message: str) -> InvalidArgument:
    return InvalidArgument(f"`{field}` {message}.", details=[{"field": field, "message": message}])


class AvailableNumber(ResponseModel):
    """A number that may be bought."""

    number: str = Field(description="E.164.")
    country: str = Field(description="ISO 3166 alpha-2; empty for virtual numbers.")
    region: str
    postal_code: str
    features: list[Feature]


class AvailableNumbers(ResponseModel):
    """Numbers that may be bought."""

    result: list[AvailableNumber]


class OlderAvailableNumber(ResponseModel):
    """A number that may be bought, as the older spelling shows it."""

    number: str = Field(description="E.164.")
    country: str = Field(description="ISO 3166 alpha-2; empty for virtual numbers.")
    type: str = Field(description="`local`, `toll_free`, `mobile`, `national` or `virtual`.")
    region: str = Field(description="In full, such as `California`.")
    city: str


class OlderAvailableNumbers(ResponseModel):
    """Numbers that may be bought, as the older spelling shows them."""

    result: list[OlderAvailableNumber]
