"""What keeps LCI from telling a network's hand from an inpainted patch: Jenni, Jin, Favaro 2020 (arXiv:2004.02331)."""

from __future__ import annotations

from . import Study

STUDY = Study(
    question="What does LCI learn with autoencoded patches in the untouched class, without them, and without an inpainter that "
             "is trained against the classifier?",
    runs=(("as-published", "lci", ()), ("no-autoencoding", "lci", ("model.autoencode=false",)),
          ("not-against-classifier", "lci", ("model.against_weight=0",)),
          ("neither", "lci", ("model.autoencode=false", "model.against_weight=0"))),
)
