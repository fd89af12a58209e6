"""What a trainer and its sidecar take together, shared pages counted once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .streams import jpeg

TRAINER = """
import sys
from pathlib import Path
from viewmill import Loader

def taken():  # PSS: each page divided among the processes that map it
    pids = ["self", str(loader._feed.process_id)]
    rollups = [Path("/proc", pid, "smaps_rollup").read_text() for pid in pids]
    return sum(int(line.split()[1]) for text in rollups for line in text.splitlines() if line.startswith("Pss:"))

peak = 0
with Loader(sys.argv[1], "dino", 256, threads=2, engine="cpu", last="pad", epochs=None) as loader:
    for number, batch in enumerate(loader):
        batch.views["global"].mean(), batch.views["local"].mean()  # a trainer reads every page
        peak = max(peak, taken())
        if number == 5:
            break
print(peak)
"""


@pytest.mark.slow
def test_dino_at_batch_256_stays_under_two_gibibytes(tmp_path: Path) -> None:
    """Ten views in float32 take 2 MiB a sample: a batch half a gibibyte. torch, the kernels and all slots are counted."""
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("this system does not tell how much memory is shared")
    y, x = np.mgrid[0:375, 0:500]
    for number in range(32):
        picture = np.stack([x + number, y - number, x + y], -1).astype(np.uint8)
        (tmp_path / f"{number:02}.jpg").write_bytes(jpeg(picture))
    done = subprocess.run([sys.executable, "-c", TRAINER, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 2 << 30
