"""Names and texts as they may be shown."""

from __future__ import annotations

import html
import unicodedata


def one_line(text: str) -> str:
    """Text without line ends and control characters, which would break a table or a terminal."""
    return " ".join("".join(" " if unicodedata.category(one)[0] == "C" else one for one in text).split())


def escaped(text: str) -> str:
    """Text for HTML, in an element or an attribute; control characters, which HTML forbids, are left out."""
    return html.escape("".join(one for one in text if one in "\n\t" or unicodedata.category(one) != "Cc"))
