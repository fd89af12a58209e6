"""The commands. Each hands over to its room at once; how a command ends is decided here, for all of them alike."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
                  help="Views for self-supervised vision, and the methods that train on them.")
ANY_WORDS = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@app.callback(invoke_without_command=True)
def front(context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from viewmill import __version__

        print(__version__)
    elif context.invoked_subcommand is None:
        print(context.get_help())


@app.command(context_settings=ANY_WORDS, add_help_option=False)
def train(words: Annotated[list[str] | None, typer.Argument(metavar="METHOD data=... [KEY=VALUE]...")] = None) -> int:
    """Pretrain METHOD on images; the same command again goes on where it stopped. `train --help` lists all keys."""
    words = words or []
    if {"--help", "-h"} & set(words) or not words:
        from viewmill.models.training.manual import train_manual

        print(train_manual(next((word for word in words if not word.startswith("-")), None)))
        return 0
    from viewmill.train import run

    return run(words)


@app.command(name="eval", context_settings=ANY_WORDS, add_help_option=False)
def evaluate(words: Annotated[list[str] | None, typer.Argument(metavar="PROTOCOL ENCODER data=... test_data=... [KEY=VALUE]...")]
             = None) -> int:
    """Say how good an ENCODER's features are: knn, linear, layers, finetune and more. `eval --help` lists all keys."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch loads; see train.py
    from viewmill.evaluation.command import main as run
    from viewmill.evaluation.command import manual

    if not words or {"--help", "-h"} & set(words):
        print(manual(*[word for word in words or [] if not word.startswith("-") and "=" not in word]))
        return 0
    return run(words)


@app.command(context_settings=ANY_WORDS, add_help_option=False)
def export(words: Annotated[list[str] | None, typer.Argument(metavar="ENCODER OUT to=LAYOUT [KEY=VALUE]...")] = None) -> int:
    """Write an ENCODER as another library keeps its own: timm, torchvision, huggingface. `export --help` lists all keys."""
    from viewmill.evaluation import export as exporting

    if not words or {"--help", "-h"} & set(words):
        print(exporting.manual())
        return 0
    return exporting.main(words)


@app.command(context_settings=ANY_WORDS, add_help_option=False)
def plan(words: Annotated[list[str] | None, typer.Argument(metavar="METHOD gpus=N gpu=NAME [KEY=VALUE]...")] = None) -> int:
    """Say what a run of METHOD on N GPUs needs: hours, loaders, cores, memory, network. `plan --help` lists all keys."""
    from viewmill.evaluation.capacity.command import main as run
    from viewmill.train import read

    return run(words or [], read)


@app.command(context_settings=ANY_WORDS)
def preview(words: Annotated[list[str], typer.Argument(metavar="RECIPE data=... [KEY=VALUE]...")]) -> int:
    """Draw a contact sheet of RECIPE's views (a name, or a run's folder), with what was drawn for each.

    data=PATTERN out=views.png samples=4: the first samples of the epoch. key=KEY epoch=0 seed=0: exactly the views that a
    sample got in that epoch of a run with that seed. engine=auto shuffle=auto lanes=256 window=16: as the run had them.
    pictures=pictures.png: what the newest checkpoint of a run's folder makes of images, where its method paints; such a folder
    knows its data.
    recipe.VIEW.OP.FIELD=value changes one field of the recipe, recipe.decode=scaled or recipe.repeats=2 how it is used.
    """
    from viewmill.pipelines.preview import preview as draw_sheet
    from viewmill.pipelines.preview import saved_data, saved_recipe
    from viewmill.pipelines.source import NoSuchKey, open_source

    name, *rest = words
    given, changes = _given(rest, data=str, out="views.png", pictures="pictures.png", samples=4, key=str, epoch=0, seed=0,
                            engine="auto", shuffle="auto", lanes=256, window=16)
    recipe = _changed(saved_recipe(name), changes)
    data = given.pop("data", None) or saved_data(name)
    if data is None:
        raise ValueError("preview needs images: data=PATTERN, for example data='train-{0000..0009}.tar'")
    source, out, pictures = open_source(data), Path(given.pop("out")), Path(given.pop("pictures"))
    samples = given.pop("samples")
    key = given.pop("key", None)
    try:
        index = None if key is None else [source.find(key)]
    except NoSuchKey as error:
        raise ValueError(str(error)) from error
    count = draw_sheet(source, recipe, out, index=index, samples=samples, **given)
    print(f"{out}: {count} views by {recipe}, with their parameters")
    if Path(name, "checkpoints").is_dir():
        from viewmill.evaluation.gallery import of_run

        if count := of_run(Path(name), pictures, data=data):
            print(f"{pictures}: {count} images, as the newest checkpoint of {name} paints them")
    return 0


