"""A report is passed on: what opens a store stays out of it."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "(not shown)"

_LOGIN = re.compile(r"(?<=://)[^/@\s'\"]+@")
_SIGNED = re.compile(r"(?i)([?&](?:x-amz-[a-z-]+|x-goog-[a-z-]+|sig|signature|token|access_token|key|se|sp|sv)=)[^&\s'\"\]]+")


def without_secrets(name: str, value: Any) -> Any:
    """The value of a key as it may be shown: options of a store not at all, addresses without logins and signatures."""
    if name == "storage_options":
        return HIDDEN if value else value
    if isinstance(value, str):
        return _SIGNED.sub(rf"\1{HIDDEN}", _LOGIN.sub("", value))
    if isinstance(value, list):
        return [without_secrets("", each) for each in value]
    return value
