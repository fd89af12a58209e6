"""Pictures that say something about an encoder, each of which tells what it shows and which command makes it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """`viewmill eval figure`, or a name that is short for it and one word more; what draws is imported when it is asked for."""

    ahead: tuple[str, ...] = ()

    def main(self, words: Sequence[str]) -> int:
        from .command import main

        return main([*self.ahead, *words])

    def manual(self, *words: str) -> str:
        from .command import manual

        return manual(*self.ahead, *words)


COMMANDS = {"figure": Command(), "attention": Command(("attention",))}
