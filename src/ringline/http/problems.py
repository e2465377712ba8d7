"""Errors as the sender of a request reads them."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from pydantic import ValidationError

from ringline.errors import InvalidArgument, RinglineError
from ringline.http.places import Place, locate

_MOST_DETAILS = 200
_MOST_FAULTS = 1000
_LONGEST_VALUE = 60
_SECRET = ("password", "token", "secret", "accesskey")
_JSON_NAMES: Mapping[type, str] = {
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}

Context = Mapping[str, Any]


def envelope(error: RinglineError, request_id: str, domain: str) -> bytes:
    """The body of every answer that is not a success."""
    return orjson.dumps(
        {
            "error": {
                "status": error.status,
                "reason": error.reason,
                "domain": domain,
                "message": error.message,
                "request_id": request_id,
                "details": error.details,
            }
        },
        default=str,
    )


def unexpected(request_id: str) -> RinglineError:
    """What is said where something is wrong on our side."""
    return RinglineError(
        f"Something went wrong on our side. The log has it under the request id {request_id}."
    )


def from_validation(failure: ValidationError, model: Any, *, what: str = "body") -> InvalidArgument:
    """Turn pydantic's errors into one sentence for people and one object per fault for programs.

    ``what`` is the part of the request: ``body`` or ``query``.
    """
    if failure.error_count() > _MOST_FAULTS:  # listing them would keep everybody else waiting
        return InvalidArgument(f"The {what} has {failure.error_count()} faults, too many to list.")
    first_fault = failure.errors(include_url=False)[0]
    if first_fault["type"] == "json_invalid":
        return InvalidArgument(
            f"The body is not valid JSON: {first_fault['ctx']['error']}.", reason="INVALID_JSON_BODY"
        )
    details = faults_of(failure, model, what=what)
    first = details[0]
    name = f"`{first['field']}`" if first["field"] != what else f"The {what}"
    message = f"{name} {first['message']}"
    message += "" if message.endswith("?") else "."
    if failure.error_count() > 1:
        message += f" ({failure.error_count()} faults in all, see `details`.)"
    return InvalidArgument(message, details=list[dict[str, Any]](details))


def faults_of(
    failure: ValidationError, model: Any, *, what: str = "", most: int = _MOST_DETAILS
) -> list[dict[str, str]]:
    """Each fault's place and what is wrong with it; ``what`` stands where there is no place."""
    faults = failure.errors(include_url=False)
    # A misspelt field explains the one that is missing, so it comes first.
    faults.sort(key=lambda fault: fault["type"] != "extra_forbidden")
    details = []
    for fault in faults[:most]:
        place = locate(model, fault["loc"])
        details.append({"field": place.path or what, "message": _sentence(fault, place)})
    return details


def _sentence(fault: Mapping[str, Any], place: Place) -> str:
    kind, context = fault["type"], fault.get("ctx") or {}
    if kind == "extra_forbidden":
        return _unknown(place)
    if kind == "missing":
        return "is required"
    if kind == "value_error":
        return str(context["error"]).rstrip(".")
    if kind == "flow_fault":
        return str(context["sentence"])
    if kind == "union_tag_not_found":
        return f"needs a {context['discriminator'].replace(chr(39), '`')} that says what it is"
    if kind == "union_tag_invalid":
        return _unknown_tag(context)
    rule = _RULES.get(kind)
    if rule is None:
        return _lower(str(fault["msg"]))
    text = rule(context)
    if kind in _SIZES or (_secret(place.path) and not kind.endswith(("_type", "_parsing", "_from_float"))):
        return text  # of a secret only the type may be told, which was right here
    return f"{text}, not {_given(fault['input'], place.path, named=kind not in _LIMITS)}"


def _secret(path: str) -> bool:
    return any(word in path.lower() for word in _SECRET)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")


def _closest(name: str, known: tuple[str, ...]) -> str | None:
    matches = difflib.get_close_matches(name.lower()[:64], known, n=1, cutoff=0.6)
    return matches[0] if matches else None