@app.command(context_settings=ANY_WORDS)
def report(words: Annotated[list[str], typer.Argument(metavar="RUN... [KEY=VALUE]...")]) -> int:
    """Write one HTML file about RUN, the folder of a training, or about several side by side; it needs nothing else to be seen.

    Configuration and what made it, curves, health of features, speed and waiting, the views that the network saw, what
    evaluations found, each with its command, and the pictures in the folder. out=FILE.html: RUN/report.html, of several runs
    report.html. data=PATTERN: in place of where the run found its images. open=true: in the browser, too.
    """
    from viewmill.evaluation.report.command import main as run
    from viewmill.train import read

    return run(words, read)


@app.command(context_settings=ANY_WORDS, add_help_option=False)
def ablate(words: Annotated[list[str] | None, typer.Argument(metavar="STUDY.yaml data=... [KEY=VALUE]...")] = None) -> int:
    """Make a STUDY's arms, and say how each differs from the base run. `ablate --help` lists all keys and studies."""
    from viewmill.evaluation.ablate.command import main as run
    from viewmill.train import read

    return run(words or [], read)


@app.command(name="list")
def list_names(what: Annotated[str, typer.Argument(metavar="methods|recipes")]) -> int:
    """Print the METHODS or the RECIPES there are, and where each comes from."""
    from viewmill.augment.op import nearest
    from viewmill.augment.presets import ALIASES, PRESETS
    from viewmill.models import METHODS

    if what == "recipes":
        short = {long: f" = {name}" for name, long in ALIASES.items()}
        for name, preset in PRESETS.items():
            recipe = preset.recipe
            most = {view.group: "up to " for view in recipe.views if view.count == "variable"}
            views = ", ".join(f"{most.get(group, '')}{g.count} x {g.height} px {group}" for group, g in recipe.groups.items())
            note = f" (decided here: {preset.note})" if preset.note else ""
            print(f"{name + short.get(name, ''):41s} {views:41s} {preset.source}{note}")
    elif what == "methods":
        for name, info in METHODS.items():
            recipes = f"recipe {info.recipe}, at 32 px {info.recipe_32px}"
            print(f"{name:14s} {recipes:46s} judged by {info.metric:9s} {info.paper}")
    else:
        raise ValueError(f"viewmill list knows methods and recipes, not {what!r}; {nearest(what, ['methods', 'recipes'])}")
    return 0


