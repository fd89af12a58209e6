"""What a version of the draws stands for: a run that is resumed must draw what it would have drawn.

The file holds a checksum of every preset's draws, as they came when that version was given its number. It says nothing about
whether they are right; where a law is meant to change, DRAW_VERSION goes up and the file is written anew by
`python tests/augment/test_draw_version.py`.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from viewmill.augment.draw import DRAW_VERSION, draw
from viewmill.augment.presets import PRESETS

FILE = Path(__file__).with_name("draws.json")
SIZES = np.array([(375, 500), (97, 131), (224, 224), (2100, 640), (333, 251)])


def checksum(name: str) -> str:
    index = np.array([7, 0, 123_456_789, 3, 2**40])
    params = draw(PRESETS[name].recipe, 2**63 + 11, 5, index, SIZES, position=np.arange(5) + 250, length=1000,
                  partner_size_hw=SIZES[::-1])
    crc = 0
    for view, ops in params.items():
        for op, arrays in ops.items():
            for field, values in arrays.items():
                crc = zlib.crc32(f"{view} {op} {field} {values.dtype.name} {values.shape}".encode(), crc)
                crc = zlib.crc32(np.ascontiguousarray(values).tobytes(), crc)
    return f"{crc:08x}"


@pytest.mark.parametrize("name", PRESETS)
def test_a_version_of_the_draws_stays_what_it_was(name: str) -> None:
    kept = json.loads(FILE.read_text())
    assert kept["draw_version"] == DRAW_VERSION
    assert checksum(name) == kept["checksums"][name]


if __name__ == "__main__":
    lines = {"draw_version": DRAW_VERSION, "checksums": {name: checksum(name) for name in PRESETS}}
    FILE.write_text(json.dumps(lines, indent=1) + "\n")
