"""The lists of docs/recipes.md, made of what the package says itself: `python -m tests.docs.lists` writes them into the page."""

from __future__ import annotations

import re
from pathlib import Path

from viewmill.augment.presets import ALIASES, PRESETS
from viewmill.models import METHODS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "recipes.md"


def of_methods() -> str:
    """A table: each method, the recipe that it is shown, what it is judged by, its paper."""
    rows = [f"| `{name}` | `{info.recipe}`, at 32 px `{info.recipe_32px}` | {info.metric} | {info.paper} |"
            for name, info in METHODS.items()]
    return "\n".join(["| method | recipe | judged by | paper |", "|---|---|---|---|", *rows])


def of_recipes() -> str:
    """A table: each recipe, also by its short name, its views, its source."""
    short = {long: f" or `{name}`" for name, long in ALIASES.items()}
    rows = []
    for name, preset in PRESETS.items():
        recipe = preset.recipe
        most = {view.group: "up to " for view in recipe.views if view.count == "variable"}
        views = ", ".join(f"{most.get(group, '')}{g.count} x {g.height} px {group}" for group, g in recipe.groups.items())
        rows.append(f"| `{name}`{short.get(name, '')} | {views} | {preset.source} |")
    return "\n".join(["| recipe | views | source |", "|---|---|---|", *rows])


def filled(page: str) -> str:
    """The page with both lists between their marks."""
    for mark, made in (("methods", of_methods()), ("recipes", of_recipes())):
        page = re.sub(rf"(<!-- {mark} -->\n).*?(<!-- end -->)", lambda found, text=made: f"{found[1]}\n{text}\n\n{found[2]}",
                      page, flags=re.DOTALL)
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