@app.command(context_settings=ANY_WORDS, add_help_option=False)
def bench(words: Annotated[list[str] | None, typer.Argument(metavar="RECIPE... data=... [KEY=VALUE]...")] = None) -> int:
    """Measure RECIPEs' views beside bare decoding of the same images and other libraries. `bench --help` lists all keys.

    `bench methods` trains methods and judges them beside their untrained networks, `bench skipping` measures what skipping
    patches saves, `bench loop` what a run's loop costs beside a bare one, `bench plug-in` what other people's trainers gain by
    our loader; with `--help` each lists its keys.
    """
    if words and words[0] == "plug-in":
        from viewmill.pipelines import bench as benching
        from viewmill.pipelines.bench.plug_in import main as plug_in

        return plug_in(words[1:], benching.progress())
    if words and words[0] == "skipping":
        from viewmill.evaluation.skipping import main as skipping

        return skipping(words[1:])
    if words and words[0] == "loop":
        from viewmill import train as training
        from viewmill.evaluation.overhead import main as loop

        return loop(words[1:], training.read, training.train)
    if words and words[0] == "methods":
        from viewmill.evaluation.scoreboard import command
        from viewmill.train import read

        return command.main(words[1:], read)
    if "--diagnose" in (words or []):
        from viewmill import train as training
        from viewmill.evaluation.waiting import main as diagnose

        return diagnose([word for word in words or [] if word != "--diagnose"], training.read, training.open_loader,
                        training.remote_of)

    from viewmill.pipelines import bench as benchmark
    from viewmill.pipelines.preview import saved_recipe
    from viewmill.pipelines.source import open_source

    words = [{"--peers": "peers=all", "--scaling": "scaling=true"}.get(word, word) for word in words or []]
    if {"--help", "-h"} & set(words) or not words:
        print(benchmark.manual())
        return 0
    names, given, changes = _bench_words(words)
    out, chart, kept, data = (given.pop(key, None) for key in ("out", "chart", "from", "data"))
    settings = benchmark.settings_of(given)
    for key, path in (("out", out), ("chart", chart)):  # now, and not after minutes of measuring
        if path is not None and not Path(path).resolve().parent.is_dir():
            raise ValueError(f"{key}={path}: there is no folder {Path(path).resolve().parent}")
    if kept is not None:
        report = benchmark.loaded(Path(kept))
        print(report)
    else:
        if data is None:
            raise ValueError("bench needs images: data=PATTERN, for example data='train-{0000..0009}.tar'")
        if not names:
            raise ValueError("bench needs a recipe, for example simclr_pil; viewmill list recipes has all")
        recipes = [_changed(saved_recipe(name), changes) for name in names]
        say = benchmark.progress()

        def done(table: str) -> None:
            say("")
            print(f"{table}\n", flush=True)

        report = benchmark.bench(open_source(data), recipes, settings, say, done)
        print(benchmark.LEGEND + "\n\n" if report.recipes else "", report.about(), sep="")
    if out is not None:
        report.save(Path(out))
    if chart is not None:
        benchmark.draw_chart(report, Path(chart))
    return 0


def _bench_words(words: Sequence[str]) -> tuple[list[str], dict[str, str], list[str]]:
    """(recipes, the keys given, the words that change the recipes)."""
    names, given, changes = [], {}, []
    for word in words:
        key, equals, text = word.removeprefix("--").partition("=")
        if key.startswith("recipe."):
            changes.append(word)
        elif equals:
            given[key] = text
        elif word.startswith("-"):
            raise ValueError(f"unknown option {word!r}; viewmill bench --help lists what there is")
        else:
            names.append(word)
    return names, given, changes


@app.command(context_settings=ANY_WORDS, add_help_option=False)
def pack(words: Annotated[list[str] | None, typer.Argument(metavar="SRC... DST [KEY=VALUE]...")] = None) -> int:
    """Write shards, with indexes and a catalogue, from folders, tars, URLs, Parquet or a CSV. `pack --help` lists all keys."""
    from viewmill.pipelines.pack.command import main as run

    return run(words or [])


@app.command(context_settings=ANY_WORDS, add_help_option=False)
def check(words: Annotated[list[str] | None, typer.Argument(metavar="DATA... [KEY=VALUE]...")] = None) -> int:
    """Say whether shards or a folder of images are whole, and what is in them. `check --help` lists all keys."""
    from viewmill.pipelines.inspection.command import main as run

    return run(words or [])


