"""The rendered oracle views as recipes with explicit parameters, for any engine."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from viewmill.augment import Params, Recipe, View
from viewmill.augment.ops import (
    Autocontrast,
    Blur,
    Crop,
    Cutout,
    Equalize,
    Flip,
    Grayscale,
    Jitter,
    LabSplit,
    Normalize,
    Op,
    Posterize,
    Rotate,
    Sharpness,
    Solarize,
    Tiles,
)
from viewmill.augment.ops.jitter import STEPS

STEP_FIELDS = {"brightness": "factor", "contrast": "factor", "saturation": "factor", "hue": "turns"}


@dataclass(frozen=True)
class Case:
    """One oracle view: a source picture, a recipe with its parameters, and what must come out of its copy `copy`."""

    name: str
    image: np.ndarray
    recipe: Recipe
    params: Params
    oracle: np.ndarray
    accept: dict[str, dict[str, float]]
    std: np.ndarray
    copy: int = 0


def cases(shared: Path) -> list[Case]:
    """Every view whose ops the torch engine renders."""
    folder = shared / "oracles" / "views"
    description = json.loads((folder / "cases.json").read_text())
    tolerances = json.loads((folder / "tolerances.json").read_text())["cases"]
    shards = shared / "data" / "imagenet-sample"
    sources = {key: decode(shards / about["shard"], key) for key, about in description["sources"].items()}
    found = []
    for case in description["cases"]:
        path = folder / case["file"]
        oracle = np.load(path) if path.suffix == ".npy" else np.asarray(Image.open(path)).reshape(case["shape"])
        recipe, params = as_recipe(case["ops"])
        std = np.array(case["ops"][-1].get("std", [1 / 255] * 3), np.float64)
        one = Case(case["id"], sources[case["source"]], recipe, params, oracle, tolerances[case["id"]], std)
        copies = len(recipe.instances)
        found += [one] if copies == 1 else [
            replace(one, name=f"{one.name}/{copy}", oracle=oracle[copy], copy=copy) for copy in range(copies)]
    return found


def decode(shard: Path, key: str) -> np.ndarray:
    with tarfile.open(shard) as tar:
        member = tar.extractfile(f"{key}.jpg")
        assert member is not None
        return np.array(Image.open(io.BytesIO(member.read())).convert("RGB"))


def difference(got: np.ndarray, case: Case) -> np.ndarray:
    """Engine minus oracle in levels of 255. got: (3, H, W), normalized where the case is, else on the unit scale."""
    if case.oracle.dtype == np.uint8:
        return np.moveaxis(got, 0, -1).astype(np.float64) * 255 - case.oracle
    return (got.astype(np.float64) - case.oracle) * 255 * case.std[:, None, None]


def complaint(got: np.ndarray, case: Case, kinds: tuple[str, ...] = ("hue_steps",)) -> str:
    """Empty where the view is within the tolerances of one of the kinds of engine, else by how much it is not."""
    d = np.abs(difference(got, case))
    found = {"max": d.max(), "p99_9": np.quantile(d, 0.999), "mean": d.mean()}
    for kind in kinds:
        if all(found[k] <= case.accept[kind][k] for k in found):
            return ""
    return f"{case.name}: {found} exceeds {[case.accept[kind] for kind in kinds]}"


def as_recipe(ops: list[dict[str, Any]]) -> tuple[Recipe, Params]:
    """A recipe of one view, and the parameters of one sample, from the oracle's explicit ops. Tiles: one copy each."""
    if ops[-1]["op"] == "tiles":
        return _tiled(ops[:-1], ops[-1]["boxes"])
    built: list[Op] = []
    drawn: dict[str, dict[str, np.ndarray]] = {}
    for op in ops:
        made, params = _op(op)
        made = made.with_fields(name=made.type if made.type not in drawn else f"{made.type}.{len(built)}")
        built.append(made)
        drawn[made.name] = {k: np.array([v]) for k, v in params.items()}
    turned = sum(int(v["quarter_turns"][0]) for k, v in drawn.items() if k.startswith("rotate"))
    height, width = next(_pair(op["size_px"]) for op in reversed(ops) if op["op"] == "crop")
    size = (width, height) if turned % 2 else (height, width)
    return Recipe((View("global", size, tuple(built)),)), {"global/0": drawn}


