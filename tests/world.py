"""Processes that serve every distributed test of a session: a process costs seconds to start, a case in it milliseconds."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
MEETING_S = 120.0
"""How long ranks wait for each other to meet and inside a collective: longer than any answer is waited for."""
GRACE_S = 2.0
"""After one rank has failed: how long the others may take to notice, before their processes are ended."""


class RankFailed(RuntimeError):
    """What a rank raised, with its traceback; or that it died, or did not answer in time. Elsewhere than in this folder pytest
    may know this module by a second name: tests there expect a RuntimeError."""


class World:
    """`world(ranks, function, *args)`: function(*args) on that many ranks of a new gloo group; their results, by rank.

    function goes to the ranks by its name, so it stands at the top of a test's module; args and results are pickled. Each rank
    has torch's seed at 0, one thread, and torchrun's environment (RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE). Processes
    start when first needed, serve all later calls, and are started anew after one died or was ended.

    Raises RankFailed where a rank raises, dies, or has not answered after timeout_s; ValueError for what cannot be sent.
    """

    def __init__(self) -> None:
        self._ranks: list[tuple[SpawnProcess, Connection]] = []
        self._folder = tempfile.TemporaryDirectory(prefix="world-")
        self._calls = 0

    def __call__(self, ranks: int, function: Callable[..., Any], *args: Any, timeout_s: float = 120.0) -> list[Any]:
        try:
            job = pickle.dumps((function, args))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ValueError(f"a rank gets its function by name and its arguments pickled, which fails here: {error}") from None
        self._calls += 1
        meeting = str(Path(self._folder.name, str(self._calls)))
        for rank in range(ranks):
            if rank == len(self._ranks):
                self._ranks.append(_start())
            elif not self._ranks[rank][0].is_alive():
                self._ranks[rank] = _start()
            self._ranks[rank][1].send_bytes(pickle.dumps((rank, ranks, meeting, job)))
        answers, failures = self._answers(ranks, time.monotonic() + timeout_s)
        silent = [rank for rank in range(ranks) if rank not in answers and rank not in failures]
        for rank in silent:
            _end(*self._ranks[rank])
        if failures:
            rank, text = next(iter(failures.items()))
            raise RankFailed(f"rank {rank} of {ranks} {text}")
        if silent:
            raise RankFailed(f"rank {', '.join(map(str, silent))} of {ranks} did not answer within {timeout_s:g} s")
        return [pickle.loads(answers[rank]) for rank in range(ranks)]

    def _answers(self, ranks: int, until: float) -> tuple[dict[int, bytes], dict[int, str]]:
        """By rank: the pickled results, and what went wrong, the first one first."""
        answers: dict[int, bytes] = {}
        failures: dict[int, str] = {}
        waiting = {self._ranks[rank][1]: rank for rank in range(ranks)}
        while waiting and (left := until - time.monotonic()) > 0:
            for ready in wait(list(waiting), left):
                assert isinstance(ready, Connection)
                rank = waiting.pop(ready)
                try:
                    well, answer = pickle.loads(ready.recv_bytes())
                except (EOFError, ConnectionError):
                    process = self._ranks[rank][0]
                    process.join()
                    well, answer = False, f"died, exit status {process.exitcode}"
                if well:
                    answers[rank] = answer
                else:
                    failures[rank] = answer
                    until = min(until, time.monotonic() + GRACE_S)
        return answers, failures

    def close(self) -> None:
        for process, connection in self._ranks:
            _end(process, connection)
        self._ranks.clear()
        self._folder.cleanup()


def _start() -> tuple[SpawnProcess, Connection]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    path = list(sys.path)
    try:
        # What a spawned process searches. pytest calls a test's module tests.NAME or, where each folder above it is a package,
        # CHECKOUT.tests.NAME, and finds it by its path.
        sys.path += [str(REPOSITORY), str(REPOSITORY.parent)]
        process.start()
    finally:
        sys.path[:] = path
    theirs.close()  # so that the end of the process is the end of the connection
    return process, ours


def _end(process: SpawnProcess, connection: Connection) -> None:
    connection.close()
    process.kill()
    process.join()


def _serve(connection: Connection) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the session decides when to end
    torch.set_num_threads(1)
    while True:
        try:
            rank, ranks, meeting, job = pickle.loads(connection.recv_bytes())
        except EOFError:
            return
        _work(connection, rank, ranks, meeting, job)


def _work(connection: Connection, rank: int, ranks: int, meeting: str, job: bytes) -> None:
    import torch
    import torch.distributed as dist

    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(ranks)}
    try:
        function, args = pickle.loads(job)
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=ranks,
                                timeout=timedelta(seconds=MEETING_S))
        torch.manual_seed(0)
        answer = True, pickle.dumps(function(*args))
    except BaseException as error:
        answer = False, f"raised {type(error).__name__}: {error}\n{traceback.format_exc()}"
    connection.send_bytes(pickle.dumps(answer))  # before the group ends: the others then fail too, but later
    if dist.is_initialized():
        dist.destroy_process_group()
