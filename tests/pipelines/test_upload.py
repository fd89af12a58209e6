"""The way to a GPU, without one: streams and events are played, so that order, waiting and release can be seen."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from viewmill.pipelines import upload
from viewmill.pipelines.upload import UploadFeed

from .streams import local, shown


class Played:
    """torch.cuda as far as the upload uses it. said: what was asked of it, in order."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.copies_done = threading.Event()
        self.copies_done.set()
        played = self

        class Event:
            def record(self, stream: Any) -> None:
                played.said.append("record")

            def synchronize(self) -> None:
                played.copies_done.wait(10)

        waiting = SimpleNamespace(wait_event=lambda event: played.said.append("wait"))
        runtime = SimpleNamespace(
            cudaHostRegister=lambda address, size, flags: played.said.append(f"pin {size}"),
            cudaHostUnregister=lambda address: played.said.append("unpin"))
        self.cuda = SimpleNamespace(
            is_available=lambda: False,
            Stream=lambda device: SimpleNamespace(synchronize=lambda: None), stream=lambda stream: nullcontext(), Event=Event,
            current_stream=lambda device: waiting, cudart=lambda: runtime, check_error=lambda result: None)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    found = Played()
    monkeypatch.setattr(upload.torch, "cuda", found.cuda)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: None)
    return found


def uploading(monkeypatch: pytest.MonkeyPatch, **options: Any) -> Any:
    """A loader whose feed goes through an upload that copies to the CPU."""
    loader = local(24, 4, **options)
    start = loader._start

    def begin() -> UploadFeed:
        feed = start()
        to = torch.Tensor.to
        monkeypatch.setattr(torch.Tensor, "to", lambda self, *a, **k: to(self, *a, **k).clone())
        return UploadFeed(feed, torch.device("cpu"))

    monkeypatch.setattr(loader, "_start", begin)
    return loader


@pytest.mark.parametrize("sidecar", [False, True])
def test_the_same_batches_come_in_order(sidecar: bool, played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    with local(24, 4) as loader:
        plain = [shown(batch) for batch in loader]
    with uploading(monkeypatch, sidecar=sidecar) as loader:
        assert [shown(batch) for batch in loader] == plain
        ring = loader._feed.feed.ring
        slots = len(ring)
        assert ring.held <= 2  # the last copy's slot, and one on its way: the trainer keeps copies, never slots
    assert played.said.count("wait") == 6 and played.said.count("record") in (6, 7)
    assert sum(word.startswith("pin") for word in played.said) == played.said.count("unpin") <= slots


def test_a_slot_is_kept_until_its_copy_is_done(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    with uploading(monkeypatch) as loader:
        stream = iter(loader)
        next(stream)
        played.copies_done.clear()  # from here on no copy ends
        threading.Timer(0.3, played.copies_done.set).start()
        next(stream)
        assert loader._feed.feed.ring.held >= 1


def test_what_production_raised_is_raised_by_next(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = uploading(monkeypatch)
    with loader:
        next(iter(loader))
        feed = loader._feed
        monkeypatch.setattr(feed.feed, "next", lambda: (_ for _ in ()).throw(RuntimeError("the sidecar died")))
        with pytest.raises(RuntimeError, match="the sidecar died"):
            for _ in range(3):
                feed.next()


def test_closing_ends_the_thread(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()
    loader = uploading(monkeypatch)
    next(iter(loader))
    loader.close()
    loader.close()
    assert threading.active_count() == before
    assert next(iter(loader)).position.tolist() == [4, 5, 6, 7]
    loader.close()
