"""The tiny form of every method: its own small run, cut down to networks that take a step in milliseconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from viewmill.models import METHODS, method_info

IMAGES, BATCH, EPOCH = 80, 12, 6
"""What `shards` holds for training, images a step, steps of an epoch: 2 and 3 ranks divide the batch."""

_VIT = ("model.embed_dim=24", "model.depth=2", "model.heads=2", "model.patch_px=4")
_DECODER = ("model.decoder_dim=16", "model.decoder_depth=1", "model.decoder_heads=2")
_PROJECTOR = ("model.projector_hidden=16", "model.projector_dim=8")
_BANK = ("model.dim=8", "model.negatives=20")
_PROTOTYPES = ("model.prototypes=12", "model.head_hidden=16", "model.head_bottleneck=8", "model.frozen_epochs=1")
_PUZZLE = ("model.hidden_dim=16", "model.dropout=0.5")
_TOKENS = (*_VIT, "model.tokenizer_width=8", "model.vocabulary=12", "model.tokenizer_halvings=2")
# What keeps chance, laws and memories at work: dropout and dropped paths, negatives that are drawn, queues that are full within
# the first epoch, layers that are held for a part of it.
WORDS: dict[str, tuple[str, ...]] = {
    "simclr": (),
    "simclr_v2": (),
    "nnclr": (*_PROJECTOR, "model.predictor_hidden=16", "model.queue=24"),
    "instdisc": (*_BANK, "model.law=nce"),
    "pirl": (*_BANK, "model.bank_momentum=0.5"),
    "cmc": (*_BANK, "model.bank_momentum=0.5"),
    "decoupling": (*_BANK, "model.half_dim=16", "model.noise_from_epoch=1"),
    "moco": ("model.queue=48", "model.bn_splits=2", "model.momentum=0.9"),
    "moco_v2": ("model.queue=48", "model.bn_splits=2", "model.projector_hidden=16"),
    "moco_v3": ("model.projector_hidden=16", "model.projector_dim=8", "model.backbone=vit_tiny_patch16_224", *_VIT),
    "swav": (*_PROJECTOR, "model.prototypes=8", "model.queue=24", "model.queue_epoch=1", "model.frozen_epochs=0.4"),
    "deepcluster_v2": (*_PROJECTOR, "model.prototypes=6", "model.clusterings=2", "model.iterations=3"),
    "byol": (*_PROJECTOR, "model.teacher_momentum=0.9"),
    "simsiam": (*_PROJECTOR, "model.predictor_hidden=8"),
    "barlow_twins": _PROJECTOR,
    "vicreg": _PROJECTOR,
    "dino": ("model.backbone=vit_tiny_patch16_224", *_VIT, *_PROTOTYPES, "model.drop_path=0.3"),
    "esvit": _PROTOTYPES,
    "igpt": ("model.colours=8", "model.embed_dim=24", "model.depth=2", "model.heads=2"),
    "dvae": ("model.vocabulary=12", "model.code_dim=6", "model.width=8", "model.quantizer=gumbel"),
    "beit": (*_TOKENS, "model.drop_path=0.3"),
    "mae": (*_VIT, *_DECODER),
    "maskfeat": (*_VIT, "model.drop_path=0.3"),
    "simmim": (*_VIT, "model.drop_path=0.3"),
    "data2vec": (*_VIT, "model.drop_path=0.3", "model.attention_dropout=0.2"),
    "ijepa": (*_VIT, "model.predictor_dim=16", "model.predictor_depth=1"),
    "cae": (*_TOKENS, *_DECODER, "model.drop_path=0.3"),
    "milan": (*_VIT, *_DECODER),
    "eva": (*_VIT, "model.drop_path=0.3"),
    "ibot": (*_VIT, *_PROTOTYPES, "model.drop_path=0.3"),
    "dinov2": (*_VIT, *_PROTOTYPES, "model.drop_path=0.3", "model.layer_decay=0.9"),
    "rotnet": (),
    "context": ("model.hidden_dim=16", "model.dropout=0.5"),
    "jigsaw": _PUZZLE,
    "jigsaw_plus": _PUZZLE,
    "pseudo_labels": ("model.clusters=4", "model.labels=LABELS"),
    "colorization": ("model.decoder_dim=8",),
    "split_brain": ("model.decoder_dim=8",),
    "damaged_jigsaw": (*_PUZZLE, "model.decoder_dim=8", "model.adversarial_weight=0.1"),
    "context_encoder": ("model.width=8", "model.code_dim=16"),
    "lci": ("model.inpainter_width=4", "model.judge_width=4"),
    "counting": ("model.hidden=16", "model.counts=12"),
    "deepcluster": ("model.clusters=6", "model.pca=4", "model.iterations=3"),
}
FURTHER: dict[str, tuple[str, ...]] = {
    "dvae of vectors": ("dvae", "model.quantizer=vq", "model.restart=0.5"),
    "moco end to end": ("moco", "model.dictionary=batch"),
    "igpt that fills gaps": ("igpt", "model.objective=bert", "recipe=igpt_bert_cifar"),
    "swav without a queue": ("swav", "model.queue=0"),
    "dinov2 by Sinkhorn": ("dinov2", "model.sinkhorn=true", "model.separate_heads=true", "model.patch_prototypes=12",
                           "model.patch_bottleneck=8"),
    "split brain of numbers": ("split_brain", "model.form=regression"),
    "byol from its own start": ("byol", "model.target_start=online"),
    "dino of convolutions": ("dino", "model.backbone=convnet4", "model.patch_px=null", "model.embed_dim=null",
                             "model.depth=null", "model.heads=null", "model.drop_path=null", "model.head_norm=true"),
}
"""Other ways of a method's that keep or draw something else: (method, its words beside those of its tiny form)."""

FAMILIES = ("simclr", "instdisc", "moco", "swav", "deepcluster_v2", "byol", "barlow_twins", "dino", "mae", "beit", "milan",
            "jigsaw", "damaged_jigsaw", "counting", "deepcluster")
"""One of each kind of state that a run has, of each part of the list of methods."""


def tiny_words(name: str, shards: Path, out: Path, *more: str) -> list[str]:
    """METHOD key=value ... of two epochs of six steps; name: of a method, or one of FURTHER.

    Raises AssertionError, a sentence, for a method that has no tiny form yet.
    """
    method, *own = FURTHER.get(name, (name,))
    assert method in WORDS, f"{method} is a method without a tiny form: give it one in WORDS of tests/train/tiny.py"
    info = method_info(method)
    labels = shards / "labels.npy"
    if method == "pseudo_labels" and not labels.exists():
        np.save(labels, np.arange(IMAGES) % 4)
    small = [word for word in info.small if word.startswith(("model.", "recipe."))]
    words = [f"data={shards}/train-{{0..1}}.tar", f"out={out}", f"recipe={info.recipe_32px}", *small, *WORDS[method], *own,
             f"batch_size={BATCH}", "epochs=2", "optimizer.lr=1e-2", "schedule.warmup_epochs=0.5", "schedule.first_lr=0",
             "log_every=1", "health.every=6", "health.images=4", "knn.every=0", "torch_threads=1", "tensorboard=false",
             "report=false", "loader.sidecar=false", "loader.threads=1", *more]
    return [method, *(word.replace("LABELS", str(labels)) for word in words)]


def all_forms() -> list[str]:
    return [*METHODS, *FURTHER]
