"""One arm's process, the trainer of that arm: `python -m viewmill.pipelines.bench.arm FD`, started by the benchmark.

A process for each, so that no arm's threads, imports or memory are in another's way. It ends with its socket.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from .messages import Failed, Ready, Spec, Taken
from .processes import cpu_seconds, tree

SPIN = "while True: sum(range(200))"


class Batches:
    """An arm that hands out batches."""

    def __init__(self, stream: Iterator[Any], ahead: int, close: Callable[[], None], wait: Callable[[], None] | None = None,
                 engine: str = "", notes: list[str] | None = None) -> None:
        self._stream, self.ahead, self.close, self._wait = stream, ahead, close, wait
        self.engine, self.notes = engine, notes or []

    def take(self, count: int) -> None:
        for _ in range(count):
            next(self._stream)
        if self._wait is not None:
            self._wait()

    def spinning(self, run: Callable[[], Taken]) -> Taken:
        """The main thread computes in pure Python, while another waits for batches, as a trainer's input thread would."""
        result: list[Any] = []

        def waiter() -> None:
            try:
                result.append(run())
            except BaseException as error:
                result.append(error)

        thread = threading.Thread(target=waiter)
        thread.start()
        while not result:
            sum(range(200))
        thread.join()
        if isinstance(result[0], BaseException):
            raise result[0]
        return result[0]


class Decoding:
    """The yardstick: the same files, decoded to uint8 pixels by as many threads, and dropped."""

    ahead, engine, notes = 1, "", ["by simplejpeg (libjpeg-turbo), from memory; beside a busy trainer: beside a process that "
                                   "computes in pure Python"]

    def __init__(self, spec: Spec) -> None:
        self._data, self._threads, self._batch_size = spec.files.encoded(), spec.threads, spec.batch_size
        self._next = itertools.count()  # its next() is atomic

    def take(self, count: int) -> None:
        from ..decode import decode

        images, first = count * self._batch_size, next(self._next)
        numbers = itertools.count(first)

        def work() -> None:
            while (number := next(numbers)) < first + images:
                decode(self._data[number % len(self._data)])

        threads = [threading.Thread(target=work) for _ in range(self._threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._next = itertools.count(first + images)

    def spinning(self, run: Callable[[], Taken]) -> Taken:
        beside = subprocess.Popen([sys.executable, "-c", SPIN])
        try:
            return run()
        finally:
            beside.kill()
            beside.wait()

    def close(self) -> None:
        pass


def opened(spec: Spec) -> Batches | Decoding:
    if spec.kind == "decode":
        return Decoding(spec)
    if spec.kind == "viewmill":
        return _viewmill(spec)
    if spec.kind == "trainer":
        from .plug_in.trainers import opened as trainer

        stream, about = trainer(spec)
        return Batches(stream.batches, stream.ahead, stream.close, notes=about)
    from .peers import PEERS

    module = PEERS[spec.name].module()
    stream = module.stream(spec.files, spec.recipe, spec.batch_size, spec.threads)
    _check(next(stream.batches), spec)
    return Batches(stream.batches, stream.ahead, stream.close, notes=module.notes(spec.recipe))


def _viewmill(spec: Spec) -> Batches:
    import torch

    from ..loader import Loader

    loader = Loader(spec.files.source(), spec.recipe, spec.batch_size, epochs=None, threads=spec.threads, engine=spec.name,
                    prefetch=spec.prefetch)
    stream = iter(loader)
    first = next(stream)
    groups = {group: iter(views) for group, views in first.views.items()}
    _check([next(groups[instance.group]) for instance in spec.recipe.instances], spec)
    on_gpu = next(iter(first.views.values())).is_cuda
    return Batches(stream, 2 * spec.prefetch + 2, loader.close, torch.cuda.synchronize if on_gpu else None, loader.engine,
                   ["on the GPU"] if on_gpu else [])


def _check(views: list[Any], spec: Spec) -> None:
    """Whether a batch is what the recipe says: so many views, of such shapes, in float32."""
    wanted = [(spec.batch_size, each.channels, *each.size_hw) for each in spec.recipe.instances]
    found = [tuple(view.shape) for view in views]
    kinds = {str(view.dtype).removeprefix("torch.") for view in views}
    if found != wanted or kinds != {"float32"}:
        raise RuntimeError(f"{spec.name} made views {found} of {', '.join(sorted(kinds))}, not {wanted} of float32")


def measured(arm: Batches | Decoding, warm: int, batches: int, busy: bool) -> Taken:
    """warm: batches that are taken first: what was ready before the clock starts does not count."""
    def run() -> Taken:
        arm.take(warm)
        before, own, start = cpu_seconds(tree(os.getpid())), time.process_time(), time.perf_counter()
        arm.take(batches)
        seconds, own = time.perf_counter() - start, time.process_time() - own
        after = cpu_seconds(tree(os.getpid()))
        return Taken(seconds, own, None if before is None or after is None else after - before)

    return arm.spinning(run) if busy else run()


def main(fd: int) -> None:
    connection = Connection(fd)
    try:
        spec = connection.recv()
        if spec.kind == "stages":
            from .stages import stages

            connection.send(Ready(spec.name, 0, stages=stages(spec)))
            return
        arm = opened(spec)
        connection.send(Ready(arm.engine, arm.ahead, arm.notes))
        try:
            while True:
                connection.send(measured(arm, *connection.recv()))
        finally:
            with contextlib.suppress(Exception):
                arm.close()
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        pass
    except Exception as error:
        with contextlib.suppress(OSError):
            text = " ".join(str(error).split())
            is_ours = isinstance(error, ValueError)
            connection.send(Failed(text if is_ours else f"{type(error).__name__}: {text}"[:300], is_ours))
    finally:
        sys.stderr.flush()
        os._exit(0)  # no library's own farewell may keep it


if __name__ == "__main__":
    main(int(sys.argv[1]))
