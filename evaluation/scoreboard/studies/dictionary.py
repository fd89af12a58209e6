"""Where negatives come from: He et al. 2019, figure 3 (arXiv:1911.05722), and how many there are."""

from __future__ import annotations

from . import Study

STUDY = Study(
    question="Where should negatives come from: the step's own keys, a memory bank, or a queue of keys? And how many?",
    runs=(*((f"end-to-end-{size}", "moco", ("model.dictionary=batch", f"batch_size={size}")) for size in (64, 256)),
          *((f"queue-{size}", "moco", (f"model.queue={size}",)) for size in (256, 1024, 4096, 16384)),
          *((f"bank-{size}", "instdisc", ("recipe=moco_cifar", "model.law=softmax", f"model.negatives={size}"))
            for size in (256, 1024, 4096))),  # of 16,384 drawn rows a run takes half an hour
)
