"""Distillation as a whole: the student comes to answer as the teacher does, whatever the labels say, or with some of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from viewmill.augment.presets import recipe
from viewmill.evaluation.distill import DISTILLATIONS, DistillConfig, run, same_pictures
from viewmill.evaluation.encoder import Encoder
from viewmill.evaluation.finetune import FinetuneConfig
from viewmill.evaluation.finetune import run as finetune
from viewmill.evaluation.finetune.config import peak
from viewmill.evaluation.finetune.protocol import Tuned
from viewmill.evaluation.finetune.saved import open_classifier
from viewmill.evaluation.labels import labelled
from viewmill.evaluation.opening import open_encoder
from viewmill.evaluation.pictures import Pictures, evaluation_recipe
from viewmill.pipelines.source import open_source

from .finetune.test_protocol import vit
from .tasks import SIDE, pictures, task

SHORT: dict[str, Any] = {"batch_size": 20, "epochs": 3, "sidecar": False}


def small(view: str = "probe", seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    encoder = open_encoder("convnet4", pretrained=False, image_px=SIDE)
    encoder.view = evaluation_recipe(recipe(view), SIDE)
    return encoder


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One that tells the five colours apart."""
    folder = tmp_path_factory.mktemp("teacher")
    result = finetune(task(folder, encoder=small()), FinetuneConfig(**{**SHORT, "epochs": 6}))
    assert result["top1"] > 0.5
    return str(folder)


def blind(images: int = 200) -> Pictures:
    """The pictures that others learn from, without a label."""
    like = pictures(images, 5, 1)
    shown = np.stack([np.asarray(like.source.read(int(i))) for i in like.index])
    return Pictures(open_source((shown, np.full(images, -1))), None, "data=blind", 1, unlabelled=True)


def agreement(folder: Path, name: str, teacher: str, shown: Pictures) -> float:
    """Share of the pictures that both answer alike."""
    one, other = open_classifier(str(folder / name)), open_classifier(teacher)
    same = [one(piece.images).argmax(1) == other(piece.images).argmax(1) for piece in shown.pieces(one.encoder.view)]
    return float(torch.cat(same).double().mean())


def test_without_any_label_the_student_answers_as_the_teacher(tmp_path: Path, teacher: str) -> None:
    here = task(tmp_path, encoder=small(seed=3), train=blind())
    result = run(here, DistillConfig(teacher=teacher, **{**SHORT, "epochs": 8}))
    assert agreement(tmp_path, "distill", teacher, here.test) > 0.8 and result["top1"] > 0.5
    assert (result["labelled_images"], result["train_images"], result["classes"]) == (0, 200, 5)
    assert result["teacher"] == "convnet4, untrained" and result["distill"]["smoothing"] == 0


def test_the_teachers_answers_go_over_wrong_labels_but_for_the_share_of_the_labels(tmp_path: Path, teacher: str) -> None:
    right = pictures(200, 5, 1)
    wrong = Pictures(right.source, None, "data=wrong", 1)
    wrong.label = (wrong.label + 1) % 5
    found = {}
    for alpha in (1.0, 0.02):
        here = task(tmp_path / str(alpha), encoder=small(seed=3), train=wrong)
        result = run(here, DistillConfig(teacher=teacher, alpha=alpha, **{**SHORT, "epochs": 8}))
        found[alpha] = agreement(tmp_path / str(alpha), "distill", teacher, here.test)
        assert result["labelled_images"] == (0 if alpha == 1 else 200)
    assert found[1.0] > 0.8 and found[0.02] < 0.4


def test_one_batch_by_hand(tmp_path: Path, teacher: str) -> None:
    """Teacher in evaluation mode on the student's views; of labels those alone that labels= names."""
    seen: list[tuple[Tensor, Tensor, Tensor, float]] = []
    whole = Tuned.step

    def watching(self: Tuned, number: int) -> Any:
        objective = self.objective

        def wrapped(views: Tensor, batch: Any) -> Any:
            images, loss_of = objective(views, batch)

            def loss(scores: Tensor) -> Tensor:
                value = loss_of(scores)
                seen.append((views, scores.detach(), batch.index, float(value.detach())))
                return value

            return images, loss

        self.objective = wrapped
        try:
            return whole(self, number)
        finally:
            self.objective = objective

    here = task(tmp_path, encoder=small(seed=3))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Tuned, "step", watching)
        run(here, DistillConfig(teacher=teacher, alpha=0.3, temperature=2.0, labels=0.5, **{**SHORT, "epochs": 1}))
    known = set(labelled(here.train, 0.5, 0).tolist())
    views, scores, index, loss = seen[0]
    z_s, z_t = scores.double().numpy(), open_classifier(teacher).eval()(views).double().numpy()
    p_s, p_t = (np.exp(z / 2) / np.exp(z / 2).sum(1, keepdims=True) for z in (z_s, z_t))
    p_1 = np.exp(z_s) / np.exp(z_s).sum(1, keepdims=True)
    expected = 0.0
    for row, number in enumerate(index.tolist()):
        expected -= 0.3 * 4 * float((p_t[row] * np.log(p_s[row])).sum())
        if number in known:
            expected -= 0.7 * float(np.log(p_1[row, here.train.label[number]]))
    assert loss == pytest.approx(expected / 20, rel=1e-5) and 0 < sum(number in known for number in index.tolist()) < 20


