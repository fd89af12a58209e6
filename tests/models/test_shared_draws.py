"""Chance that all ranks share."""

from __future__ import annotations

import torch
from viewmill.models.shared_draws import SharedDraws

from ..world import World

CPU = torch.device("cpu")


def drawn(times: int) -> list[list[int]]:
    torch.manual_seed(5)
    draws = SharedDraws()
    torch.randn(3 + torch.distributed.get_rank() if torch.distributed.is_initialized() else 3)  # other work draws in between
    return [torch.randint(1000, (4,), generator=draws.generator(CPU)).tolist() for _ in range(times)]


def test_ranks_draw_the_same_and_something_new_each_time(world: World) -> None:
    alone, (first, second) = drawn(3), world(2, drawn, 3)
    assert first == second == alone
    assert len({tuple(numbers) for numbers in alone}) == 3


def test_a_checkpoint_goes_on_where_it_was() -> None:
    draws = SharedDraws()
    draws.generator(CPU)
    state = draws.state_dict()
    following = torch.rand(5, generator=draws.generator(CPU))
    torch.manual_seed(99)
    other = SharedDraws()
    other.load_state_dict(state)
    assert torch.equal(torch.rand(5, generator=other.generator(CPU)), following)
    assert not torch.equal(torch.rand(5, generator=SharedDraws().generator(CPU)), following)


def test_other_seeds_draw_otherwise() -> None:
    torch.manual_seed(1)
    first = torch.rand(5, generator=SharedDraws().generator(CPU))
    torch.manual_seed(2)
    assert not torch.equal(torch.rand(5, generator=SharedDraws().generator(CPU)), first)
