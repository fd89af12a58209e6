"""Many calls of one function, here, in processes of this machine, or on a Ray cluster; results as they come."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from .placement import cores

_ALONE_S = 0.3
"""How long a worker outlives whoever started it."""


class WorkerDied(RuntimeError):
    """A process ended in the middle of its work: killed, or out of memory."""


Call = Callable[..., Any]
Results = Iterator[tuple[int, Any]]


class Here:
    """One after another, in this process."""

    count = 1

    def run(self, function: Call, tasks: Sequence[tuple[Any, ...]]) -> Results:
        for number, task in enumerate(tasks):
            yield number, function(*task)

    def close(self) -> None:
        pass


class Processes:
    """Fresh processes, that end with this one, however it ends."""

    def __init__(self, count: int = 0) -> None:
        self.count = count or cores()
        self._others = set(multiprocessing.active_children())
        self._pool = ProcessPoolExecutor(self.count, multiprocessing.get_context("spawn"), _start, (os.getpid(),))

    def run(self, function: Call, tasks: Sequence[tuple[Any, ...]]) -> Results:
        """Raises what a call raises, and WorkerDied."""
        waiting: dict[Future[Any], int] = {}
        begun = iter(enumerate(tasks))
        try:
            while True:
                for number, task in begun:
                    waiting[self._pool.submit(function, *task)] = number
                    if len(waiting) >= 2 * self.count:
                        break
                if not waiting:
                    return
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for each in done:
                    yield waiting.pop(each), each.result()
        except BrokenProcessPool as error:
            raise WorkerDied("a worker process was killed, perhaps for lack of memory: give fewer workers=") from error

    def close(self) -> None:
        """At once: what is half done is given up."""
        for child in set(multiprocessing.active_children()) - self._others:
            child.terminate()
            child.join()
        self._pool.shutdown(wait=True, cancel_futures=True)


def _start(parent: int) -> None:
    """Ctrl-C goes to all processes of a terminal; the one that started them decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_ALONE_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Ray:
    """Tasks of a Ray cluster whose machines see the same source and target. address: auto, local, or as ray.init takes it."""

    def __init__(self, address: str, count: int = 0) -> None:
        try:
            import ray
        except ImportError:
            raise ValueError("--ray needs Ray, which is not installed: pip install 'viewmill[ray]'") from None
        self._ray = ray
        options: dict[str, Any] = {}
        if address == "local":  # where this package is not installed but on the path, its processes have it on theirs
            path = os.pathsep.join([str(Path(__file__).absolute().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
            options = {"num_cpus": count or cores(), "runtime_env": {"env_vars": {"PYTHONPATH": path}}}
        self._mine = not ray.is_initialized()
        if self._mine:
            try:
                ray.init(address=address, log_to_driver=False, include_dashboard=False if address == "local" else None, **options)
            except ConnectionError as error:
                raise ValueError(f"address={address}: no Ray cluster there ({' '.join(str(error).split())[:120]}): start one "
                                 "with `ray start --head`, or give address=local") from error
        self.count = max(1, int(ray.cluster_resources().get("CPU", 1)))

    def run(self, function: Call, tasks: Sequence[tuple[Any, ...]]) -> Results:
        """Raises what a call raises, and WorkerDied. A task whose machine goes away is done again, elsewhere."""
        ray = self._ray
        remote = ray.remote(max_retries=3)(function)
        waiting: dict[Any, int] = {}
        begun = iter(enumerate(tasks))
        while True:
            for number, task in begun:
                waiting[remote.remote(*task)] = number
                if len(waiting) >= 2 * self.count:
                    break
            if not waiting:
                return
            done, _ = ray.wait(list(waiting), num_returns=1)
            for each in done:
                try:
                    result = ray.get(each)
                except ray.exceptions.RayTaskError as error:
                    raise (error.cause if isinstance(error.cause, Exception) else error) from None
                except ray.exceptions.RayError as error:
                    raise WorkerDied(f"Ray: {' '.join(str(error).split())[:200]}") from error
                yield waiting.pop(each), result

    def close(self) -> None:
        if self._mine:
            self._ray.shutdown()
