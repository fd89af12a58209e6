"""How a command ends that does not end well: one line, and a status that says whose turn it is."""

from __future__ import annotations

import os
import traceback

USERS_MISTAKES = (ValueError, FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
SHOW_TRACEBACK = "VIEWMILL_TRACEBACK"


class RunFailure(RuntimeError):
    """A run that cannot go on through no mistake in its command; the message says at which step and what still stands."""


def verdict(error: BaseException) -> tuple[int, str]:
    """(exit status, the line for stderr): 2 for what the user can mend, 130 for Ctrl-C, 1 for every other failure.

    A failure that this program did not foresee is named by its type; VIEWMILL_TRACEBACK=1 prints where it came from.
    """
    who = speaker()
    if os.environ.get(SHOW_TRACEBACK, "") not in ("", "0"):
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        return 130, f"{who} interrupted"
    text = " ".join(str(error).split())
    if isinstance(error, USERS_MISTAKES):
        return 2, f"{who} {text}"
    if isinstance(error, RunFailure):
        return 1, f"{who} {text}"
    return 1, f"{who} {type(error).__name__}: {text or 'no message'} ({SHOW_TRACEBACK}=1 shows where)"


def speaker() -> str:
    """What a line on stderr begins with."""
    rank = os.environ.get("RANK", "0")
    return "viewmill:" if rank == "0" else f"viewmill: rank {rank}:"


def of_the_disk(error: BaseException) -> OSError | None:
    """What the operating system said, where an error came of that, however torch calls it; None where it did not."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
