"""solo-learn's own training step on our batches."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import viewmill as vm

from ..streams import SMALL, local


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Its base class. It imports a schedule of lightning-bolts, which no longer goes with today's Lightning."""
    pytest.importorskip("solo", reason="solo-learn is not installed: pip install --no-deps solo-learn")
    pytest.importorskip("pytorch_lightning", reason="pytorch-lightning is not installed: pip install 'viewmill[peers]'")
    for name in ("pl_bolts", "pl_bolts.optimizers", "pl_bolts.optimizers.lr_scheduler"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["pl_bolts.optimizers.lr_scheduler"].LinearWarmupCosineAnnealingLR = object  # type: ignore[attr-defined]
    from solo.methods.base import BaseMethod

    return BaseMethod


def test_its_step_takes_apart_our_batch(base: Any) -> None:
    seen: list[tuple[int, ...]] = []

    def shared(view: torch.Tensor, targets: torch.Tensor) -> dict[str, Any]:
        seen.append((*view.shape, *targets.shape))
        return {"loss": view.mean(), "acc1": 0.0, "acc5": 0.0, "feats": view.mean((2, 3))}

    method = SimpleNamespace(num_crops=5, num_large_crops=2, multicrop=True, knn_eval=False, _base_shared_step=shared,
                             encoder=lambda view: view.mean((2, 3)), log_dict=lambda *_, **__: None)
    with vm.adapt(local(12, 4, recipe=SMALL), to="solo-learn") as batches:
        batch = next(iter(batches))
        outs = base.training_step(method, batch, 0)
    assert seen == [(4, 3, 8, 8, 4)] * 2 and [tuple(f.shape) for f in outs["feats"]] == [(4, 3)] * 5
    assert torch.isfinite(outs["loss"])
    indexes, _, targets = batch
    assert [i % 10 for i in indexes.tolist()] == targets.tolist()
