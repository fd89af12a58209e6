"""HTML as text, escaped where it is made: only what is Markup already passes as it is."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TypeAlias, Union

VOID = frozenset(["br", "img", "input", "link", "meta"])


class Markup(str):
    """A text that is HTML."""

    __slots__ = ()


Inside: TypeAlias = Union[str, int, Iterable["Inside"], None]  # noqa: UP007 (it mentions itself)
"""What stands inside an element: Markup, a text or number to be escaped, nothing, or several of them."""

Attribute: TypeAlias = str | int | float | bool | None


def tag(name: str, /, *inside: Inside, **attributes: Attribute) -> Markup:
    """An element. Attributes: class_ for class, data_value for data-value; True: the bare name; None and False: left out."""
    said = []
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            said.append(f" {key}")
        elif value is not None and value is not False:
            said.append(f' {key}="{escape(str(value))}"')
    head = f"<{name}{''.join(said)}>"
    return Markup(head if name in VOID else f"{head}{joined(*inside)}</{name}>")


def joined(*inside: Inside) -> Markup:
    """One after the other."""
    return Markup("".join(_html(each) for each in inside))


def _html(inside: Inside) -> str:
    if inside is None:
        return ""
    if isinstance(inside, Markup):
        return inside
    if isinstance(inside, str | int):
        return escape(str(inside))
    return "".join(_html(each) for each in inside)
