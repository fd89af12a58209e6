"""Instance Discrimination: what is compared with which row, when the memory moves, and that a run goes on with it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from viewmill.models.instdisc import InstDisc, InstDiscConfig

from .batches import batch_of, random_views


def small(images: int | None = 12, **fields: Any) -> InstDisc:
    torch.manual_seed(0)
    return InstDisc(InstDiscConfig(**{"backbone": "convnet4", "dim": 8, "negatives": 0, "temperature": 0.2, **fields}),
                    image_px=16, images=images)


def some(*index: int) -> Any:
    batch = batch_of(random_views(1, len(index), 16))
    batch.index = torch.tensor(index)
    return batch


def test_each_image_is_told_from_all_rows_by_a_softmax() -> None:
    method, batch = small().eval(), some(7, 2, 11)
    rows = method.bank.rows.local.double().numpy()
    with torch.no_grad():
        features = method.projector(method.encoder(batch.views["global"][0])).double().numpy()
        values = method(batch)
    z = features / np.linalg.norm(features, axis=1, keepdims=True)
    logits = z @ rows.T / 0.2
    expected = np.mean([math.log(np.exp(row).sum()) - row[i] for row, i in zip(logits, (7, 2, 11), strict=True)])
    assert float(values["loss"]) == pytest.approx(float(expected), rel=1e-5)
    assert float(values["accuracy"]) == pytest.approx(np.mean(logits.argmax(1) == np.array([7, 2, 11])))


def test_the_memory_moves_after_a_step_of_training_and_not_when_judged() -> None:
    method, batch = small(), some(7, 2, 11)
    before = method.bank.rows.local.clone()
    with torch.no_grad():
        method(batch)
        method.after_step(0.1)
        moved = (method.bank.rows.local != before).any(1).nonzero()[:, 0].tolist()
        again = method.bank.rows.local.clone()
        method.eval()(batch)
        method.after_step(0.2)
    assert moved == [2, 7, 11] and torch.equal(method.bank.rows.local, again)


def test_the_proximal_term_is_added_with_its_weight() -> None:
    batch = some(7, 2, 11)
    plain, near = (small(proximal=weight).eval()(batch)["loss"] for weight in (0.0, 3.0))
    method = small().eval()
    rows, z = method.bank.rows.local[[7, 2, 11]], method.embed(batch.views["global"][0])
    torch.testing.assert_close(near - plain, 3 * ((z - rows) ** 2).sum(1).mean())


def test_with_negatives_it_is_the_papers_estimate() -> None:
    method, batch = small(negatives=5), some(7, 2, 11)
    values = method(batch)
    values["loss"].backward()
    assert method.bank.z > 0 and method.projector.weight.grad is not None and 0 <= float(values["accuracy"]) <= 1


def test_the_softmax_over_what_is_drawn_is_an_option() -> None:
    method, batch = small(negatives=5, law="softmax"), some(7, 2, 11)
    loss, most = float(method(batch)["loss"].detach()), 1 / 0.2  # logits are in +-1 / temperature
    assert 0 < loss < math.log(6) + 2 * most and method.bank.z == 0


def test_the_network_begins_the_same_with_and_without_a_memory() -> None:
    with_it, without = small(), small(None)
    for name, parameter in with_it.named_parameters():
        assert torch.equal(parameter, dict(without.named_parameters())[name])
    without.load_state_dict(with_it.state_dict())
    with pytest.raises(ValueError, match="needs the number of images"):
        without(some(1, 2))


@pytest.mark.parametrize(("fields", "message"), [
    ({"dim": 0}, "model.dim needs a whole number of at least 1, got 0"), ({"negatives": -1}, "model.negatives"),
    ({"temperature": 0.0}, "model.temperature"), ({"bank_momentum": 1.0}, "model.bank_momentum"),
    ({"proximal": -1.0}, "model.proximal")])
def test_fields_that_make_no_sense_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**fields)