def _unknown(place: Place) -> str:
    name = place.path.rpartition(".")[2]
    near = _closest(name, place.siblings)
    if near is not None:
        return f"is not a known field; did you mean `{near}`?"
    if not place.siblings:
        return "is not a known field"
    return "is not a known field; known ones are " + ", ".join(f"`{known}`" for known in place.siblings)


def _unknown_tag(context: Context) -> str:
    tags = tuple(tag.strip(" '") for tag in str(context["expected_tags"]).split(","))
    field = str(context["discriminator"]).strip("'")
    given = str(context["tag"])[:_LONGEST_VALUE]
    near = _closest(given, tags)
    hint = f"did you mean '{near}'?" if near else "known ones are " + ", ".join(tags)
    return f"has the unknown {field} '{given}'; {hint}"


def _given(value: Any, path: str, *, named: bool) -> str:
    kind = _JSON_NAMES.get(type(value), type(value).__name__)
    if isinstance(value, list | dict) or _secret(path):
        return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
    if value is None:
        return "null"
    text = json.dumps(value, ensure_ascii=False, default=str)
    short = text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "..."
    return f"the {kind} {short}" if named else short.strip('"')


def _limit(word: str, key: str) -> Callable[[Context], str]:
    def rule(context: Context) -> str:
        limit = context[key]
        whole = isinstance(limit, float) and limit.is_integer()
        return f"must be {word} {int(limit) if whole else limit}"

    return rule


_RULES: Mapping[str, Callable[[Context], str]] = {
    "string_type": lambda _: "must be a string",
    "int_type": lambda _: "must be a whole number",
    "int_from_float": lambda _: "must be a whole number",
    "int_parsing": lambda _: "must be a whole number",
    "float_type": lambda _: "must be a number",
    "float_parsing": lambda _: "must be a number",
    "finite_number": lambda _: "must be a finite number",
    "bool_type": lambda _: "must be true or false",
    "bool_parsing": lambda _: "must be true or false",
    "list_type": lambda _: "must be an array",
    "tuple_type": lambda _: "must be an array",
    "dict_type": lambda _: "must be an object",
    "model_type": lambda _: "must be an object",
    "model_attributes_type": lambda _: "must be an object",
    "uuid_type": lambda _: "must be a UUID such as f457951b-9918-44af-a834-2216b1cc31bc",
    "uuid_parsing": lambda _: "must be a UUID such as f457951b-9918-44af-a834-2216b1cc31bc",
    "datetime_type": lambda _: "must be a time such as 2021-02-06T08:54:38Z",
    "datetime_parsing": lambda _: "must be a time such as 2021-02-06T08:54:38Z",
    "literal_error": lambda context: f"must be {context['expected']}",
    "enum": lambda context: f"must be {context['expected']}",
    "greater_than_equal": _limit("at least", "ge"),
    "greater_than": _limit("more than", "gt"),
    "less_than_equal": _limit("at most", "le"),
    "less_than": _limit("less than", "lt"),
    "string_too_long": lambda context: f"must be at most {context['max_length']} characters long",
    "string_too_short": lambda context: _at_least(context["min_length"], "character"),
    "too_long": lambda context: f"must have at most {context['max_length']} entries",
    "too_short": lambda context: _at_least(context["min_length"], "entry", "entries"),
    "string_pattern_mismatch": lambda context: f"must match {context['pattern']}",
}


def _at_least(number: int, one: str, many: str | None = None) -> str:
    if number == 1:
        return "must not be empty"
    return f"must have at least {number} {many or one + 's'}"


# A text or list that is too long is not repeated, and a number outside its limits needs no word for its kind.
_SIZES = frozenset({"string_too_long", "string_too_short", "too_long", "too_short"})
_LIMITS = frozenset({"greater_than_equal", "greater_than", "less_than_equal", "less_than"})
