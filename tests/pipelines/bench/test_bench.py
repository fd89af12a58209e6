"""A whole small run: arms are measured, what cannot be is left out with its reason, and nothing is left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from viewmill import Recipe, View
from viewmill.augment.ops import Crop, Flip, Normalize, Rotate
from viewmill.pipelines import bench as benchmark
from viewmill.pipelines.bench import Settings, bench
from viewmill.pipelines.bench import stages as staging
from viewmill.pipelines.bench.files import Files, Folder, at_least, chosen, resized
from viewmill.pipelines.bench.messages import Spec
from viewmill.pipelines.bench.peers import Peer
from viewmill.pipelines.bench.processes import PROC, tree
from viewmill.pipelines.bench.rounds import Round
from viewmill.pipelines.bench.scaling import table, thread_counts, thread_rows, with_views
from viewmill.pipelines.decode import decode
from viewmill.pipelines.index_file import cache_file
from viewmill.pipelines.source import DataError, open_source

from ..shards import encoded, picture
from ..streams import folder, pictures

TINY = Recipe(name="tiny", views=(View(group="global", count=2, size_px=8, ops=(
    Crop(size_px=8, scale=(0.3, 1.0)), Flip(p=0.5), Normalize(mean=(0.5,) * 3, std=(0.25,) * 3))),))
TURNED = Recipe(name="turned", views=(View(group="global", size_px=8, ops=(
    Crop(size_px=8), Rotate(angles_deg=(0, 90), pick="random", direction="counter-clockwise"))),))


def test_a_small_run_measures_its_arms_and_says_what_it_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, said = open_source(folder(tmp_path, 12)), []
    before = set(tree(os.getpid()))
    monkeypatch.setitem(benchmark.PEERS, "dali", Peer("dali", "DALI", ("no_such_module",), "pip install absent", ()))
    settings = Settings(peers="torchvision,dali", threads=1, rounds=2, batches=2, batch_size=4, images=8, stages=False)
    report = bench(source, [TINY], settings, done=said.append)
    (found,) = report.recipes
    assert [(arm.name, arm.kind, arm.images, len(arm.rounds)) for arm in found.arms] == [
        ("bare decode", "decode", 8, 2), ("viewmill cpu", "viewmill", 8, 2), ("torchvision", "peer", 8, 2)]
    assert {each.name: each.why for each in found.left_out} == {"dali": "not installed: pip install absent"}
    assert all(each.alone > 0 and each.decode > 0 and (each.busy or 0) > 0 for arm in found.arms for each in arm.rounds)
    assert not PROC.is_dir() or all((arm.peak_bytes or 0) > 20e6 for arm in found.arms)
    assert len(said) == 1 and "viewmill cpu" in said[0] and "not installed: pip install absent" in said[0]
    assert set(tree(os.getpid())) <= before  # no process is left


def test_a_recipe_that_a_peer_cannot_do_leaves_it_out_by_op_and_the_run_goes_on(tmp_path: Path) -> None:
    settings = Settings(peers="torchvision", threads=1, rounds=1, batches=1, batch_size=4, images=8, stages=False, memory=False,
                        busy=False)
    (found,) = bench(open_source(folder(tmp_path, 12)), [TURNED], settings).recipes
    assert [arm.name for arm in found.arms] == ["bare decode", "viewmill cpu"]
    assert [(each.name, each.why) for each in found.left_out] == [
        ("torchvision", "torchvision on Pillow has no equal of rotate in this form")]


def test_the_files_of_a_run_are_the_users_spread_evenly_in_shards_none_of_which_is_empty(tmp_path: Path) -> None:
    source = open_source(folder(tmp_path, 12, broken=[0]))
    taken = chosen(source, 4)  # of 0, 3, 7 and 11 the first is broken
    assert taken == [bytes(source.read(i)) for i in (3, 7, 11)]
    with Folder() as place:
        files = place.write(taken, threads=2)
        assert len(files.shards) == 3 and files.count == 3
        assert sorted(files.encoded()) == sorted(taken)
        with pytest.raises(ValueError, match="a batch of 4 images is larger than the 3 files"):
            at_least(files, 4)
        assert all(cache_file(shard).exists() for shard in files.shards)
    assert not any(shard.exists() or cache_file(shard).exists() for shard in files.shards)
    with pytest.raises(DataError, match="not arrays"):
        chosen(open_source(pictures(3)), 3)


def test_a_picture_in_another_size_keeps_its_shape() -> None:
    large = decode(resized(encoded(picture(30, 60)), 0.08))
    assert large.shape == (200, 400, 3)


def test_stages_are_times_of_one_thread(noise: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "SECONDS", 0.05)
    found = staging.stages(Spec("stages", "cpu", TINY, noise, 4, 1))
    assert list(found) == ["plan", "read", "decode", "render", "hand over"]
    assert all(0 <= ms < 1000 for ms in found.values()) and found["decode"] > 0 and found["render"] > 0
    with pytest.raises(ValueError, match="stages cannot be told apart"):
        staging.stages(Spec("stages", "dali", TINY, noise, 4, 1))


def test_threads_are_judged_by_what_decoding_gains() -> None:
    def rounds(*alone: float) -> list[Round]:
        return [Round(1.0, each, 0.0, None, None, None) for each in alone]

    one, two = (rounds(4.0, 4.0), rounds(8.0, 8.0)), (rounds(2.0, 2.0), rounds(5.0, 4.0))
    rows = thread_rows({1: one, 2: two}, {1: 100, 2: 100})
    assert rows[0]["quotient"]["median"] == 1.0 and rows[1]["decode_gain"]["median"] == 2.0
    assert (rows[1]["views_gain"]["low"], rows[1]["views_gain"]["high"]) == pytest.approx((1.6, 2.0))
    assert (rows[1]["quotient"]["low"], rows[1]["quotient"]["median"]) == pytest.approx((0.8, 0.9))
    assert rows[1]["decode_per_second"] == 50.0
    said = table({"by": "threads", "recipe": "r", "rows": rows, "about": "files"})
    assert "with 2 threads views gain 0.90 of what decoding gains" in said


@pytest.mark.parametrize(("cores", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_threads_are_doubled_up_to_all_cores(cores: int, counts: list[int]) -> None:
    assert thread_counts(cores) == counts


def test_more_views_are_copies_of_the_first() -> None:
    assert len(with_views(TINY, 6).instances) == 6 and with_views(TINY, 6).views[0].ops == TINY.views[0].ops


def test_a_size_without_torchvision_still_has_its_row() -> None:
    row = {"megapixels": 12.0, "kilobytes": 3000, "decode_ms": 60.0, "views_ms": 70.0,
           "ratio": {"median": 1.2, "low": 1.1, "high": 1.3}, "left_out": {"torchvision": "broke"}}
    said = table({"by": "megapixels", "recipe": "r", "rows": [row], "about": "files"})
    assert "1.20 (1.10 to 1.30)" in said and "left out: torchvision: broke" in said and "12" in said
