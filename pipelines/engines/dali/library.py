"""NVIDIA DALI itself, where it is installed. Nothing else imports it."""

from __future__ import annotations

from typing import Any

INSTALL = "pip install 'viewmill[dali]'"


def missing() -> str:
    """Empty where DALI can be imported, else what to do about it, in one line."""
    try:
        dali()
    except (ImportError, OSError) as error:  # OSError: a library of the system that it wants
        return f"engine='dali' needs NVIDIA DALI, which cannot be imported ({error}): {INSTALL}"
    return ""


def dali() -> Any:
    """The library, imported on first use. Untyped: its stubs are there only where it is installed."""
    import nvidia.dali

    return nvidia.dali
