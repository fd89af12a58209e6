"""What the site's configuration cannot say: a page that is announced and not there yet leaves its place, and a page that nobody
placed stands under "More", so that a new page breaks no build; and where files lie that a page takes in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

ANNOUNCED = ("ablations.md", "plug-in.md")
"""Pages that have their place already, whether they are there or not. Any other page that is absent fails the build."""


def on_config(config: Any) -> Any:
    folder = Path(config.docs_dir)
    config.nav = placed(config.nav, {path.name for path in folder.glob("*.md")})
    # The changes lie beside the README, and a path in the configuration would be that of whoever builds.
    config.mdx_configs["pymdownx.snippets"]["base_path"] = [str(folder.parent)]
    return config


def placed(nav: list[Any], there: set[str]) -> list[Any]:
    """nav, a list of {title: page or list of the same}, without the announced pages that are not there, and with those that
    have no place at its end."""
    kept = _kept(nav, {page for page in ANNOUNCED if page not in there})
    rest = sorted(there - set(pages(nav)))
    return [*kept, {"More": rest}] if rest else kept


def pages(nav: list[Any]) -> Iterator[str]:
    """Every page that nav names, in its order."""
    for entry in nav:
        for below in entry.values():
            yield from pages(below) if isinstance(below, list) else [below]


def _kept(nav: list[Any], absent: set[str]) -> list[Any]:
    kept = []
    for entry in nav:
        for title, below in entry.items():
            if isinstance(below, list):
                kept.append({title: _kept(below, absent)})
            elif below not in absent:
                kept.append({title: below})
    return kept
