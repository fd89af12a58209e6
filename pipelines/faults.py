"""What can be wrong with data: one sample, or all of it."""

from __future__ import annotations


class BadSample(Exception):
    """One sample cannot be used. The text is a reason without names or numbers of the sample, so that reasons can be
    counted; where it lies is the source's to say."""


class DataError(ValueError):
    """The data cannot be used as asked. One line: what, where, the value found, the way out."""
