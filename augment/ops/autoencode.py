"""A patch passed through the method's inpainter. Source: LCI, arXiv:2004.02331."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import fields
from ..op import Op


@dataclass(frozen=True, kw_only=True)
class Autoencode(Op):
    """crop_px: the patch. The inpainter is a model, so the method renders it."""

    type: ClassVar[str] = "autoencode"
    optional: ClassVar[frozenset[str]] = frozenset({"applies_to", "share"})

    crop_px: int | None = fields.whole()
    applies_to: str | None = fields.one_of(None, "first-half-of-batch", "second-half-of-batch")
    scope: str | None = fields.scope()
    share: str | None = fields.text()
