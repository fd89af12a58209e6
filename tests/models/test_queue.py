"""The queue of keys: first in, first out, and the same on every rank."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from viewmill.models.distributed import Kept, gather, leave_alone, rank
from viewmill.models.queue import Queue

from ..world import World


def key(degrees: float) -> list[float]:
    angle = torch.tensor(degrees).deg2rad()
    return [float(angle.cos()), float(angle.sin())]


def keys(*degrees: float, length: float = 1.0) -> Tensor:
    return length * torch.tensor([key(d) for d in degrees])


def test_the_oldest_make_room_by_hand() -> None:
    queue = Queue(6, 2, name="model.queue")
    for step in range(3):
        queue.push(keys(20 * step, 20 * step + 10, length=step + 0.5))  # 0 10, 20 30, 40 50
    torch.testing.assert_close(queue.keys, keys(0, 10, 20, 30, 40, 50))
    assert int(queue.pointer) == 0
    queue.push(keys(60, 70))
    torch.testing.assert_close(queue.keys, keys(60, 70, 20, 30, 40, 50))
    queue.push(keys(80, 90))
    torch.testing.assert_close(queue.keys, keys(60, 70, 80, 90, 40, 50))
    assert int(queue.pointer) == 4


def test_at_first_it_holds_random_directions() -> None:
    torch.manual_seed(0)
    queue = Queue(4096, 3, name="model.queue")
    torch.testing.assert_close(queue.keys.norm(dim=1), torch.ones(4096))
    assert float(queue.keys.mean(0).abs().max()) < 0.05
    torch.testing.assert_close(queue.keys.var(0), torch.full((3,), 1 / 3), rtol=0.1, atol=0)


def test_a_checkpoint_has_the_keys_and_the_place() -> None:
    queue, again = Queue(4, 2, name="model.queue"), Queue(4, 2, name="model.queue")
    queue.push(keys(10, 20))
    assert sorted(queue.state_dict()) == ["keys", "pointer"]
    again.load_state_dict(queue.state_dict())
    again.push(keys(30, 40))
    torch.testing.assert_close(again.keys, keys(10, 20, 30, 40))


def test_half_precision_is_kept_in_single_precision_and_no_gradient_comes_in() -> None:
    queue = Queue(2, 2, name="model.queue")
    queue.push(keys(10, 20, length=3).bfloat16().requires_grad_())
    assert queue.keys.dtype == torch.float32 and not queue.keys.requires_grad
    torch.testing.assert_close(queue.keys.norm(dim=1), torch.ones(2))


class Holder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.queue = Queue(8, 2, name="model.queue")

    def forward(self, x: Tensor) -> Tensor:
        self.queue.push(gather(x)[0])
        return self.layer(x)


def pushed_by_ranks(count: int) -> tuple[Tensor, int]:
    holder = Holder()
    leave_alone(holder)
    model = nn.parallel.DistributedDataParallel(holder)
    for step in range(3):
        model(keys(*(100 * step + 10 * rank() + i for i in range(count))))
    return holder.queue.keys, int(holder.queue.pointer)


def test_every_rank_has_the_keys_of_all_in_order_of_rank(world: World) -> None:
    # Three steps of four keys into eight places: the third step's replace the first's.
    expected = keys(200, 201, 210, 211, 100, 101, 110, 111)
    for held, pointer in world(2, pushed_by_ranks, 2):
        torch.testing.assert_close(held, expected)
        assert pointer == 4


def test_ranks_do_not_send_it_to_each_other() -> None:
    assert isinstance(Queue(2, 2, name="model.queue"), Kept)


def test_what_does_not_fit_is_refused() -> None:
    queue = Queue(10, 2, name="model.queue")
    with pytest.raises(ValueError, match=r"model\.queue=10 needs to be a multiple of batch_size=4, .*; use model\.queue=8"):
        queue.push(torch.ones(4, 2))
    with pytest.raises(ValueError, match=r"model\.queue=10 needs to be a multiple of batch_size=16, .*; use model\.queue=16"):
        queue.push(torch.ones(16, 2))
    with pytest.raises(ValueError, match=r"model\.support and its keys' width need whole numbers of at least 1, got 0 and 2"):
        Queue(0, 2, name="model.support")
