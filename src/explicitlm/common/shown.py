"""What may be shown of a text from outside: no password, and nothing that steers a terminal or a page."""

from __future__ import annotations

import re
import unicodedata

# A password may hold an unescaped '@', so everything up to the last one before the path is left out.
URL_LOGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s]*@")

_MARKDOWN = str.maketrans({"&": "&amp;", "<": "&lt;"} | {sign: f"\\{sign}" for sign in "\\|`[]"})


def without_secrets(text: str) -> str:
    """The text with the user and password of every URL in it left out."""
    return URL_LOGIN.sub(r"\1***@", text)


def printable(text: str) -> str:
    """The text with control characters, marks that turn the writing direction, and lone surrogates escaped.

    Newlines and tabs stay.
    """
    return "".join(letter if letter in "\n\t" or _is_harmless(letter) else _escaped(letter) for letter in text)


def one_line(text: str) -> str:
    """The text on one line, in which nothing steers a terminal; unlike `printable`, nothing is kept of what does."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def markdown(text: str) -> str:
    """The text as one cell or line of Markdown, in which it is words only: no HTML, link, picture, code or column."""
    return one_line(text).translate(_MARKDOWN).strip()


def _is_harmless(letter: str) -> bool:
    # Cc: control, Cs: surrogate, Zl and Zp: line and paragraph separators; bidirectional marks are among Cf
    if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp"):
        return False
    return not ("\u202a" <= letter <= "\u202e" or "\u2066" <= letter <= "\u2069" or letter in "\u200e\u200f\u061c")


def _escaped(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def is_text(text: str) -> bool:
    """Whether files, git and terminals can hold a text: it has neither NUL nor half of a surrogate pair."""
    return not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in text)
