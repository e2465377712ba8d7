"""The numbers that the sandbox sells, as data: blocks of ten thousand, each a prefix and four more digits.

Prefixes are of the countries' numbering plans, so that the numbers are valid ones of the kind and place they claim.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FREE_DIGITS: Final = 4
BLOCK_SIZE: Final = 10**FREE_DIGITS

_ALL: Final = ("emergency", "fax", "voice", "sms", "mms")
_VOICE: Final = ("emergency", "fax", "voice")
_TOLL_FREE: Final = ("fax", "voice", "sms")
_MOBILE: Final = ("voice", "sms", "mms")
_MOBILE_SMS: Final = ("voice", "sms")
_VOICE_ONLY: Final = ("voice",)


@dataclass(frozen=True, slots=True)
class Block:
    """``prefix`` is E.164 without its last four digits; ``kind`` is ``local``, ``toll_free`` or ``mobile``."""

    country: str
    kind: str
    region: str
    city: str
    postal_code: str
    prefix: str
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Single:
    """A number outside of the blocks, which is proposed before them."""

    number: str
    country: str
    kind: str
    region: str
    city: str
    postal_code: str
    features: tuple[str, ...]


SINGLES: Final = (
    # Numbers of the seed page, always for sale when nobody holds them. Those of +1 555 exist in no plan.
    Single("+15551234567", "US", "local", "CA", "San Francisco", "", _ALL),
    Single("+15551234568", "US", "local", "CA", "Los Angeles", "", _ALL),
    Single("+12182558711", "US", "local", "MN", "", "", _ALL),
    Single("+16062067563", "US", "local", "KY", "", "", _ALL),
    Single("+16195734778", "US", "local", "CA", "San Diego", "", _ALL),
    Single("+15552222222", "US", "local", "CA", "San Francisco", "", _ALL),
    Single("+15559876543", "US", "local", "CA", "Los Angeles", "", _ALL),
    Single("+18005551234", "US", "toll_free", "", "", "", _TOLL_FREE),
    Single("+821100000001", "KR", "mobile", "", "", "", _MOBILE),
)

BLOCKS: Final = (
    Block("US", "local", "CA", "San Francisco", "94103", "+1415200", _ALL),
    Block("US", "local", "CA", "Los Angeles", "90012", "+1213321", _ALL),
    Block("US", "local", "NY", "New York", "10001", "+1212921", _ALL),
    Block("US", "local", "IL", "Chicago", "60601", "+1312420", _ALL),
    Block("US", "local", "WA", "Seattle", "98101", "+1206320", _ALL),
    Block("US", "local", "TX", "Austin", "78701", "+1512430", _ALL),
    Block("US", "local", "FL", "Miami", "33128", "+1305340", _ALL),
    Block("US", "local", "MA", "Boston", "02108", "+1617350", _ALL),
    Block("US", "local", "MN", "Duluth", "55802", "+1218260", _ALL),
    Block("US", "local", "KY", "Ashland", "41101", "+1606210", _ALL),
    Block("US", "toll_free", "", "", "", "+1800234", _TOLL_FREE),
    Block("US", "toll_free", "", "", "", "+1833620", _TOLL_FREE),
    Block("US", "toll_free", "", "", "", "+1888621", _TOLL_FREE),
    Block("CA", "local", "ON", "Toronto", "M5H", "+1416221", _ALL),
    Block("CA", "local", "QC", "Montreal", "H2Y", "+1514321", _ALL),
    Block("CA", "local", "BC", "Vancouver", "V6B", "+1604221", _ALL),
    Block("CA", "local", "AB", "Calgary", "T2P", "+1403221", _ALL),
    Block("GB", "local", "England", "London", "", "+44207946", _VOICE),
    Block("GB", "local", "England", "Manchester", "", "+44161234", _VOICE),
    Block("GB", "local", "Scotland", "Edinburgh", "", "+44131225", _VOICE),
    Block("GB", "mobile", "", "", "", "+44740012", _MOBILE_SMS),
    Block("GB", "toll_free", "", "", "", "+44800123", _VOICE_ONLY),
    Block("DE", "local", "Berlin", "Berlin", "10115", "+49302345", _VOICE),
    Block("DE", "local", "Bayern", "München", "80331", "+49892345", _VOICE),
    Block("DE", "local", "Hamburg", "Hamburg", "20095", "+49402345", _VOICE),
    Block("DE", "mobile", "", "", "", "+491512345", _MOBILE_SMS),
    Block("DE", "toll_free", "", "", "", "+49800123", _VOICE_ONLY),
    Block("FR", "local", "Île-de-France", "Paris", "75001", "+3314234", _VOICE),
    Block("FR", "local", "Auvergne-Rhône-Alpes", "Lyon", "69001", "+3347234", _VOICE),
    Block("FR", "local", "Provence-Alpes-Côte d'Azur", "Marseille", "13001", "+3349123", _VOICE),
    Block("FR", "mobile", "", "", "", "+3361234", _MOBILE_SMS),
    Block("FR", "toll_free", "", "", "", "+3380123", _VOICE_ONLY),
    Block("KR", "local", "Seoul", "Seoul", "", "+822531", _VOICE),
    Block("KR", "local", "Busan", "Busan", "", "+8251234", _VOICE),
    Block("KR", "mobile", "", "", "", "+82102345", _MOBILE),
    Block("KR", "toll_free", "", "", "", "+8280123", _VOICE_ONLY),
    Block("AU", "local", "NSW", "Sydney", "2000", "+6129234", _VOICE),
    Block("AU", "local", "VIC", "Melbourne", "3000", "+6139234", _VOICE),
    Block("AU", "mobile", "", "", "", "+6141234", _MOBILE),
    Block("AU", "toll_free", "", "", "", "+61180012", _VOICE_ONLY),
    Block("NL", "local", "Noord-Holland", "Amsterdam", "1012", "+3120123", _VOICE),
    Block("NL", "local", "Zuid-Holland", "Rotterdam", "3011", "+3110123", _VOICE),
    Block("NL", "mobile", "", "", "", "+3161234", _MOBILE_SMS),
    Block("NL", "toll_free", "", "", "", "+318001", _VOICE_ONLY),
    Block("SE", "local", "Stockholm", "Stockholm", "111 20", "+468123", _VOICE),
    Block("SE", "local", "Västra Götaland", "Göteborg", "411 03", "+463112", _VOICE),
    Block("SE", "mobile", "", "", "", "+4670123", _MOBILE_SMS),
    Block("SE", "toll_free", "", "", "", "+462012", _VOICE_ONLY),
    Block("BR", "local", "SP", "São Paulo", "01000", "+55113245", _VOICE),
    Block("BR", "local", "RJ", "Rio de Janeiro", "20000", "+55213245", _VOICE),
    Block("BR", "mobile", "SP", "São Paulo", "01000", "+551191234", _MOBILE_SMS),
    Block("BR", "toll_free", "", "", "", "+55800123", _VOICE_ONLY),
    Block("IE", "local", "Leinster", "Dublin", "", "+3531234", _VOICE),
    Block("IE", "mobile", "", "", "", "+35385123", _MOBILE_SMS),
    Block("ES", "local", "Madrid", "Madrid", "28001", "+3491234", _VOICE),
    Block("ES", "mobile", "", "", "", "+3461234", _MOBILE_SMS),
    Block("JP", "local", "Tokyo", "Tokyo", "100-0001", "+8131234", _VOICE),
    Block("JP", "mobile", "", "", "", "+81901234", _MOBILE),
    Block("JP", "toll_free", "", "", "", "+8112012", _VOICE_ONLY),
)
