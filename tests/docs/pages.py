"""What the written pages hold: their links, their snippets, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^(?:\$ )?(?:\w+=\S+ )*viewmill (.*)$", re.MULTILINE)
SPAN = re.compile(r"`(?:\$ )?viewmill ([^`]+)`")


@dataclass(frozen=True)
class Snippet:
    """One fenced block: its language, what follows that on the line, and its text."""

    language: str
    about: str
    text: str

    @property
    def title(self) -> str:
        """The file that the block is, or belongs to; "" where it is none."""
        found = re.search(r'title="([^"]+)"', self.about)
        return found[1] if found else ""


def snippets(page: Path) -> list[Snippet]:
    return [Snippet(*found) for found in FENCE.findall(page.read_text())]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return FENCE.sub("", page.read_text())


def links(page: Path) -> list[str]:
    """The targets of links and pictures that lead nowhere outside."""
    text = re.sub(r"`[^`]*`", "", prose(page))
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]


def anchors(page: Path) -> set[str]:
    """What its headings are called in addresses: lower case, blanks as hyphens, punctuation gone; equal ones are numbered."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(name)
    return found


def commands(page: Path) -> Iterator[list[str]]:
    """The words after `viewmill` of every command in blocks and in spans, as a shell splits them, without comments."""
    for snippet in snippets(page):
        if snippet.language in ("sh", "text", "console"):
            text = re.sub(r"\\\n\s*", "", snippet.text)
            yield from (_words(found) for found in COMMAND.findall(text))
    for found in SPAN.findall(prose(page)):
        yield _words(" ".join(found.split()))


def _words(line: str) -> list[str]:
    line = re.split(r"\s(?:#|&&|\||>)\s", line.replace("…", "..."))[0]
    return shlex.split(line)
