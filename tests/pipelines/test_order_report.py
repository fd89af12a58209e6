"""What `order_report` counts, on small sets: shares of ranks and nodes, and how orders mix sorted data. Never a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from viewmill.pipelines.order import Order

from . import order_report
from .order_fetched import balance, cache_shards, fetched, lanes_of_node, of_all_nodes, samples_of_ranks
from .order_scale import BATCH_SIZE, first_batch, write_simulated
from .shuffle_quality import Quality, Sorted, between_epochs, expected_classes, ours, webdataset

SORTED = Sorted(classes=100, each=80, shards=40)


def test_ranks_share_an_epoch_to_one_sample() -> None:
    """1,281 samples, five ranks, batches of seven: steps of 35, of which 36 are whole, and 21 samples of a last, short one."""
    assert samples_of_ranks(1281, 7, 5, "drop").tolist() == [252] * 5
    assert samples_of_ranks(1281, 7, 5, "short").tolist() == [257, 256, 256, 256, 256]
    assert balance() == (432, 1)


@pytest.mark.parametrize(("world_size", "lanes", "most"), [(8, 256, 1.0), (16, 256, 1.03), (64, 256, 1.1), (24, 264, 1.1),
                                                           (40, 280, 1.1)])
def test_of_a_thousand_shards_a_node_fetches_its_share_and_a_tenth_at_most(world_size: int, lanes: int, most: float) -> None:
    found = of_all_nodes(1000, world_size, lanes)
    assert 1.0 <= found.ratio <= most and found.in_use <= found.cache


@pytest.mark.parametrize(("world_size", "nodes"), [(24, 3), (40, 5)])
def test_where_the_ranks_do_not_divide_the_lanes_each_node_fetches_everything(world_size: int, nodes: int) -> None:
    assert lanes_of_node(256, world_size) == 256
    assert of_all_nodes(1000, world_size).ratio == nodes


def test_many_ranks_want_more_shards_for_that() -> None:
    assert of_all_nodes(1000, 256).ratio > 1.1 > of_all_nodes(3500, 256).ratio


def test_shards_fetched_are_counted_as_by_hand() -> None:
    """Two nodes of eight ranks, sixteen lanes, 64 shards: a rank's lane is four shards' worth. With every shard in one window of
    its lane nothing comes twice, so a node fetches the shards that its lanes touch."""
    order = Order([10] * 64, 3, lanes=16, window=16, shuffle="lanes")
    shard = order.index(0, np.arange(640)) // 10
    for node in (0, 1):
        touched = {int(each) for rank in range(8 * node, 8 * node + 8) for each in shard[rank::16]}
        assert fetched(order, 0, node, 16).ratio == len(touched) / 32
    assert cache_shards(order, 16) == 8 * 17


def test_a_first_batch_of_a_simulated_catalogue_is_the_orders(tmp_path: Path) -> None:
    path = tmp_path / "shards.catalogue"
    write_simulated(path, 200, 1000)
    _, index, _ = first_batch(path, 5, 64)
    order = Order([1000] * 200, 0, shuffle="lanes")
    assert np.array_equal(index, order.index(0, np.arange(5, 64 * BATCH_SIZE, 64)))


def test_the_quick_report_has_all_parts(capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("this system does not tell a process's peak of memory")
    order_report.main(quick=True)
    told = capsys.readouterr().out
    for line in ("catalogue: 105,", "rank 5 of 64: ", "ranks differ by at most 1 sample", "| 24 | 256 | 3.000 |",
                 "| lanes | 99.9 "):
        assert line in told


class TestMixing:
    def test_measures_are_those_of_a_batch_by_hand(self) -> None:
        """256 samples of one class and shard, then 256 of 64 classes, 4 each."""
        data = Sorted(classes=64, each=256, shards=64)
        four = (np.arange(64)[:, None] * 256 + np.arange(4)).reshape(-1)
        one = Quality.of(data, np.arange(256))
        several = Quality.of(data, four)
        assert (one.classes, several.classes) == (1, 64)
        chance = 255 / (64 * 256 - 1)
        assert one.class_pairs == one.shard_pairs == pytest.approx(1 / chance)
        assert several.class_pairs == pytest.approx(64 * 6 / (256 * 255 / 2) / chance)
        assert (one.missing, one.twice) == (64 * 256 - 256, 0)

    def test_chance_gives_what_a_full_shuffle_shows(self) -> None:
        found = Quality.of(SORTED, ours(SORTED, "full", 0, 0))
        assert abs(found.classes - expected_classes(SORTED)) < 2
        assert abs(found.shard_pairs - 1) < 0.05 and (found.missing, found.twice) == (0, 0)

    def test_lanes_mix_sorted_data_at_least_as_well(self) -> None:
        found = Quality.of(SORTED, ours(SORTED, "lanes", 0, 0))
        assert found.classes >= expected_classes(SORTED) - 1 and found.shard_pairs < 1.05 and found.class_pairs < 1.05
        assert (found.missing, found.twice) == (0, 0)
        correlation, kept = between_epochs(ours(SORTED, "lanes", 0, 0), ours(SORTED, "lanes", 0, 1))
        assert abs(correlation) < 0.05 and kept < 1.1

    def test_the_same_order_again_is_seen(self) -> None:
        stream = ours(SORTED, "full", 0, 0)
        correlation, kept = between_epochs(stream, stream)
        assert correlation == pytest.approx(1) and kept > 10

    def test_a_buffer_of_a_few_shards_mixes_less(self) -> None:
        pytest.importorskip("webdataset")
        found = Quality.of(SORTED, webdataset(SORTED, 500, 8, 0, 0))
        assert found.classes < 25 and found.shard_pairs > 8 and (found.missing, found.twice) == (0, 0)
