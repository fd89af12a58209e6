"""The head of a report: what the runs were, the figures that count, and what should be known of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...models import METHODS
from ..collapse import CollapseWatch
from . import configuration, results
from .markup import Markup, joined, tag
from .numbers import duration, percent, short, size
from .results import findings
from .runs import Run
from .table import Cell, Column, swatch, table

SHORT_COMMIT = 10


@dataclass(frozen=True)
class Figure:
    """title, value and a note below; leads: the section where it comes from; good: False where it should worry."""

    title: str
    value: str
    note: str
    leads: str
    good: bool = True


def head(runs: Sequence[Run]) -> Markup:
    if len(runs) == 1:
        run = runs[0]
        paper = METHODS[run.method].paper if run.method in METHODS else None
        return tag("header", tag("p", run.name, class_="overline"), tag("h1", run.method), tag("p", sentence(run), class_="lead"),
                   tag("p", paper, class_="paper") if paper else None, class_="hero")
    methods = list(dict.fromkeys(run.method for run in runs))
    other = len([key for key in configuration.differences(runs) if not key.startswith("recipe.")])
    said = (f"{', '.join(methods)}. Their configurations differ in {other} key{'' if other == 1 else 's'}, besides recipes and "
            "folders." if other else f"{', '.join(methods)}. Their configurations do not differ, but perhaps for recipes.")
    return tag("header", tag("p", "viewmill", class_="overline"), tag("h1", f"{len(runs)} runs"), tag("p", said, class_="lead"),
               class_="hero")


def sentence(run: Run) -> str:
    """What was trained on what, for how long, where, and when."""
    config, images = run.config, run.about.get("images")
    model = config.get("model")
    network = (model.get("backbone") if isinstance(model, dict) else None) or "A network"
    on = f"{images:,} images" if isinstance(images, int) else "images"
    epochs = run.last("epoch") or 0.0
    passes = f"{short(epochs, 3)} epoch{'' if epochs == 1 else 's'}, {run.step:,} steps of {config['batch_size']:,} images"
    when = started(run)
    return (f"{network} on {on}: {passes}" + (f", in {duration(run.seconds)}" if run.seconds else "")
            + f" on {run.about.get('device', 'some device')}" + (f", {when}" if when else "") + ".")


def started(run: Run) -> str:
    try:
        return f"{datetime.fromisoformat(run.starts[0]['time']):%-d %B %Y}"
    except (IndexError, KeyError, TypeError, ValueError):
        return ""


def tiles(run: Run) -> Markup | None:
    """The figures that count, each leading to its section; None where there are none yet."""
    shown = list(figures(run))
    if not shown:
        return None
    across = len(shown) if len(shown) <= 5 else -(-len(shown) // 2)
    made = []
    for each in shown:
        texts = {"title": each.title, "value": each.value, "note": each.note}
        inside = [tag("span", text, class_=look) for look, text in texts.items()]
        made.append(tag("a", inside, href=f"#{each.leads}", class_="tile" if each.good else "tile worry"))
    return tag("div", made, class_="tiles", style=f"--across:{across}")


def figures(run: Run) -> Iterator[Figure]:
    """What counts first: evaluations, kNN, loss, health, speed."""
    for each in [each for each in findings([run]) if each.first][:3]:
        note = f"± {100 * (each.high - each.low) / 2:.2f}, " if each.low is not None and each.high is not None else ""
        of = each.result.get("test_pictures")
        note += f"{of:,} test pictures" if isinstance(of, int) else ""
        yield Figure(_capital(each.what), results.said(each), note, "results")
    knn = run.last("knn")
    if knn is not None:
        over = [(label, run.last(name)) for label, name in (("untrained", "knn_untrained"), ("raw pixels", "knn_raw_pixels"))]
        gains = ", ".join(f"{100 * (knn - level):+.1f} over {label}" for label, level in over if level is not None)
        yield Figure("kNN while training", percent(knn), f"{gains} (points)" if gains else "", "learning")
    losses = run.points("loss")
    if losses:
        yield Figure("Loss", short(losses[-1][2]), f"from {short(losses[0][2])} at step {losses[0][0]:,}", "learning")
    rank = run.points("health_rankme")
    if rank:
        note = f"RankMe; {short(rank[0][2], 3)} at step {rank[0][0]:,}"
        yield Figure("Directions in use", short(rank[-1][2], 3), note, "health")
    if run.images_per_s:
        yield Figure("Images a second", short(run.images_per_s), f"{duration(run.seconds)} of steps", "throughput")
    if run.data_wait is not None:
        budget = run.config.get("data_wait_budget", 1)
        yield Figure("Waiting for data", percent(run.data_wait), f"of the time; budget {percent(budget, 0)}", "throughput",
                     run.data_wait <= budget)


def overview(runs: Sequence[Run]) -> Markup:
    """Several runs, a row each."""
    found = findings(runs)
    whats = list(dict.fromkeys(each.what for each in found if each.first))
    by = {(each.run.place, each.what): each for each in found if each.first}
    columns = [Column("Run"), Column("Method"), *(Column(what, number=True) for what in whats)]
    extras = [("kNN", "knn"), ("Loss", "loss"), ("RankMe", "health_rankme")]
    extras = [(title, name) for title, name in extras if any(run.points(name) for run in runs)]
    columns += [Column(title, number=True) for title, _ in extras]
    columns += [Column("Images/s", number=True), Column("Data wait", number=True), Column("Steps", number=True)]
    rows = []
    for run in runs:
        cells = [Cell(joined(swatch(run.place), run.name), strong=True), Cell(run.method)]
        cells += [Cell(results.said(by[run.place, what]), by[run.place, what].value) if (run.place, what) in by else Cell("")
                  for what in whats]
        for _, name in extras:
            value = run.last(name)
            cells.append(Cell("") if value is None else Cell(percent(value) if name == "knn" else short(value), value))
        cells += [_of(run.images_per_s, short), _of(run.data_wait, percent), Cell(f"{run.step:,}", run.step)]
        rows.append(cells)
    return table(columns, rows, "All runs")


def remarks(run: Run) -> list[str]:
    """What should be known before a number of the run is believed."""
    found = []
    if run.step < run.total:
        found.append(f"It stands at step {run.step:,} of {run.total:,}; the same command goes on.")
    ranks = max(int(run.about.get("ranks") or 1), 1)
    watch = CollapseWatch(min(run.config.get("health", {}).get("images", 256), run.config["batch_size"] // ranks))
    said = next((text for row in run.rows if (text := watch.add(row)) is not None), None)
    found += [f"{said[0].upper()}{said[1:]}."] if said else []
    budget = run.config.get("data_wait_budget", 1)
    if run.data_wait is not None and run.data_wait > budget:
        found.append(f"Waiting for data took {percent(run.data_wait)} of the time, more than its budget of {percent(budget, 0)}; "
                     "`viewmill bench --diagnose` says why.")
    lost = [name for row in run.rows for name, value in row.items() if value is None]
    if lost:
        found.append(f"Not finite at some line of the log: {', '.join(dict.fromkeys(lost))}.")
    replaced = run.last("data/substituted")
    if replaced:
        found.append(f"{replaced:,.0f} samples could not be used and were replaced; quarantine.jsonl says which, and why.")
    if str(run.about.get("commit") or "").endswith("+"):
        found.append("The program had changes that were in no commit: its commit alone does not make the run again.")
    versions = {str(start.get("commit")) for start in run.starts}
    if len(versions) > 1:
        found.append(f"It was made by {len(versions)} versions of the program, one after the other.")
    return found


def provenance(run: Run) -> Markup:
    """What made it, and when it was started."""
    about, threads = run.about, run.about.get("threads", {})
    versions = about.get("versions", {})
    commit, ranks = str(about.get("commit") or ""), about.get("ranks", 1)
    shortened = commit[:SHORT_COMMIT] + ("+" if commit.endswith("+") else "")
    read_bytes = run.last("data/read_bytes")
    facts: list[tuple[str, Any]] = [
        ("Folder", tag("code", str(run.folder))),
        ("Data", tag("code", str(configuration.said(run.flat().get("data"))))),
        ("Images", f"{about['images']:,}" if isinstance(about.get("images"), int) else None),
        ("Read", f"{run.last('data/read') or 0:,.0f} images, {size(read_bytes)}" if read_bytes else None),
        ("Seed", run.config.get("seed")),
        ("Device", f"{about.get('device', 'unknown')}, {ranks} rank{'' if ranks == 1 else 's'}"),
        ("Threads", ", ".join(f"{name} {count}" for name, count in threads.items())),
        ("Commit", tag("code", shortened, title=commit) if commit else "unknown"),
        ("Versions", ", ".join(f"{name} {number}" for name, number in versions.items() if number)),
    ]
    known = [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts if value not in (None, "")]
    return joined(tag("dl", known, class_="facts"), _starts(run))


def _starts(run: Run) -> Markup | None:
    if len(run.starts) < 2:
        return None
    rows = [[Cell(str(start.get("time", ""))), Cell(str(start.get("host", ""))), Cell("; ".join(other) or "as before")]
            for start, other in configuration.changes(run)]
    rows[0][2] = Cell("the first")
    return table([Column("Started"), Column("On"), Column("Changed")], rows, "Starts")


def _capital(text: str) -> str:
    return text if text.startswith("kNN") else text[:1].upper() + text[1:]


def _of(value: float | None, said: Any) -> Cell:
    return Cell("") if value is None else Cell(said(value), value)
