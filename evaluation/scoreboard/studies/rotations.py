"""How many turns RotNet tells apart, and which: Gidaris et al. 2018, table 1 (arXiv:1803.07728)."""

from __future__ import annotations

from . import Study

_TWO = ("0_90", "0_180", "90_270")

STUDY = Study(
    question="How many turns should RotNet tell apart, and which? Of two, in as many epochs, or twice as many?",
    runs=(("turns-0-90-180-270", "rotnet", ()),
          *((f"turns-{turns.replace('_', '-')}{name}", "rotnet", (f"recipe=rotnet_{turns}_cifar", *words))
            for turns in _TWO for name, words in (("", ()), ("-longer", ("epochs=4",))))),
)