@app.command(context_settings=ANY_WORDS)
def doctor(words: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None) -> int:
    """Say whether everything works on this machine, how fast it is, and what is missing; needs no data.

    seconds=2: how long each measurement takes. batches=200: over how many the memory is watched; batches=10000 finds small
    leaks. json=FILE keeps all that was found. Checks of a GPU are skipped where there is none; status 1 if a check fails.
    """
    import json

    from viewmill.pipelines.doctor import examine

    given, changes = _given(words or [], seconds=2, batches=200, json=str)
    if changes or given["batches"] < 1 or given["seconds"] < 0:
        raise ValueError(f"doctor takes seconds >= 0, batches >= 1 and json=FILE, got {' '.join(words or [])}")
    out = given.pop("json", None)
    report = examine(**given, say=lambda line: print(line, flush=True))
    if out is not None:
        Path(out).write_text(json.dumps(report.as_dict(), indent=1))
    for check in report.failed:
        print(f"viewmill: {check.name} failed: {check.seen}", file=sys.stderr, flush=True)
    return 1 if report.failed else 0


@app.command(context_settings=ANY_WORDS)
def demo(words: Annotated[list[str] | None, typer.Argument(metavar="[out=demo] [KEY=VALUE]...")] = None) -> int:
    """Train SimCLR on tiles of public photographs, on the CPU, and say how much better than raw pixels it is.

    Other keys are those of `viewmill train simclr`.
    """
    from viewmill.pipelines.photographs import write_tiles
    from viewmill.pipelines.preview import preview as draw_sheet
    from viewmill.pipelines.preview import saved_recipe
    from viewmill.pipelines.source import open_source
    from viewmill.train import run

    words = words or []
    out = Path(next((word.removeprefix("out=") for word in words if word.startswith("out=")), "demo"))
    train_data, test_data = write_tiles(out / "shards")
    recipe = _changed(saved_recipe("simclr_cifar"), ["recipe.global.size_px=64"])
    draw_sheet(open_source(train_data), recipe, out / "views.png", samples=5)
    print(f"tiles      {train_data} and {test_data}, of scikit-image's photographs\nviews      {out}/views.png", flush=True)
    settings = [f"data={train_data}", "recipe=simclr_cifar", "recipe.global.size_px=64", "model.backbone=convnet4", "epochs=6",
                "batch_size=256", "optimizer.name=adamw", "optimizer.lr=2e-3", "optimizer.scaling=none",
                "optimizer.weight_decay=1e-4", f"knn.test_data={test_data}", "knn.every=2", f"out={out}"]
    status = run(["simclr", *settings, *(word for word in words if not word.startswith("out="))])
    print(f"           {out}/views.png shows what the network saw")
    return status


def _given(words: Sequence[str], **known: Any) -> tuple[dict[str, Any], list[str]]:
    """(the keys given and those with a default, the words that change the recipe). known: a default, or a type for none."""
    from viewmill.augment.op import nearest

    values = {key: default for key, default in known.items() if not isinstance(default, type)}
    changes = []
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise ValueError(f"{word!r} is not key=value")
        if key.startswith("recipe."):
            changes.append(word)
            continue
        if key not in known:
            raise ValueError(f"unknown key {key!r}; {nearest(key, list(known))}")
        kind = known[key] if isinstance(known[key], type) else type(known[key])
        try:
            values[key] = {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
        except (ValueError, KeyError):
            raise ValueError(f"{key} needs {'true or false' if kind is bool else 'a whole number'}, got {text!r}") from None
    return values, changes


def _changed(recipe: Any, words: Sequence[str]) -> Any:
    from viewmill.models.training.overrides import with_assignment

    for word in words:
        key, _, text = word.removeprefix("recipe.").partition("=")
        recipe = with_assignment(recipe, key, text)
    return recipe


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 2 for a user's mistake, 1 for a failure, with one line on stderr."""
    try:
        status = app(args=list(sys.argv[1:] if words is None else words), prog_name="viewmill", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except (Exception, KeyboardInterrupt) as error:
        from viewmill.models.training.errors import verdict

        # The command line's own complaints ("No such command") carry their status and their text apart.
        number, line = verdict(error)
        usage = getattr(error, "format_message", None)
        if usage is not None:
            number, line = 2, f"viewmill: {' '.join(usage().split()).rstrip('.')}; viewmill --help lists what there is"
        print(line, file=sys.stderr, flush=True)
        return number


if __name__ == "__main__":
    sys.exit(main())
