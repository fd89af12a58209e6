"""Patterns -> files, and one line naming the pattern and the way out for those that mean nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from viewmill.pipelines.faults import DataError
from viewmill.pipelines.patterns import expand


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("train-0002.tar", "train-0000.tar", "train-0001.tar", "train-0010.tar", "test-0.tar", "odd{1..2}[x].tar"):
        (tmp_path / name).touch()
    (tmp_path / "more" / "deep").mkdir(parents=True)
    (tmp_path / "more" / "deep" / "train-0.tar").touch()
    return tmp_path


def names(*patterns: str | Path) -> list[str]:
    return [str(path) for path in expand(patterns)]


def test_braces_count_with_leading_zeros_in_the_order_written() -> None:
    assert names("train-{0000..0002}.tar") == ["train-0000.tar", "train-0001.tar", "train-0002.tar"]
    assert names("train-{0010,0001}.tar") == ["train-0010.tar", "train-0001.tar"]


def test_globs_are_sorted_by_name() -> None:
    assert names("train-*.tar") == ["train-0000.tar", "train-0001.tar", "train-0002.tar", "train-0010.tar"]
    assert names("more/**/*.tar") == ["more/deep/train-0.tar"]
    assert names("train-000[12].tar") == ["train-0001.tar", "train-0002.tar"]


def test_braces_around_globs() -> None:
    assert names("{test,train}-*.tar") == ["test-0.tar", "train-0000.tar", "train-0001.tar", "train-0002.tar",
                                           "train-0010.tar"]


def test_lists_stay_in_order() -> None:
    assert names("train-0002.tar", "test-*.tar", Path("train-0000.tar")) == ["train-0002.tar", "test-0.tar", "train-0000.tar"]


def test_a_file_that_exists_is_taken_by_its_name_whatever_is_in_it() -> None:
    assert names("odd{1..2}[x].tar") == ["odd{1..2}[x].tar"]


def test_the_home_folder_and_file_addresses(here: Path) -> None:
    assert names("~/test-0.tar") == [f"{here}/test-0.tar"]
    assert names(f"file://{here}/test-0.tar") == [f"{here}/test-0.tar"]


@pytest.mark.parametrize(("patterns", "message"), [
    (["none.tar"], r"^none\.tar: does not exist \(.* has 6 tars, the first is odd.*\): check the path$"),
    (["none-*.tar"], r"^none-\*\.tar: matches no file \(.* has 6 tars"),
    (["x-{0..3}.tar"], r"^x-\{0\.\.3\}\.tar: matches no file \("),
    (["nowhere/x.tar"], r"^nowhere/x\.tar: does not exist \(there is no folder .*nowhere\): check the path$"),
    (["more/x.tar"], r"^more/x\.tar: does not exist \(.*more has no tars\): check the path$"),
    (["train-{0000..0004}.tar"],
     r"^train-\{0000\.\.0004\}\.tar: 2 of 5 files do not exist, the first is train-0003\.tar: fetch them"),
    (["train-{0000..0002.tar"], r"^train-\{0000\.\.0002\.tar: braces do not pair"),
    (["train-*.tar", "./train-0001.tar"], r"^train-0001\.tar: given twice \(also as train-0001\.tar\): .*drop one$"),
    (["s3://bucket/x-{0..9}.tar"],
     r"^s3://bucket/x-\{0\.\.9\}\.tar: a s3:// address where local files are needed: give addresses alone"),
    (["https://host/x.tar"], "a https:// address where local files are needed"),
    (["pipe:curl x"], "pipe:curl x: a command, which is not run .*viewmill pack --allow-pipe"),
    ([""], "an empty path"),
])
def test_one_line_names_the_pattern_and_the_way_out(patterns: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        expand(patterns)
    assert "\n" not in str(error.value)


def test_a_link_to_a_shard_given_too_is_given_twice(here: Path) -> None:
    (here / "link.tar").symlink_to(here / "test-0.tar")
    with pytest.raises(DataError, match=r"link\.tar: given twice \(also as test-0\.tar\)"):
        expand(["test-0.tar", "link.tar"])
