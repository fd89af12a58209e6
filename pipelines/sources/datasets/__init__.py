"""Data sets of other libraries as sources: told by their type, read where they let us at the encoded images.

The rule: a source is read by number, any sample at any time, or it is none. Data sets that can only be gone through from the
beginning are refused, and `pack_stream` goes through them once. No foreign package is imported to find out: who holds one of
its objects has it imported already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...faults import DataError

if TYPE_CHECKING:
    from ...source import Source

__all__ = ["encoded_source", "is_data_set"]

PACK = "go through it once with vm.pack_stream(stream, 'shards/'), and give data='shards/'"


def is_data_set(data: Any) -> bool:
    """Whether this is another library's collection of samples, readable or not."""
    return (hasattr(data, "__getitem__") and hasattr(data, "__len__")) or hasattr(data, "__iter__")


def encoded_source(data: Any) -> Source | list[str]:
    """The source that reads a data set of torchvision, Hugging Face, MosaicML, LitData, lightly, or any with `len` and `[i]`;
    or the shards that a webdataset pipeline reads. Raises DataError, with the way out, for what has no random access."""
    library = _library(data)
    if library == "webdataset" and hasattr(data, "pipeline"):
        from .webdataset import shards_of

        return shards_of(data)
    if library == "datasets":
        from .huggingface import TableSource, one_split

        return TableSource(one_split(data))
    if library == "streaming" and hasattr(data, "shards"):
        from .mosaic import MosaicSource

        return MosaicSource(data)
    if library == "lightly" and hasattr(data, "dataset"):  # its LightlyDataset is a shell
        _without_transform(data)
        return encoded_source(data.dataset)
    name = type(data).__name__
    if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        raise DataError(f"data: a {name} can only be gone through from its beginning, and views are made of samples in any "
                        f"order: {PACK}")
    _without_transform(data)
    if _is(data, "Subset", "torch.utils.data"):
        from ...source import open_source
        from ..subset import Subset

        return Subset(open_source(data.dataset), data.indices)
    from .torchvision import known

    found = known(data)
    if found is not None:
        return found
    from .map_style import MapSource

    return MapSource(data)


def _library(data: Any) -> str:
    """The package that an object's class, or the nearest class above it that is no user's own, comes from."""
    known = ("webdataset", "datasets", "streaming", "litdata", "lightly", "torchvision", "torch")
    roots = [cls.__module__.partition(".")[0] for cls in type(data).__mro__]
    return next((root for root in roots if root in known), "")


def _is(data: Any, name: str, module: str) -> bool:
    return any(cls.__name__ == name and cls.__module__.startswith(module) for cls in type(data).__mro__)


def _without_transform(data: Any) -> None:
    for name in ("transform", "transforms"):
        if getattr(data, name, None) is not None:
            raise DataError(f"data: this {type(data).__name__} has a {name} of its own, and the recipe makes the views: set its "
                            f"{name} to None (vm.import_recipe reads many a transform as a recipe)")
