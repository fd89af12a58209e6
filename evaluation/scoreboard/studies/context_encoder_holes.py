"""Which holes a context encoder learns most from: Pathak et al. 2016, section 3.3 (arXiv:1604.07379)."""

from __future__ import annotations

from . import Study

CENTER = ("recipe=context_encoder_center_cifar", "model.predict=center", "model.overlap_px=1")

STUDY = Study(
    question="Does a context encoder learn more from holes of random form and place than from one in the middle? And what of a "
             "discriminator, of not having to paint what is visible, and of a decoder that sees a map?",
    runs=(("random", "context_encoder", ()), ("center", "context_encoder", CENTER),
          ("center-adversarial", "context_encoder", (*CENTER, "model.adversarial_weight=0.001")),
          ("random-adversarial", "context_encoder", ("model.adversarial_weight=0.001",)),
          ("random-holes-alone", "context_encoder", ("model.context_weight=0",)),
          ("random-map", "context_encoder", ("model.decode=map",))),
)
