"""What Twilio's error codes mean to us: https://www.twilio.com/docs/api/errors."""

from __future__ import annotations

from typing import Final

NUMBER_TAKEN: Final = "21422"
NONE_FOUND: Final = "21452"
DAILY_LIMIT: Final = "63038"

WANTS_ADDRESS: Final = frozenset({"21613", "21615", "21631", "21632"})
"""A purchase without the address of a user that the number's country demands."""

WANTS_BUNDLE: Final = frozenset({"21649"})
"""A purchase without the approved regulatory bundle that the number's country demands."""

OPERATORS: Final = frozenset(
    {
        "20003",  # authentication
        "20005",  # account not active
        "20008",  # test credentials
        "20403",  # no permission
        "21404",  # trial account may buy one number only
        "21609",  # status callback is no address that Twilio takes
        "30002",  # account suspended
    }
)
"""Refusals that a customer can do nothing about: the account's settings, its limits, its money."""

_REASONS: Final = {
    "21421": "this is no valid telephone number",
    "21422": "the number is not available",
    "21628": "the address is not known; is it complete and spelled as the post office does?",
    "21631": "the number's country demands an address, and the vendor's account has none there",
    "21649": "the number's country demands papers (a regulatory bundle), and the vendor's account has none approved",
    "21211": "the destination is no valid telephone number",
    "21212": "the source is no valid sender",
    "21408": "texts to this region are not enabled in the vendor's account",
    "21606": "the source cannot send texts from this account",
    "21608": "the vendor's account is on trial and may text verified numbers only",
    "21610": "the recipient has opted out (STOP)",
    "21611": "too many texts of this source wait to be sent",
    "21612": "the destination cannot be reached from this source",
    "21614": "the destination is no mobile number",
    "21617": "the text is longer than 1600 characters",
    "21620": "a media URL is not valid",
    "21623": "more than 10 media",
    "21635": "the destination is a landline",
    "30001": "too many texts waited to be sent",
    "30002": "the vendor's account was suspended",
    "30003": "the handset is switched off or out of reach",
    "30004": "the recipient blocks the text",
    "30005": "the destination is unknown or no longer in service",
    "30006": "the destination is a landline or its carrier cannot be reached",
    "30007": "a carrier filtered the text as unwanted",
    "30008": "the carrier gave no reason",
    "30009": "a part of the text arrived too late",
    "30010": "the text costs more than allowed",
    "30011": "the recipient's network takes no MMS",
    "30017": "the carrier's network is congested",
    "30018": "the carrier demands a registered sender",
    "30019": "the media are larger than the carrier takes",
    "30022": "the campaign's rate limit is exceeded",
    "30023": "the brand's daily limit is reached",
    "30024": "the carrier does not know this sender yet",
    "30032": "the toll-free source is not verified",
    "30034": "the source is not registered for application texts (A2P 10DLC)",
    "30036": "the text's time ran out before it could be sent",
    "30410": "the carrier did not answer in time",
    "63038": "the vendor account's daily limit is reached",
    "11751": "the media are larger than the vendor takes",
    "12300": "the media are of a type that the vendor does not take",
}


def reason(code: object, words: object = "") -> str:
    """``30007: a carrier filtered the text as unwanted``; Twilio's own ``words`` for codes that have none here."""
    number = "" if code is None else str(code)
    said = _REASONS.get(number) or (words if isinstance(words, str) else "") or "no reason given"
    return f"{number}: {said}" if number else said
