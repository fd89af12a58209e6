"""The words of `viewmill pack`, in this process."""

from __future__ import annotations

from pathlib import Path

import pytest
from viewmill.cli import main

from ..shards import shard


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main(["pack", *map(str, words)])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize("words", [["--help"], ["-h"], []])
def test_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = said(capsys, *words)
    assert (status, err) == (0, "") and "shard_bytes=" in out and "--ray" in out


@pytest.mark.parametrize(("words", "line"), [
    (["x.tar"], "pack needs a source and a folder"), (["a", "b", "shortst=3"], "did you mean 'shortest'?"),
    (["a", "b", "--jsn"], "did you mean '--json'?"), (["no-such", "out"], "no-such: does not exist"),
    (["--index-only"], "pack --index-only needs tars"), (["pipe:true", "out"], "--allow-pipe"),
    (["nosuch://x/y.tar", "out"], "nosuch"), (["x-{0..}.tar", "out"], "does not exist"),
])
def test_mistakes_are_one_line_and_status_2(words: list[str], line: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = said(capsys, *words)
    assert (status, out) == (2, "") and line in err and err.count("\n") == 1 and err.startswith("viewmill: ")
    assert list(tmp_path.glob("out/*.tar")) == []


def test_several_sources_and_index_only(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sources = [shard(tmp_path / f"{i}.tar", 4, 4 * i) for i in range(3)]
    status, out, err = said(capsys, *sources, tmp_path / "out", "workers=1", "name=train")
    assert (status, err) == (0, "") and "12 of 12" in out and (tmp_path / "out" / "train-000000.tar").exists()
    status, out, err = said(capsys, "--index-only", *sources)
    assert (status, err) == (0, "") and (tmp_path / "2.tar.index").exists() and (tmp_path / "shards.catalogue").exists()
