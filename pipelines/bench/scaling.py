"""How views go with threads, image size and number of views, each beside bare decoding that is measured the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Any

from ...augment.recipe import Recipe
from .arms import Arm, ArmFailed
from .figures import Spread, paired
from .files import Files, Folder, resized_all
from .messages import Spec
from .report import aligned
from .rounds import Group, Round, measure
from .settings import Settings

MEGAPIXELS = (0.2, 1.0, 3.0, 12.0)
VIEWS = (1, 2, 4, 6, 10)
LARGE = 2.0
"""Megapixels from which batches are of 8, so that a round takes seconds: the cost of an image hardly knows its batch."""
BAR = 0.95


def scaling(recipe: Recipe, files: Files, encoded: list[bytes], folder: Folder, settings: Settings,
            say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """One after the other {"by", "recipe", "rows": [...], "about"}; rows: see the three functions."""
    yield _by_threads(recipe, files, settings, say)
    yield _by_size(recipe, encoded, folder, settings, say)
    yield _by_views(recipe, files, settings, say)


def thread_counts(cores: int) -> list[int]:
    """1, 2, 4 ... and all of them."""
    counts = [1]
    while counts[-1] * 2 < cores:
        counts.append(counts[-1] * 2)
    return counts if cores == 1 else [*counts, cores]


def thread_rows(seen: dict[int, tuple[list[Round], list[Round]]], images: dict[int, int]) -> list[dict[str, Any]]:
    """seen: {threads: (rounds of decoding, rounds of views)}. gain: rate over that of one thread, round by round; quotient: the
    views' gain over decoding's, which is 1 where views scale as well as decoding does."""
    one_decode, one_views = ([each.alone / images[1] for each in rounds] for rounds in seen[1])
    rows = []
    for threads, (decode, views) in seen.items():
        its_decode, its_views = ([each.alone / images[threads] for each in rounds] for rounds in (decode, views))
        decode_gain, views_gain = ([a / b for a, b in zip(one, many, strict=True)]
                                   for one, many in ((one_decode, its_decode), (one_views, its_views)))
        rows.append({"threads": threads, **_rates(its_decode, its_views), "decode_gain": asdict(paired(one_decode, its_decode)),
                     "views_gain": asdict(paired(one_views, its_views)), "quotient": asdict(paired(views_gain, decode_gain)),
                     "ratio": asdict(paired([r.alone for r in views], [r.decode for r in views]))})
    return rows


def _rates(decode: list[float], views: list[float]) -> dict[str, float]:
    from statistics import median

    return {"decode_per_second": 1 / median(decode), "views_per_second": 1 / median(views)}


def _by_threads(recipe: Recipe, files: Files, settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    counts = thread_counts(settings.thread_budget)
    batches = -(-settings.counted // max(counts)) * max(counts)
    with ExitStack() as stack:
        groups = []
        for threads in counts:
            spec = Spec("decode", "", recipe, files, settings.batch_size, threads, settings.prefetch)
            decode = stack.enter_context(Arm(spec, f"bare decode, {threads} threads"))
            spec = replace(spec, kind="viewmill", name=settings.engines[0])
            views = stack.enter_context(Arm(spec, f"views, {threads} threads"))
            views.rest(1.0)
            groups.append(Group(decode, [views]))
        seen = measure(groups, settings.rounds, lambda _: batches, False, say)
    of = {threads: (seen[group.decode.label], seen[group.arms[0].label])
          for threads, group in zip(counts, groups, strict=True)}
    rows = thread_rows(of, dict.fromkeys(counts, batches * settings.batch_size))
    return {"by": "threads", "recipe": str(recipe), "rows": rows, "about": f"{files}; batches of {settings.batch_size}"}


def _by_size(recipe: Recipe, encoded: list[bytes], folder: Folder, settings: Settings,
             say: Callable[[str], None]) -> dict[str, Any]:
    """Rows: {"megapixels", "kilobytes", "decode_ms", "views_ms", "ratio", and of each other arm its ms, and its time over that
    of the views}."""
    rows = []
    for megapixels in MEGAPIXELS:
        batch_size = min(settings.batch_size, 8) if megapixels >= LARGE else settings.batch_size
        pictures = resized_all(encoded, megapixels, max(batch_size, min(len(encoded), round(64 / megapixels))), say)
        files = folder.write(pictures, settings.thread_budget, f"{megapixels:g}mp")
        spec = Spec("decode", "", recipe, files, batch_size, settings.thread_budget, settings.prefetch)
        more = {"views": replace(spec, kind="viewmill", name=settings.engines[0]),
                "views_scaled": replace(spec, kind="viewmill", name=settings.engines[0], recipe=replace(recipe, decode="scaled")),
                "torchvision": replace(spec, kind="peer", name="torchvision")}
        if recipe.decode == "scaled":
            del more["views_scaled"]
        seen, why = _beside(spec, more, settings, say)
        images = settings.counted * batch_size
        row: dict[str, Any] = {"megapixels": megapixels, "kilobytes": round(files.kilobytes), "images": files.count,
                               "batch_size": batch_size, "left_out": why, "decode_ms": _ms(seen["decode"], images)}
        for name in more:
            if name in seen:
                row[f"{name}_ms"] = _ms(seen[name], images)
        if "views" in seen:
            row["ratio"] = _ratio(seen["views"])
        for name in ("views_scaled", "torchvision"):
            if "views" in seen and name in seen:
                row[f"{name}_over_views"] = asdict(paired([r.alone for r in seen[name]], [r.alone for r in seen["views"]]))
        if "views_scaled" in seen and "torchvision" in seen:
            row["torchvision_over_scaled"] = asdict(paired([r.alone for r in seen["torchvision"]],
                                                           [r.alone for r in seen["views_scaled"]]))
        rows.append(row)
    about = (f"your images at other sizes by Pillow's bicubic filter, JPEG quality 90, shown again where they are few; "
             f"{settings.thread_budget} threads; from {LARGE:g} megapixels on in batches of 8")
    return {"by": "megapixels", "recipe": str(recipe), "rows": rows, "about": about}


def with_views(recipe: Recipe, count: int) -> Recipe:
    """The recipe's first view alone, so many times."""
    first = replace(recipe.views[0], count=count, roles=(), labels=())
    return replace(recipe, views=(first,), name=f"{recipe} with {count} views")


