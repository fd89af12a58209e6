"""What can go wrong between here and a store, sorted by what to do about it."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from time import time


class Trouble(Exception):
    """The text says what happened, without the URL."""


class Final(Trouble):
    """Asking again will not help: no such object, no permission, an address or option that is wrong."""


class Passing(Trouble):
    """Asking again may help. after_s: how long the server asks us to wait first; 0 where it does not say."""

    def __init__(self, text: str, after_s: float = 0.0) -> None:
        super().__init__(text)
        self.after_s = after_s


class Changed(Trouble):
    """The object is not the one that was begun, or not the one that the catalogue knows."""


class Local(Trouble):
    """This machine's disk, not the store: what writing here raised, as its cause."""


class NoRoom(Local):
    """Other transfers hold what is left of the cache."""


class Closed(Trouble):
    """Whoever asked has gone."""


TRY_AGAIN = frozenset([408, 425, 429])
OTHER_OBJECT = frozenset([412, 416])
_SAID = {401: "access is refused (401)", 403: "access is refused (403)", 404: "there is no such object (404)",
         410: "there is no such object any more (410)", 429: "asks for fewer requests (429)"}
_OURS = (ValueError, TypeError, AttributeError, LookupError, ImportError, NotImplementedError, IsADirectoryError,
         NotADirectoryError)
_NO_KEYS = frozenset(["NoCredentialsError", "PartialCredentialsError", "NoAuthTokenError", "DefaultCredentialsError"])
_OURS_BY_NAME = frozenset(["ParamValidationError", "InvalidURL"])


def of_status(status: int, headers: object = None) -> Trouble:
    """The trouble that an HTTP status (>= 400) means."""
    said = _SAID.get(status, f"the server answers with status {status}")
    if status in OTHER_OBJECT:
        return Changed(said)
    if status in TRY_AGAIN or status >= 500:
        return Passing(said, retry_after_s(headers))
    return Final(said)


def of_error(error: BaseException) -> Trouble:
    """The trouble that an exception of fsspec, or of a client below it, means."""
    if isinstance(error, Trouble):
        return error
    if isinstance(error, FileNotFoundError):
        return Final(_SAID[404])
    status, headers = _status(error)
    if status is not None:
        return of_status(status, headers)
    if isinstance(error, PermissionError):
        return Final(_SAID[403])
    text = f"{type(error).__name__}: {error}".rstrip(": ").splitlines()[0]
    if type(error).__name__ in _NO_KEYS:
        return Final(f"no credentials ({text})")
    if isinstance(error, TimeoutError):
        return Passing("no answer in time")
    return Final(text) if isinstance(error, _OURS) or type(error).__name__ in _OURS_BY_NAME else Passing(text)


def retry_after_s(headers: object) -> float:
    """Seconds that a Retry-After header asks for, as a number or a date; 0 without one."""
    get = getattr(headers, "get", None)
    said = get("Retry-After") or get("retry-after") if get is not None else None
    if not said:
        return 0.0
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time())
    except (TypeError, ValueError):
        return 0.0


def _status(error: BaseException | None) -> tuple[int | None, object]:
    """The HTTP status behind an exception, and its headers: aiohttp's, botocore's, gcsfs's and requests' all differ."""
    for _ in range(4):
        if error is None or type(error).__module__ == "aiohttp.http_exceptions":  # a broken answer has a code 400 of its own
            break
        response = getattr(error, "response", None)
        if isinstance(response, dict):  # botocore
            about = response.get("ResponseMetadata", {})
            if isinstance(about.get("HTTPStatusCode"), int) and about["HTTPStatusCode"] >= 400:
                return about["HTTPStatusCode"], about.get("HTTPHeaders")
        for holder, name in ((error, "status"), (error, "code"), (response, "status_code")):
            status = getattr(holder, name, None)
            if isinstance(status, int | str) and str(status).isdigit() and 400 <= int(status) < 600:
                return int(status), getattr(holder, "headers", None)
        error = error.__cause__
    return None, None