def _tiled(ops: list[dict[str, Any]], boxes: list[list[int]]) -> tuple[Recipe, Params]:
    whole, params = as_recipe(ops)
    side = boxes[0][2]
    tiles = Tiles(layout="cells", tile_px=side, grid=(3, 3), cell_px=85, offset_px=(0, 85 - side))
    view = View("global", side, (*(whole.views[0].ops or ()), tiles), count=len(boxes))
    return Recipe((view,)), {f"global/{copy}": {**params["global/0"], "tiles": {"box": np.array([box], np.int32)}}
                             for copy, box in enumerate(boxes)}


def _pair(size: int | list[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _op(op: dict[str, Any]) -> tuple[Op, dict[str, Any]]:
    kind = op["op"]
    if kind == "crop":
        crop = Crop(size_px=_pair(op["size_px"]), filter=op["filter"], antialias=op["antialias"],
                    cubic_a=-0.5 if op["antialias"] else -0.75)
        return crop, {"box": np.array([op[k] for k in ("top", "left", "height", "width")], np.int32)}
    if kind == "flip":
        return Flip(), {"apply": op["horizontal"]}
    if kind == "rotate":
        angle = 90 * op["quarter_turns"]
        turns = Rotate(kind="exact", angles_deg=(angle,), pick="enumerate", direction="counter-clockwise")
        return turns, {"quarter_turns": np.int8(op["quarter_turns"])}
    if kind == "grayscale":
        return Grayscale(), {"apply": True}
    if kind == "blur":
        gaussian = {"kind": "gaussian", "taps": op.get("taps"), "border": op.get("border")}
        blur = Blur(**(gaussian if op["kind"] == "gaussian" else {}))
        return blur, {"apply": True, "sigma_px": np.float32(op["sigma_px"])}
    if kind == "solarize":
        return Solarize(threshold=op["threshold"]), {"apply": True}
    if kind == "cutout":
        box = np.array([op[k] for k in ("top", "left", "height", "width")], np.int32)
        return Cutout(size_px=(op["height"], op["width"]), fill=tuple(op["fill"])), {"apply": True, "box": box}
    if kind == "posterize":
        return Posterize(bits=op["bits"]), {"apply": True}
    if kind == "sharpness":
        return Sharpness(), {"apply": True, "factor": np.float32(op["factor"])}
    if kind in ("autocontrast", "equalize"):
        return {"autocontrast": Autocontrast, "equalize": Equalize}[kind](), {"apply": True}
    if kind == "rgb_to_lab":
        return LabSplit(keep=("L", "a", "b")), {}
    if kind == "normalize":
        return Normalize(kind="mean-std", mean=tuple(op["mean"]), std=tuple(op["std"])), {}
    return _jitter(op["steps"] if kind == "jitter" else [op])


def _jitter(steps: list[dict[str, Any]]) -> tuple[Op, dict[str, Any]]:
    """A jitter whose missing steps have strength 0, which means that they do not exist."""
    names = [step["op"] for step in steps]
    order = [STEPS.index(n) for n in names] + [i for i, n in enumerate(STEPS) if n not in names]
    values = {step["op"]: np.float32(step[STEP_FIELDS[step["op"]]]) for step in steps}
    strengths = {n: (0.5 if n in names else 0.0) for n in STEPS}
    jitter = Jitter(brightness=strengths["brightness"], contrast=strengths["contrast"], saturation=strengths["saturation"],
                    hue_turns=strengths["hue"])
    return jitter, {"apply": True, "order": np.array(order, np.int8), "hue_turns": values.get("hue", np.float32(0)),
                    **{n: values.get(n, np.float32(1)) for n in STEPS[:3]}}