def _by_views(recipe: Recipe, files: Files, settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Rows: {"views", "decode_ms", "views_ms", "ratio"}."""
    rows = []
    for count in VIEWS:
        spec = Spec("decode", "", with_views(recipe, count), files, settings.batch_size, settings.thread_budget,
                    settings.prefetch)
        seen, why = _beside(spec, {"views": replace(spec, kind="viewmill", name=settings.engines[0])}, settings, say)
        images = settings.counted * settings.batch_size
        row: dict[str, Any] = {"views": count, "left_out": why, "decode_ms": _ms(seen["decode"], images)}
        if "views" in seen:
            row.update(views_ms=_ms(seen["views"], images), ratio=_ratio(seen["views"]))
        rows.append(row)
    side = recipe.instances[0].size_hw[0]
    return {"by": "views", "recipe": str(recipe), "rows": rows,
            "about": f"of {side} px, each made as the recipe's first; {files}; {settings.thread_budget} threads"}


def _beside(decode: Spec, more: dict[str, Spec], settings: Settings,
            say: Callable[[str], None]) -> tuple[dict[str, list[Round]], dict[str, str]]:
    """({name: rounds}, decoding's under "decode"; {name: why it is left out})."""
    why: dict[str, str] = {}
    with ExitStack() as stack:
        group = Group(stack.enter_context(Arm(decode, "decode")), [])
        for name, spec in more.items():
            say(f"{spec.recipe}, {spec.files}: starting {name}")
            try:
                arm = stack.enter_context(Arm(spec, name))
                arm.rest(1.0)
                group.arms.append(arm)
            except ArmFailed as error:
                why[name] = str(error)
        return measure([group], settings.rounds, lambda _: settings.counted, False, say), why


def _ms(rounds: list[Round], images: int) -> float:
    from statistics import median

    return 1000 * median(each.alone for each in rounds) / images


def _ratio(rounds: list[Round]) -> dict[str, float]:
    return asdict(paired([each.alone for each in rounds], [each.decode for each in rounds]))


def table(seen: dict[str, Any]) -> str:
    """One of `scaling`'s, for people."""
    title = {"threads": "by threads", "megapixels": "by image size", "views": "by number of views"}[seen["by"]]
    columns: dict[str, tuple[str, str]] = {
        "threads": ("threads", "d"), "views": ("views", "d"), "megapixels": ("megapixels", "g"), "kilobytes": ("KB", "d"),
        "decode_per_second": ("decode images/s", ".0f"), "views_per_second": ("views images/s", ".0f"),
        "decode_gain": ("decode gain", ""), "views_gain": ("views gain", ""), "quotient": ("views / decode gain", ""),
        "decode_ms": ("decode ms", ".2f"), "views_ms": ("views ms", ".2f"), "views_scaled_ms": ("decode=scaled ms", ".2f"),
        "torchvision_ms": ("torchvision ms", ".2f"), "ratio": ("times the decode", ""),
        "torchvision_over_views": ("torchvision / views", ""), "torchvision_over_scaled": ("torchvision / scaled", "")}
    shown = [key for key in columns if any(key in row for row in seen["rows"])]
    rows = [[columns[key][0] for key in shown]]
    for row in seen["rows"]:
        cells = []
        for key in shown:
            value = row.get(key)
            cells.append("" if value is None else str(Spread(**value)) if isinstance(value, dict) else
                         format(value, columns[key][1]))
        rows.append(cells)
    lines = [f"{seen['recipe']} {title}: {seen['about']}", "", *aligned(rows)]
    if seen["by"] == "threads" and len(seen["rows"]) > 1:
        last = seen["rows"][-1]
        lines.append(f"  with {last['threads']} threads views gain {last['quotient']['median']:.2f} of what decoding gains "
                     f"(bar {BAR})")
    reasons = {f"{name}: {why}" for row in seen["rows"] for name, why in row.get("left_out", {}).items()}
    return "\n".join([*lines, *(f"  left out: {each}" for each in sorted(reasons))])