def test_a_teacher_of_another_normalisation_sees_its_own(teacher: str) -> None:
    student, of = small("simclr_cifar"), open_classifier(teacher).encoder
    images = torch.rand(2, 3, SIDE, SIDE)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    torch.testing.assert_close(same_pictures(student, of, "t")(images), (images - mean) / std)
    torch.testing.assert_close(same_pictures(of, student, "t")((images - mean) / std), images)
    assert torch.equal(same_pictures(of, of, "t")(images), images)


def test_a_student_teaches_the_next(tmp_path: Path, teacher: str) -> None:
    once = {**SHORT, "epochs": 1}
    run(task(tmp_path / "one", encoder=small(seed=3)), DistillConfig(teacher=teacher, **once))
    run(task(tmp_path / "two", encoder=small(seed=4)), DistillConfig(teacher=str(tmp_path / "one"), **once))
    assert open_classifier(str(tmp_path / "two")).classes == 5


def test_published_numbers() -> None:
    of = DISTILLATIONS["simclr_v2"]
    assert (of.optimizer, peak(of), of.weight_decay, of.epochs, of.recipe) == ("lars", pytest.approx(6.4), 1e-4, 400, "probe")
    assert of.adapt_head and DistillConfig().temperature == 1 and DistillConfig().alpha == 1
    assert DistillConfig(protocol="simclr_v2", epochs=40, batch_size=10).course(40).warmup_epochs == 2


def distilled(folder: str, teacher: str, rank: int = 0, ranks: int = 1) -> np.ndarray:
    """A weight of a transformer, which has no statistics of a batch, after ten steps of plain momentum."""
    run(task(Path(folder), encoder=vit(), rank=rank, ranks=ranks), DistillConfig(
        teacher=teacher, alpha=0.5, labels=0.5, optimizer="sgd", lr=0.05, layer_decay=1.0, **{**SHORT, "epochs": 1}))
    state = torch.load(next(Path(folder).rglob("step-*.pt")))["work"]["classifier"]
    weight: np.ndarray = state["encoder.whole.blocks.0.attn.qkv.weight"].numpy()
    return weight


def on_a_rank(folder: str, teacher: str) -> np.ndarray:
    return distilled(folder, teacher, torch.distributed.get_rank(), torch.distributed.get_world_size())


def test_two_ranks_teach_the_student_of_one(tmp_path: Path, teacher: str, world: Callable[..., list[Any]]) -> None:
    alone, begun = distilled(str(tmp_path / "one"), teacher), vit().module.state_dict()["blocks.0.attn.qkv.weight"].numpy()
    assert np.abs(alone - begun).max() > 1e-3
    for weight in world(2, on_a_rank, str(tmp_path / "two"), teacher):
        np.testing.assert_allclose(weight, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("keys", "message"), [
    ({"temperature": 0.0}, "temperature needs a number above 0, got 0.0"),
    ({"alpha": 1.5}, r"alpha needs a number in \[0, 1\], got 1.5"),
    ({"labels": 0.1}, "labels=0.1 are not looked at with alpha=1; give alpha below 1, or leave labels out"),
    ({"smoothing": 0.1}, "mixup, cutmix and smoothing are for labels"),
    ({"protocol": "deit"}, "unknown protocol 'deit'"),
])
def test_keys_that_do_not_fit_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DistillConfig(**keys)


def test_a_teacher_that_does_not_fit_is_refused(tmp_path: Path, teacher: str) -> None:
    with pytest.raises(ValueError, match="eval distill needs a teacher, teacher=FOLDER, what viewmill eval finetune left"):
        run(task(tmp_path), DistillConfig())
    with pytest.raises(ValueError, match=r"the student sees pictures of 32 px \(normalize\), teacher=.* of 16 px \(normalize\)"):
        run(task(tmp_path, encoder=open_encoder("convnet4", pretrained=False, image_px=32)), DistillConfig(teacher=teacher))
    with pytest.raises(ValueError, match="knows 5 classes, the pictures have label 6; give the pictures of its classes"):
        run(task(tmp_path, encoder=small(), classes=7), DistillConfig(teacher=teacher))
    with pytest.raises(ValueError, match=r"alpha=0.5 gives weight to labels, data=blind has none; use alpha=1"):
        run(task(tmp_path, encoder=small(), train=blind()), DistillConfig(teacher=teacher, alpha=0.5, labels=0.1))
