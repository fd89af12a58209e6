"""lightly's SimCLR and DINO examples for Lightning, in short: their modules and losses, their trainer, and one line changed."""

from __future__ import annotations

import copy
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import viewmill as vm
from torch import nn

from ..streams import SMALL, data, folder

os.environ.setdefault("LIGHTLY_DID_VERSION_CHECK", "True")  # or it asks a server
WHY = "is not installed: docs/plug-in.md says how to get it"
lightly = pytest.importorskip("lightly", reason=f"lightly {WHY}")
pl = pytest.importorskip("pytorch_lightning", reason=f"pytorch-lightning {WHY}")

from lightly.data import LightlyDataset  # noqa: E402
from lightly.data.multi_view_collate import MultiViewCollate  # noqa: E402
from lightly.loss import DINOLoss, NTXentLoss  # noqa: E402
from lightly.models.modules import DINOProjectionHead, SimCLRProjectionHead  # noqa: E402
from lightly.models.utils import deactivate_requires_grad, update_momentum  # noqa: E402
from lightly.transforms.dino_transform import DINOTransform  # noqa: E402
from lightly.transforms.simclr_transform import SimCLRTransform  # noqa: E402
from lightly.utils.scheduler import cosine_schedule  # noqa: E402

TWO = vm.Recipe((vm.View(group="global", count=2, size_px=8, ops=SMALL.views[0].ops),), name="two")


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1))


class Watched(pl.LightningModule):
    """losses: one a step."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class SimCLR(Watched):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head, self.criterion = network(), SimCLRProjectionHead(8, 8, 8), NTXentLoss()

    def training_step(self, batch: Any, number: int) -> torch.Tensor:
        (first, second), _, _ = batch
        loss = self.criterion(*(self.head(self.backbone(view).flatten(1)) for view in (first, second)))
        self.losses.append(loss.item())
        return loss


class DINO(Watched):
    def __init__(self) -> None:
        super().__init__()
        self.student, self.head = network(), DINOProjectionHead(8, 16, 8, 32, freeze_last_layer=1)
        self.teacher, self.teacher_head = copy.deepcopy(self.student), DINOProjectionHead(8, 16, 8, 32)
        deactivate_requires_grad(self.teacher)
        deactivate_requires_grad(self.teacher_head)
        self.criterion = DINOLoss(output_dim=32, warmup_teacher_temp_epochs=5)

    def training_step(self, batch: Any, number: int) -> torch.Tensor:
        momentum = cosine_schedule(self.current_epoch, 10, 0.996, 1)
        update_momentum(self.student, self.teacher, m=momentum)
        update_momentum(self.head, self.teacher_head, m=momentum)
        views, _, _ = batch
        views = [view.to(self.device) for view in views]
        taught = [self.teacher_head(self.teacher(view).flatten(1)) for view in views[:2]]
        learnt = [self.head(self.student(view).flatten(1)) for view in views]
        loss = self.criterion(taught, learnt, epoch=self.current_epoch)
        self.losses.append(loss.item())
        return loss

    def on_after_backward(self) -> None:
        self.head.cancel_last_layer_gradients(current_epoch=self.current_epoch)


def trainer(root: Path, **more: Any) -> Any:
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    given = {"max_epochs": 2, "enable_checkpointing": False, **more}
    return pl.Trainer(accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
                      default_root_dir=root, **given)


def theirs(root: Path, transform: Any, batch_size: int) -> Any:
    dataset = LightlyDataset(str(folder(root, 16)), transform=transform)
    return torch.utils.data.DataLoader(dataset, batch_size, collate_fn=MultiViewCollate(), drop_last=True)


@pytest.mark.parametrize(("kind", "recipe", "transform"), [
    (SimCLR, TWO, SimCLRTransform(input_size=8)),
    (DINO, SMALL, DINOTransform(global_crop_size=8, local_crop_size=6, n_local_views=3)),
])
def test_an_example_trains_on_our_loader_in_place_of_its_own(kind: type[Watched], recipe: vm.Recipe, transform: Any,
                                                             tmp_path: Path) -> None:
    before = theirs(tmp_path, transform, 8)
    after = vm.adapt(vm.Loader(data(16), recipe, 8, sidecar=False), to="lightly")
    theirs_batch, ours_batch = next(iter(before)), next(iter(after))
    assert [type(part) for part in theirs_batch] == [type(part) for part in ours_batch]
    assert [(v.shape, v.dtype) for v in theirs_batch[0]] == [(v.shape, v.dtype) for v in ours_batch[0]]
    assert theirs_batch[1].shape == ours_batch[1].shape and len(theirs_batch[2]) == len(ours_batch[2])
    for batches in (before, after):
        torch.manual_seed(0)
        model = kind()
        weights = [p.detach().clone() for p in model.parameters() if p.requires_grad]
        trainer(tmp_path).fit(model, batches)
        assert len(model.losses) >= 3 and all(map(torch.isfinite, torch.tensor(model.losses)))
        trained = [p for p in model.parameters() if p.requires_grad]
        assert any(not torch.equal(a, b) for a, b in zip(weights, trained, strict=True))


class Shown(Watched):
    """seen: the names of each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.seen = nn.Linear(3, 1), list[tuple[str, ...]]()

    def training_step(self, batch: Any, number: int) -> torch.Tensor:
        views, _, names = batch
        self.seen.append(tuple(names))
        return self.layer(views[0].mean((2, 3))).square().mean()


def module(batches: int = 16) -> Any:
    return vm.adapt(vm.Loader(data(batches), SMALL, 4, sidecar=False), to="lightning", batch="lightly")


def test_a_data_module_shows_each_epoch_and_goes_on_within_one_from_a_checkpoint(tmp_path: Path) -> None:
    whole = Shown()
    trainer(tmp_path).fit(whole, datamodule=module())
    assert len(whole.seen) == 8 and len({name for batch in whole.seen[:4] for name in batch}) == 16
    assert whole.seen[:4] != whole.seen[4:]
    kept, later = Shown(), Shown()
    keeper = pl.callbacks.ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=6, save_top_k=-1)
    trainer(tmp_path, enable_checkpointing=True, callbacks=[keeper]).fit(kept, datamodule=module())
    trainer(tmp_path).fit(later, datamodule=module(), ckpt_path=tmp_path / "step=6.ckpt", weights_only=False)
    assert kept.seen == whole.seen and later.seen == whole.seen[6:]


def test_a_data_module_validates_with_a_second_loader_and_names_forms_that_are_none(tmp_path: Path) -> None:
    validation = vm.Loader(data(8), SMALL, 4, sidecar=False, shuffle="none")
    both = vm.adapt(vm.Loader(data(16), SMALL, 4, sidecar=False), to="lightning", batch="lightly", validation=validation)
    names: list[str] = []

    class Validated(Shown):
        def validation_step(self, batch: Any, number: int) -> None:
            names.extend(batch[2])

    model = Validated()
    trainer(tmp_path, max_epochs=1, num_sanity_val_steps=0).fit(model, datamodule=both)
    assert names == [str(i) for i in range(8)] and len(model.seen) == 4
    with pytest.raises(ValueError, match=r"batch needs one of torch, crops, lightly, .*got 'lightning'"):
        vm.adapt(vm.Loader(data(16), SMALL, 4, sidecar=False), to="lightning", batch="lightning")
