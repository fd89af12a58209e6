"""webdataset's pipelines: their shards, where they only read, shuffle and decode, which the loader does itself."""

from __future__ import annotations

from typing import Any

from ...faults import DataError
from . import PACK

READING = ("split_by_node", "single_node_only", "split_by_worker", "tarfile_to_samples", "tarfile_samples", "url_opener",
           "tar_file_expander", "tar_file_and_group_expander", "group_by_keys", "check_empty", "shuffle", "detshuffle",
           "to_tuple", "batched", "StreamingOpen")
"""Stages without which the samples are the same ones."""


def shards_of(pipeline: Any) -> list[str]:
    """The shards that a pipeline reads. Raises DataError, naming the stage, for one that makes other samples of them."""
    stages = list(pipeline.pipeline)
    urls = getattr(stages[0], "urls", None) if stages else None
    if not urls:
        first = _name(stages[0]) if stages else "nothing"
        raise DataError(f"data: this webdataset pipeline begins with {first}, no list of shards: {PACK}")
    for stage in stages[1:]:
        if _name(stage) not in READING and not _decodes(stage):
            raise DataError(f"data: stage {_name(stage)} of this webdataset pipeline may change its samples: leave it out, or "
                            + PACK)
    return [str(each["url"] if isinstance(each, dict) else each) for each in urls]


def _name(stage: Any) -> str:
    name = getattr(getattr(stage, "f", stage), "__name__", type(stage).__name__)
    return str(name).lstrip("_")


def _decodes(stage: Any) -> bool:
    return any(type(each).__name__ == "Decoder" for each in getattr(stage, "args", ()))
