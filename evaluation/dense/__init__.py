"""What a backbone is worth where every place of a picture counts: detection, instance and semantic segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A task of `viewmill eval`, by name; torchvision's detectors are imported when it is asked for."""

    name: str

    def main(self, words: Sequence[str]) -> int:
        from ..command import default_out
        from .command import main

        return main(self.name, words, default_out)

    def manual(self) -> str:
        from .command import manual

        return manual(self.name)


TASKS = {name: Task(name) for name in ("detection", "segmentation")}
