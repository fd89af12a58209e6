"""The page: sections one after the other, with its style and its script inside, so that it needs nothing else to be seen."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from ... import __version__
from . import configuration, curves, figures, results, summary
from .album import Album
from .chart import Chart, charts
from .commands import Read, line
from .markup import Inside, Markup, joined, tag
from .runs import Run
from .runs import read as read_runs
from .table import command_line, swatch
from .views import views

HERE = Path(__file__).parent

VIEWS = ("The first images of the first epoch, made again to the bit from the run's seed. Frames on an image show where its "
         "views lie; each has its view's colour.")


def write(folders: Sequence[str | Path], out: Path, read: Read, data: Any = None) -> int:
    """The report of runs, to one HTML file, whole or not at all; its bytes. read: what turns the words of `viewmill train` into a
    run. data: in place of where they found their images. Raises ValueError, one line, where a folder is not a run's."""
    runs = read_runs(folders)
    return kept(page(runs, out, read, data), out)


def kept(text: str, out: Path) -> int:
    """A file, whole or not at all; its bytes."""
    made = text.encode()
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        temporary.write_bytes(made)
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    return len(made)


def page(runs: Sequence[Run], out: Path, read: Read, data: Any = None) -> str:
    album, several = Album(), len(runs) > 1
    parts: list[tuple[str, str, Inside]] = [
        ("results", "Evaluations", results.section(runs)),
        ("learning", "Learning", _curves(curves.learning(runs), "Learning")),
        ("health", "Health", _curves(curves.health(runs), "Health of features")),
        ("throughput", "Throughput", _curves(curves.throughput(runs), "Throughput")),
        ("views", "Views", [tag("p", VIEWS, class_="about"), [_of_each(run, several, views(run, album, data)) for run in runs]]),
        ("pictures", "What it painted", figures.painted(runs, album)),
        ("figures", "Figures", figures.figures(runs, album)),
        ("configuration", "Configuration", joined(configuration.section(runs, read), configuration.recipes(runs))),
        ("optimiser", "Optimiser", _curves(curves.optimiser(runs), "Optimiser")),
        ("provenance", "Provenance", [_of_each(run, several, summary.provenance(run)) for run in runs]),
    ]
    there = [(name, title, inside) for name, title, inside in parts if inside]
    sections = [tag("section", tag("h2", title), inside, id=name, aria_label=title) for name, title, inside in there]
    remarks = [tag("li", tag("b", f"{run.name}: ") if several else None, text) for run in runs for text in summary.remarks(run)]
    warned = tag("ul", remarks, class_="remarks", aria_label="Remarks") if remarks else None
    top = [_legend(runs), summary.overview(runs)] if several else [summary.tiles(runs[0])]
    made = line("report", *(str(run.folder) for run in runs), f"out={out}")
    footer = tag("footer", command_line(f"This page, by viewmill {__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC", made))
    title = f"{runs[0].method}, {runs[0].name}" if not several else f"{len(runs)} runs: {', '.join(run.name for run in runs)}"
    body = joined(bar(there), tag("main", summary.head(runs), warned, top, sections, footer, id="main"),
                  enlarged())
    return document(title, body)


def enlarged() -> Markup:
    """Where a picture is shown large."""
    return tag("dialog", tag("form", tag("button", "Close", class_="close"), method="dialog"), tag("img", alt=""),
               aria_label="Picture, enlarged")


def document(title: str, body: Markup) -> str:
    """A whole file with its style and script, which fetches nothing."""
    style, script = ((HERE / name).read_text() for name in ("page.css", "page.js"))
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    # No other script runs, and nothing is fetched, whatever a run's files may say.
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = tag("head", tag("meta", charset="utf-8"), tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
               tag("meta", http_equiv="Content-Security-Policy", content=policy),
               tag("meta", name="color-scheme", content="light dark"), tag("title", title),
               tag("link", rel="icon", href="data:,"), tag("style", Markup(style)))
    return f"<!doctype html>\n{tag('html', head, tag('body', body, tag('script', Markup(script))), lang='en')}\n"


def bar(there: Sequence[tuple[str, str, Inside]]) -> Markup:
    """What stays in sight: the sections (address, title, inside), and the switch of light and dark."""
    links = tag("nav", [tag("a", title, href=f"#{name}") for name, title, _ in there], aria_label="Sections")
    theme = tag("button", "Theme", type="button", class_="theme", aria_label="Light or dark")
    mark = tag("a", "viewmill", href="#main", class_="mark")
    return joined(tag("a", "To the report", href="#main", class_="skip"), tag("div", mark, links, theme, class_="bar"))


def _legend(runs: Sequence[Run]) -> Markup:
    """A switch for each run, which hides its lines."""
    buttons = [tag("button", swatch(run.place), run.name, type="button", aria_pressed="true", data_shows=run.place)
               for run in runs]
    return tag("div", buttons, class_="legend", role="group", aria_label="Runs that are shown")


def _curves(which: Sequence[Chart], title: str) -> Inside:
    made = charts(title, which)
    by = tag("a", "the training's command", href="#trained-by")
    return [made, tag("p", "From metrics.jsonl, which ", by, " writes.", class_="source")] if made else None


def _of_each(run: Run, several: bool, inside: Inside) -> Markup:
    if not several:
        return joined(inside)
    return tag("div", tag("h3", swatch(run.place), run.name), inside, class_="of-run", data_run=run.place)
