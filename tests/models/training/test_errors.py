"""Whose turn it is: 2 for the user, 1 for a failure, always one line."""

from __future__ import annotations

import pytest
from viewmill.models.training.errors import RunFailure, verdict


@pytest.mark.parametrize(("error", "status", "line"), [
    (ValueError("epochs needs\n  a number"), 2, "viewmill: epochs needs a number"),
    (FileNotFoundError("no file x.tar"), 2, "viewmill: no file x.tar"),
    (RunFailure("the loss is not finite at step 3"), 1, "viewmill: the loss is not finite at step 3"),
    (KeyboardInterrupt(), 130, "viewmill: interrupted"),
    (RuntimeError("out of memory"), 1, "viewmill: RuntimeError: out of memory (VIEWMILL_TRACEBACK=1 shows where)"),
    (AssertionError(), 1, "viewmill: AssertionError: no message (VIEWMILL_TRACEBACK=1 shows where)"),
])
def test_status_and_line(error: BaseException, status: int, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("VIEWMILL_TRACEBACK", raising=False)
    assert verdict(error) == (status, line)


def test_other_ranks_say_which_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    assert verdict(ValueError("x")) == (2, "viewmill: rank 3: x")
