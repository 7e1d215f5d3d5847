"""Values with checked types, as our files hold them: frozen structs out of JSON or plain values, and back.

A constructor checks only what a type checker sees; whatever comes from outside goes through `convert` or `decode`.
Their errors are for people: the path of the field, then what is wrong with it.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, TypeVar

import msgspec

T = TypeVar("T")
_FIELD = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)


class Checked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frozen value; the order of its fields is the order in the JSON, and other fields are errors."""


class Open(dict[str, Any]):
    """A mapping whose first fields are known and checked, and that holds further ones as they are.

    Attributes:
        known: the first fields. mapping: the type of the whole.

    Raises:
        ValueError: a known field is missing, or one has another type.
    """

    known: ClassVar[type[Checked]]
    mapping: ClassVar[Any] = dict[str, Any]

    def __init__(self, /, **values: Any) -> None:
        first = {name: values[name] for name in self.known.__struct_fields__ if name in values}
        known = msgspec.convert(first, self.known)
        super().__init__(dump(known) | msgspec.convert(values, self.mapping))


def convert(value: Any, kind: type[T]) -> T:
    """A checked value out of a plain one.

    Raises:
        ValueError: it does not fit, in one sentence.
    """
    try:
        return msgspec.convert(value, kind, dec_hook=_opened)
    except msgspec.ValidationError as error:
        raise ValueError(_explained(str(error))) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def decode(text: str | bytes, kind: type[T]) -> T:
    """A checked value out of JSON.

    Raises:
        ValueError: it is no JSON, or does not fit, in one sentence.
    """
    try:
        return msgspec.json.decode(text, type=kind, dec_hook=_opened)
    except msgspec.DecodeError as error:
        raise ValueError(_explained(str(error))) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def dump(value: msgspec.Struct) -> dict[str, Any]:
    """The plain values of a struct, for `to_json` and comparisons."""
    plain: dict[str, Any] = msgspec.to_builtins(value)
    return plain


def checked(value: T) -> T:
    """An equal value of which every field was checked, before it is written.

    Raises:
        ValueError: a field has another type than it says.
    """
    return convert(msgspec.to_builtins(value), type(value))


def _opened(kind: type, value: Any) -> Any:
    """What msgspec asks for types that it does not know."""
    if not issubclass(kind, Open):
        raise NotImplementedError(kind)
    if not isinstance(value, dict):
        raise ValueError(f"Expected `object`, got `{type(value).__name__}`")  # noqa: TRY004 (msgspec adds the path)
    try:
        return kind(**value)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None  # to which msgspec adds the path


def _explained(message: str) -> str:
    """What msgspec says, as `path: cause`; the part of the path inside an `Open` value is told before the rest."""
    text, *places = message.split(" - at `$")
    path = "".join(place.rstrip("`") for place in reversed(places)).lstrip(".")
    if field := _FIELD.fullmatch(text):
        within = f" in {path}" if path else ""
        return f"unknown field {field[2]!r}{within}" if "unknown" in field[1] else f"{field[2]} is missing{within}"
    text = text[0].lower() + text[1:] if text.startswith(("Expected", "Invalid")) else text
    return f"{path}: {text}" if path else text
