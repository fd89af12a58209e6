"""A classifier that fine-tuning left is the one that is opened again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from viewmill.evaluation.encoder import Encoder
from viewmill.evaluation.finetune import TUNINGS, FinetuneConfig, run
from viewmill.evaluation.finetune.network import Classifier
from viewmill.evaluation.finetune.saved import open_classifier, save
from viewmill.evaluation.opening import open_encoder

from ..tasks import task
from ..test_encoder import write_run


def moved(encoder: Encoder, pool: str = "features") -> Classifier:
    """With every weight and statistic other than at first."""
    torch.manual_seed(1)
    classifier = Classifier(encoder, 5, replace(TUNINGS["small"], pool=pool))  # type: ignore[arg-type]
    with torch.no_grad():
        for value in classifier.state_dict().values():
            if value.is_floating_point():
                value.add_(0.1 * torch.rand_like(value))
    return classifier.eval()


@pytest.mark.parametrize("of", ["simclr_v2", "mae", "convnet4"])
def test_the_same_answers(tmp_path: Path, of: str) -> None:
    if of == "convnet4":
        encoder = open_encoder(of, pretrained=False, image_px=32)
    else:
        write_run(tmp_path / "run", of)
        encoder = open_encoder(str(tmp_path / "run"), head_layers=int(of == "simclr_v2"))
    classifier = moved(encoder, "mean" if of == "mae" else "features")
    save(tmp_path / "run" / "eval" / "finetune", classifier)
    images = torch.rand(4, 3, 32, 32)
    for what in ("", "eval", "eval/finetune", "eval/finetune/classifier.pt"):
        again = open_classifier(str(tmp_path / "run" / what))
        with torch.no_grad():
            assert torch.equal(again(images), classifier(images))
    assert (again.classes, again.encoder.head_layers, again.encoder.name) == (5, int(of == "simclr_v2"), encoder.name)
    assert again.encoder.view == encoder.view and not any(p.requires_grad for p in again.parameters()) and not again.training


def test_fine_tuning_leaves_what_it_was_tested_with(tmp_path: Path) -> None:
    here = task(tmp_path, encoder=open_encoder("convnet4", pretrained=False, image_px=16))
    result = run(here, FinetuneConfig(batch_size=20, epochs=3, sidecar=False))
    classifier = open_classifier(str(tmp_path / "finetune"))
    answers = torch.cat([classifier(piece.images).argmax(1) == piece.label for piece in here.test.pieces(here.encoder.view)])
    assert answers.numpy().tolist() == result["correct"].tolist()


def test_what_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"needs to be one classifier that viewmill eval finetune .* there is none"):
        open_classifier(str(tmp_path))
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"w.pth is no classifier; give what viewmill eval finetune or distill left"):
        open_classifier(str(tmp_path / "w.pth"))
    for name in ("finetune", "distill"):
        save(tmp_path / name, moved(open_encoder("convnet4", pretrained=False, image_px=16)))
    with pytest.raises(ValueError, match=r"there is 2: .*finetune.*, .*distill"):
        open_classifier(str(tmp_path))
