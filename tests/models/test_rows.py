"""Rows for every image: where they are, what is read and written, the way to a checkpoint and back, for any number of ranks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from viewmill.models import rows as module
from viewmill.models.distributed import rank, world_size
from viewmill.models.rows import ShardedRows, take_rows, whole_rows

from ..world import World


def test_row_i_is_on_rank_i_mod_w(world: World) -> None:
    torch.manual_seed(0)
    whole = ShardedRows(10, 4, "uniform").local
    for ranks in (2, 3):
        for number, local in enumerate(world(ranks, begun, 10, "uniform")):
            assert torch.equal(local, whole[number::ranks])


def test_blocks_need_not_be_a_multiple_of_the_ranks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 5)
    torch.manual_seed(0)
    whole = ShardedRows(13, 4, "unit").local
    assert all(torch.equal(local, whole[number::3]) for number, local in enumerate(world(3, begun, 13, "unit", 5)))


def begun(images: int, start: str, block: int = 1 << 16) -> torch.Tensor:
    module.BLOCK = block
    return ShardedRows(images, 4, start).local  # type: ignore[arg-type]


def test_how_rows_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    uniform = ShardedRows(2000, 48, "uniform").local
    assert uniform.abs().max() <= math.sqrt(3 / 48) and uniform.std() == pytest.approx(1 / math.sqrt(48), rel=0.02)
    torch.testing.assert_close(ShardedRows(50, 7, "unit").local.norm(dim=1), torch.ones(50))
    assert not ShardedRows(5, 3).local.any()
    monkeypatch.setattr(module, "BLOCK", 6)  # drawn in blocks of 6, 6 and 3
    assert ShardedRows(15, 4, "unit").local.shape == (15, 4)


def written_and_read() -> tuple[torch.Tensor, torch.Tensor]:
    rows = ShardedRows(7, 2)
    rows.write(torch.tensor([6, 1, 4, 1]), torch.arange(8.0).view(4, 2))  # row 1 twice: the last stands
    return rows.read(torch.tensor([1, 6, 0, 4])), rows.local


@pytest.mark.parametrize("ranks", [2, 3])
def test_what_is_written_on_one_rank_is_read_on_all(world: World, ranks: int) -> None:
    expected = torch.tensor([[6.0, 7], [0, 1], [0, 0], [4, 5]])
    assert torch.equal(written_and_read()[0], expected)
    for number, (read, local) in enumerate(world(ranks, written_and_read)):
        assert torch.equal(read, expected) and torch.equal(local, written_and_read()[1][number::ranks])


class Holder(nn.Module):
    def __init__(self, images: int) -> None:
        super().__init__()
        self.bank = ShardedRows(images, 3, "unit")


def gathered_and_taken_back() -> tuple[dict[str, torch.Tensor], bool]:
    module.BLOCK = 2  # several blocks, the last one short
    torch.manual_seed(rank())
    holder = Holder(11)
    holder.bank.local.copy_(torch.arange(33.0).view(11, 3)[rank() :: world_size()])
    whole, other = whole_rows(holder), Holder(11)
    known = {"bank": torch.arange(33.0).view(11, 3)}
    take_rows(other, known)
    module.BLOCK = 1 << 16
    return whole, torch.equal(other.bank.local, holder.bank.local)


@pytest.mark.parametrize("ranks", [2, 3])
def test_a_checkpoint_holds_all_rows_in_order_and_any_number_of_ranks_takes_its_own(world: World, ranks: int) -> None:
    (first, same), *others = world(ranks, gathered_and_taken_back)
    assert torch.equal(first["bank"], torch.arange(33.0).view(11, 3)) and same
    assert all(whole == {} and same for whole, same in others)
    alone = Holder(11)
    take_rows(alone, first)
    assert torch.equal(alone.bank.local, first["bank"]) and alone.state_dict() == {}


def test_rows_of_other_data_are_refused() -> None:
    with pytest.raises(RuntimeError, match=r"rows 'bank' are \(11, 3\) in the checkpoint and \(12, 3\) here"):
        take_rows(Holder(12), whole_rows(Holder(11)))
    with pytest.raises(RuntimeError, match="only one of checkpoint and network has rows 'bank'"):
        take_rows(Holder(12), {})
    with pytest.raises(ValueError, match="image 12 of data that had 12"):
        Holder(12).bank.read(torch.tensor([3, 12]))
    with pytest.raises(ValueError, match="start needs 'zeros', 'uniform' or 'unit', got 'ones'"):
        ShardedRows(3, 2, "ones")  # type: ignore[arg-type]
