"""Two nodes, each with a torchrun of its own: in network namespaces where the machine lets us make them, and on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .runs import REPOSITORY, assert_same_run, last_state, mae_words, wait_for_step

pytestmark = pytest.mark.slow
NETWORK = "10.231.77"
TORCHRUN = (sys.executable, "-m", "torch.distributed.run")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY / ".dev"), "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Node:
    """prefix: of commands that run there. address: where the other node reaches it. interface: that gloo speaks through."""

    prefix: tuple[str, ...]
    address: str
    interface: str


def shell(*commands: str) -> None:
    for command in commands:
        subprocess.run(command.split(), check=True, capture_output=True)


@pytest.fixture(params=["namespaces", "loopback"])
def nodes(request: pytest.FixtureRequest) -> Iterator[tuple[Node, Node]]:
    if request.param == "loopback":
        yield Node((), "127.0.0.1", "lo"), Node((), "127.0.0.1", "lo")
        return
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    names = [f"vm{os.getpid()}{letter}" for letter in "ab"]
    try:
        shell(*(f"ip netns add {name}" for name in names))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    try:
        # A cable between two machines that see nothing else of each other.
        shell(f"ip link add name v0 netns {names[0]} type veth peer name v0 netns {names[1]}")
        for number, name in enumerate(names, 1):
            shell(f"ip -n {name} addr add {NETWORK}.{number}/24 dev v0", f"ip -n {name} link set v0 up",
                  f"ip -n {name} link set lo up")
        yield tuple(Node(("ip", "netns", "exec", name), f"{NETWORK}.{number}", "v0")  # type: ignore[misc]
                    for number, name in enumerate(names, 1))
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def job(nodes: tuple[Node, Node], words: list[str], restarts: int = 0) -> list[subprocess.Popen[str]]:
    """A torchrun on each node, one rank each."""
    endpoint = f"{nodes[0].address}:{free_port()}"
    started = []
    for number, node in enumerate(nodes):
        own = ("--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", str(restarts), "--local-addr", node.address,
               "--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint, "--rdzv-id", "two-nodes",
               "--rdzv-conf", f"is_host={int(number == 0)}")
        started.append(subprocess.Popen([*node.prefix, *TORCHRUN, *own, str(REPOSITORY / "train.py"), *words], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env={**ENVIRONMENT, "GLOO_SOCKET_IFNAME": node.interface}))
    return started


def ends(processes: list[subprocess.Popen[str]]) -> str:
    """All that was said; fails where one did not end well."""
    said = [process.communicate(timeout=200) for process in processes]
    assert not any(process.returncode for process in processes), said
    return "".join(out for out, _ in said)


def test_two_nodes_train_to_the_bits_of_one_also_when_a_rank_of_the_second_is_killed(
        nodes: tuple[Node, Node], shards: Path, tmp_path: Path) -> None:
    common = ["epochs=12", "checkpoint.steps=5", "report=false"]
    ends([subprocess.Popen([*TORCHRUN, "--standalone", "--nproc-per-node", "2", str(REPOSITORY / "train.py"),
                            *mae_words(shards, tmp_path / "one", *common)], env=ENVIRONMENT, text=True, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE)])
    assert "2 ranks" in ends(job(nodes, mae_words(shards, tmp_path / "two", *common)))
    assert_same_run(tmp_path / "one", tmp_path / "two")

    broken = job(nodes, mae_words(shards, tmp_path / "broken", *common), restarts=2)
    wait_for_step(tmp_path / "broken", 12, broken[0])
    ranks = subprocess.run(["pgrep", "-P", str(broken[1].pid), "-f", "train.py"], capture_output=True, text=True).stdout.split()
    assert len(ranks) == 1
    os.kill(int(ranks[0]), signal.SIGKILL)
    assert "resumed    " in ends(broken) and last_state(tmp_path / "broken")["step"] == 60
    assert_same_run(tmp_path / "one", tmp_path / "broken")
