"""Every page: links lead somewhere, commands and keys exist, Python compiles; on the pages named here it runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from viewmill.augment.presets import names
from viewmill.cli import app, main
from viewmill.models import METHODS

from . import lists
from .pages import PAGES, ROOT, anchors, commands, links, snippets

IDS = {"argvalues": PAGES, "ids": [page.name for page in PAGES]}
BENCHES = ("methods", "loop", "skipping", "plug-in")
RUNS = ("quickstart.md", "uses.md")
"""Pages of which each ```python block runs by itself; README.md's run in test_readme.py."""


@pytest.mark.parametrize("page", **IDS)
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target}; there are {sorted(anchors(file))}"


@pytest.mark.parametrize("page", **IDS)
def test_commands_and_their_keys_exist(page: Path) -> None:
    for words in commands(page):
        assert (wrong := complaint(words)) == "", f"{page.name}: viewmill {' '.join(words)}: {wrong}"


@pytest.mark.parametrize(("line", "wrong"), [
    ("trian simclr data=x.tar", "no command"),
    ("train simclrr data=x.tar", "no method"),
    ("train simclr data=x.tar bach_size=8", "no key bach_size"),
    ("train simclr data=x.tar model.temprature=1", "no key model.temprature"),
    ("eval knn runs/simclr data=x.tar test_dat=x.tar", "no key test_dat"),
    ("preview dnio data=x.tar", "no recipe"),
    ("bench dino data=x.tar rowns=3", "no key rowns"),
    ("bench methods mae data=x.tar mae.model.dept=2", "no key model.dept"),
    ("bench methods mae data=x.tar mae.model.depth=2", ""),
    ("list methodes", "no list"),
    ("train simclr data=x.tar model.temperature=1", ""),
    ("preview runs/mae out=x.png", ""),
])
def test_a_command_that_does_not_exist_is_seen(line: str, wrong: str) -> None:
    found = complaint(line.split())
    assert found.startswith(wrong) if wrong else found == ""


@pytest.mark.parametrize("page", **IDS)
def test_python_compiles(page: Path) -> None:
    for snippet in snippets(page):
        if snippet.language in ("python", "py"):
            compile(snippet.text, page.name, "exec")


@pytest.mark.parametrize(("page", "code"), [(page, snippet.text) for page in RUNS for snippet in snippets(ROOT / "docs" / page)
                                            if snippet.language == "python"])
def test_python_runs(page: str, code: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    exec(compile(code, page, "exec"), {"__name__": "page"})


def test_the_pages_that_run_have_something_to_run() -> None:
    assert all(any(s.language == "python" for s in snippets(ROOT / "docs" / page)) for page in RUNS)


def test_recipes_and_methods_are_listed_as_they_are() -> None:
    page = lists.PAGE.read_text()
    assert page == lists.filled(page), "docs/recipes.md is not what there is: python -m tests.docs.lists"
    assert all(f"\n| `{name}` " in page for name in (*METHODS, *names()))


def complaint(words: list[str]) -> str:
    """What is wrong with a command of these words, "" where nothing is. Words in capitals stand for any name."""
    known = {command.name or command.callback.__name__.replace("evaluate", "eval") for command in app.registered_commands
             if command.callback is not None}
    command, rest = words[0], words[1:]
    if command.startswith("-"):
        return "" if command in ("--help", "--version") else f"no option {command}"
    if command not in known:
        return f"no command {command}"
    named = [word for word in rest if "=" not in word and not word.startswith("-")]
    if wrong := NAMED.get(command, lambda names, words: "")(named, rest):
        return wrong
    text = manual(*about(command, named, rest))
    for word in rest:
        key, equals, _ = word.removeprefix("--").partition("=")
        if "transfer" in named:  # the keys of one data set stand behind its name, which is the reader's
            key = key.rpartition(".")[2]
        if named[:1] == ["methods"] and key.partition(".")[0] in METHODS:  # for one method's training alone
            key = key.partition(".")[2]
        if equals and re.fullmatch(r"[a-z_.\d]+", key) and not key.startswith("recipe.") and not has(text, key):
            return f"no key {key}"
    return ""


def has(text: str, key: str) -> bool:
    """Whether a manual names a key: by itself, or as one below another (`optimizer.*` has all its keys)."""
    return re.search(rf"(?<![\w.]){re.escape(key)}(?![\w])", text) is not None


def about(command: str, named: list[str], words: list[str]) -> list[list[str]]:
    """The commands whose help together names the keys of this one."""
    first = [name for name in named[:1] if name in METHODS]
    if command == "train":
        return [["train", *first, "--help"]]
    if command == "demo":
        return [["demo", "--help"], ["train", "simclr", "--help"]]
    if command == "eval":
        more = [["eval", "logistic", "--help"]] if "transfer" in named else []
        return [["eval", *named[:1], "--help"], ["eval", "--help"], *more]
    if command == "bench" and "--diagnose" in words:
        return [["train", *first, "--help"], ["bench", "--help"]]
    if command == "bench" and named[:1] and named[0] in BENCHES:
        trained = [["train", name, "--help"] for name in named[1:] if name in METHODS] or [["train", "--help"]]
        return [["bench", named[0], "--help"], *trained]
    return [[command, "--help"]]


@cache
def _manual(words: tuple[str, ...]) -> str:
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
        main(list(words))
    return out.getvalue()


def manual(*commands: list[str]) -> str:
    return "\n".join(_manual(tuple(words)) for words in commands)


def _any(name: str) -> bool:
    """Whether a word stands for a name that is the reader's, or for any: a placeholder, a path."""
    return name.isupper() or "..." in name or "/" in name or "." in name


def _method(named: list[str], words: list[str]) -> str:
    return "" if not named or _any(named[0]) or named[0] in METHODS else f"no method {named[0]}"


def _recipes(named: list[str], words: list[str]) -> str:
    if "--diagnose" in words:
        return _method(named, words)
    if named[:1] and named[0] in BENCHES:
        return ""
    from viewmill.augment.presets import ALIASES

    wrong = [name for name in named if not (_any(name) or name in names() or name in ALIASES)]
    return f"no recipe {wrong[0]}" if wrong else ""


def _list(named: list[str], words: list[str]) -> str:
    return "" if named and named[0] in ("methods", "recipes") else f"no list {named[:1]}"


NAMED: dict[str, Callable[[list[str], list[str]], str]] = {
    "train": _method, "preview": _recipes, "bench": _recipes, "list": _list}
