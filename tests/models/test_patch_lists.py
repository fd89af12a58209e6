"""Lists of patches: by hand, cut and filled up; and that nobody looks at what fills them up."""

from __future__ import annotations

import pytest
import torch
from viewmill.models.backbone import transformer_blocks
from viewmill.models.patch_lists import PatchLists, gathered, lists_of, through


def chosen(*rows: str) -> torch.Tensor:
    """(N, 2, 3) bool, x for a chosen patch."""
    return torch.tensor([[c == "x" for c in row] for row in rows]).view(-1, 2, 3)


MASKS = chosen("..x.xx", "x....x", "xx.x..")


def test_cut_to_the_shortest_list_by_hand() -> None:
    lists = lists_of(MASKS, cut=True, what="context")
    assert lists.index.tolist() == [[2, 4], [0, 5], [0, 1]] and lists.real is None
    assert float(lists.mean_length) == 2 and lists.all_real().all()


def test_filled_up_to_the_longest_list_by_hand() -> None:
    lists = lists_of(MASKS, cut=False, what="context")
    assert lists.real is not None and lists.real.tolist() == [[True] * 3, [True, True, False], [True] * 3]
    assert [row[real].tolist() for row, real in zip(lists.index, lists.real, strict=True)] == [[2, 4, 5], [0, 5], [0, 1, 3]]
    assert float(lists.mean_length) == pytest.approx(8 / 3)
    values = torch.arange(9.0).view(3, 3, 1)
    assert lists.rows(values).flatten().tolist() == [0, 1, 2, 3, 4, 6, 7, 8]


def test_lists_of_one_length_are_not_filled_up() -> None:
    assert lists_of(chosen("..x.xx", "xx.x.."), cut=False, what="context").real is None


def test_blocks_of_an_image_have_lists_of_their_own() -> None:
    lists = lists_of(MASKS[None].expand(2, -1, -1, -1), cut=False, what="block")
    assert lists.index.shape == (2, 3, 3) and lists.rows(torch.zeros(2, 3, 3, 5)).shape == (16, 5)


def test_gathered_are_the_values_of_the_listed_patches() -> None:
    values = torch.arange(12.0).view(2, 6, 1) * torch.tensor([1.0, -1.0])
    index = torch.tensor([[[0, 2], [5, 5]], [[1, 0], [3, 4]]])
    assert gathered(values, index)[..., 0].tolist() == [[[0, 2], [5, 5]], [[7, 6], [9, 10]]]
    assert gathered(values, index[:, 0])[..., 1].tolist() == [[0, -2], [-7, -6]]


def test_tokens_that_do_not_count_change_nothing() -> None:
    torch.manual_seed(0)
    blocks, x = transformer_blocks(16, 2, 2).eval(), torch.randn(2, 5, 16)
    real = torch.tensor([[True, True, True, False, False], [True] * 5])
    with torch.no_grad():
        made = through(blocks, x, real)
        torch.testing.assert_close(made[:1, :3], through(blocks, x[:1, :3], None))
        torch.testing.assert_close(made[1:], through(blocks, x[1:], None))
        torch.testing.assert_close(through(blocks, x, None), blocks(x))
        other = torch.where(real[:, :, None], x, 9.0)
        assert torch.equal(through(blocks, other, real)[real], made[real])


@pytest.mark.parametrize("cut", [True, False])
def test_an_empty_list_is_refused(cut: bool) -> None:
    with pytest.raises(ValueError, match="every block needs at least one patch, and one of this batch has none; use a recipe"):
        lists_of(chosen("..x.xx", "......"), cut=cut, what="block")


def test_lists_go_to_a_device() -> None:
    lists = PatchLists(torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, 3, dtype=torch.bool)).to(torch.device("meta"))
    assert lists.index.is_meta and lists.real is not None and lists.real.is_meta


@pytest.mark.parametrize("cut", [True, False])
def test_a_mask_of_the_listed_patches_is_what_they_were_chosen_by(cut: bool) -> None:
    masks = chosen("..x.xx", "x....x", "xx...x")
    found = lists_of(masks, cut=cut, what="context").mask(6)
    expected = chosen("..x.x.", "x....x", "xx....") if cut else masks
    assert torch.equal(found, expected.flatten(1))
    assert torch.equal(lists_of(masks, cut=cut, what="context").first(2).mask(6), expected.flatten(1)[:2])
