"""Targets of a tokenizer: one from elsewhere, which no checkpoint holds, or the run's own, learnt before the first step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from viewmill.models.dalle_encoder import DalleEncoder
from viewmill.models.distributed import rank, world_size
from viewmill.models.token_targets import TokenTargets, TokenTargetsConfig

from ..world import World

OWN = {"tokenizer": "dvae", "vocabulary": 8, "tokenizer_width": 4, "tokenizer_halvings": 2}


def targets(**fields: object) -> TokenTargets:
    torch.manual_seed(0)
    return TokenTargets(TokenTargetsConfig(**fields), 3)  # type: ignore[arg-type]


def pictures(count: int = 16, side: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 0.8 + 0.1


def squares(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    colours = torch.tensor([[0.1, 0.1, 0.9], [0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.9, 0.9, 0.9]])
    which = torch.randint(4, (count, 2, 2), generator=generator)
    return colours[which].movedim(-1, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)


def test_one_from_elsewhere_is_opened_once_and_kept_out_of_the_state(tmp_path: Path) -> None:
    torch.manual_seed(0)
    dalle = DalleEncoder(8, 16)
    torch.save(dalle.state_dict(), tmp_path / "encoder.pt")
    of = targets(tokenizer=str(tmp_path), vocabulary=16)
    assert not of.wants_pass(0)
    of.open()
    (tmp_path / "encoder.pt").unlink()
    of.open()
    codes = of.codes(pictures(2, 16), (2, 2))
    assert torch.equal(codes, dalle(pictures(2, 16)).argmax(1).flatten(1)) and of.paint(codes, (2, 2)) is None
    assert not list(of.parameters()) and not of.state_dict()


def test_its_own_is_asked_a_pass_before_the_first_step_and_then_frozen() -> None:
    of = targets(**OWN)
    assert of.wants_pass(0) and not of.wants_pass(0.01)
    before = {name: value.clone() for name, value in of.state_dict().items()}
    with torch.no_grad():
        of.observe(pictures())
    of.open()
    assert not any(p.requires_grad or p.grad is not None for p in of.parameters())
    assert all(not torch.equal(value, before[name]) for name, value in of.state_dict().items() if name.endswith("weight"))
    again = targets(**OWN)
    again.load_state_dict(of.state_dict())
    codes = again.codes(pictures(2), (2, 2))
    assert torch.equal(codes, of.codes(pictures(2), (2, 2))) and codes.shape == (2, 4)
    painted = again.paint(codes, (2, 2))
    assert painted is not None and painted.shape == (2, 3, 8, 8)


def test_its_own_learns_codes_from_which_pictures_can_be_painted() -> None:
    of = targets(**{**OWN, "tokenizer_width": 16})
    with torch.no_grad():
        for step in range(200):
            of.observe(squares(32, step))
    images = squares(64, 999)
    codes = of.codes(images, (2, 2))
    painted = of.paint(codes, (2, 2))
    assert painted is not None and float((painted - images).square().mean()) < 0.5 * float(images.var())
    assert len(codes.unique()) >= 4


def watched(images: int) -> dict[str, torch.Tensor]:
    of = targets(**OWN)
    with torch.no_grad():
        for step in range(2):
            of.observe(pictures(images, seed=step)[rank() * images // world_size() : (rank() + 1) * images // world_size()])
    return dict(of.state_dict())


@pytest.mark.parametrize("ranks", [2, 3])
def test_all_ranks_learn_the_tokenizer_of_one_process(world: World, ranks: int) -> None:
    alone = watched(12)
    for of in world(ranks, watched, 12):
        for name, value in alone.items():
            torch.testing.assert_close(of[name], value, rtol=1e-3, atol=1e-4)  # Adam divides small gradients by themselves


def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model.tokenizer=dvae trains one of its own .*; model.tokenizer=PLACE takes"):
        targets().open()
    torch.save(DalleEncoder(8, 16).state_dict(), tmp_path / "encoder.pt")
    with pytest.raises(ValueError, match=r"has 16 codes, the method model.vocabulary=8192; use model.vocabulary=16"):
        targets(tokenizer=str(tmp_path)).open()
    with pytest.raises(ValueError, match=r"views of 16 x 16 px in group 'target' have 4 x 4 codes of 4 px, the backbone has "
                                         "8 x 8 patches; use recipe.target.size_px=32"):
        targets(**OWN).codes(pictures(2, 16), (8, 8))
    with pytest.raises(ValueError, match=r"model.tokenizer=dvae needs values in \[0.1, 0.9\]"):
        targets(**OWN).observe(pictures() * 2.5 - 1.25)
    with pytest.raises(ValueError, match=r"model.tokenizer_width needs a whole number of at least 1, got 0"):
        targets(tokenizer_width=0)
