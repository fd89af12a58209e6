"""The same recipes in the tools people use today, for side-by-side measurement only: one file each, as its own
documentation recommends. A file is imported by the process that measures it, and there only.

Each has `stream(files, recipe, batch_size, threads) -> Stream`, raising UnsupportedRecipe for what it has no equal of, and
`notes(recipe)`: where its ops are not the same ops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Stream:
    """Endless batches. Each is a list of the recipe's views in order, each (B, 3, H, W) float32.

    ahead: how many batches may be finished, or begun, before they are asked for.
    """

    batches: Iterator[list[Tensor]]
    ahead: int
    close: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Peer:
    """needs: modules that must be there; install: how to get them; versions: distributions to name in a report."""

    name: str
    title: str
    needs: tuple[str, ...]
    install: str
    versions: tuple[str, ...]

    def missing(self) -> str:
        """Empty where it is installed; else how to get it."""
        for module in self.needs:
            try:
                found = find_spec(module) is not None
            except ModuleNotFoundError:  # of a package around it
                found = False
            if not found:
                return f"not installed: {self.install}"
        return ""

    def module(self) -> ModuleType:
        return import_module(f"{__name__}.{self.name}")


def _peers(*peers: Peer) -> dict[str, Peer]:
    return {peer.name: peer for peer in peers}


EXTRA = "pip install 'viewmill[peers]'"
PEERS = _peers(
    Peer("torchvision", "torch DataLoader, torchvision on Pillow", ("torchvision",), "pip install torchvision",
         ("torchvision", "pillow")),
    Peer("torchvision_v2", "torch DataLoader, torchvision v2 on uint8 tensors", ("torchvision",), "pip install torchvision",
         ("torchvision",)),
    Peer("webdataset", "webdataset's WebLoader, torchvision on Pillow", ("webdataset",), "pip install webdataset",
         ("webdataset", "torchvision", "pillow")),
    Peer("lightly", "lightly's transforms and collate", ("lightly", "lightning_utilities"),
         # With its dependencies it brings hydra-core, which takes OmegaConf back behind the version that this package needs.
         "pip install --no-deps lightly lightning-utilities", ("lightly", "torchvision", "pillow")),
    Peer("albumentations", "torch DataLoader, albumentations on OpenCV", ("albumentations", "cv2"), EXTRA,
         ("albumentations", "opencv-python-headless")),
    Peer("kornia", "torch DataLoader for crops, kornia on batches", ("kornia",), EXTRA, ("kornia", "torch")),
    Peer("dali", "DALI's own ops on the CPU", ("nvidia.dali",), "pip install 'viewmill[dali]'", ("nvidia-dali-cuda130",)),
)
