"""Networks in the layouts of other libraries: weights by their names, their configurations, and the lines that open them."""

from __future__ import annotations

from collections.abc import Callable

from .network import Layout, Network, Shown
from .timm_layout import is_timm_folder, open_timm_folder, pooling_of, timm_layout
from .torchvision_layout import torchvision_layout
from .transformers_layout import transformers_layout

LAYOUTS: dict[str, Callable[[Network], Layout]] = {
    "timm": timm_layout, "torchvision": torchvision_layout, "huggingface": transformers_layout}

__all__ = ["LAYOUTS", "Layout", "Network", "Shown", "is_timm_folder", "open_timm_folder", "pooling_of"]
