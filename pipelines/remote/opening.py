"""What a user writes for shards behind URLs -> their catalogue."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Event

from ..catalogue import CATALOGUE, Catalogue, checked, read_catalogue
from ..counters import Counters
from ..faults import DataError
from ..patterns import spelt_out
from .options import Remote
from .patience import Tries
from .store import Store, scheme_of
from .trouble import Final

_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Shards:
    """catalogue: its names are URLs; store: of all of them; indexes: the local folder that has the indexes, "" where each lies
    beside its shard."""

    catalogue: Catalogue
    store: Store
    indexes: str


def find_shards(texts: Sequence[str], remote: Remote) -> Shards:
    """The shards that addresses mean: a folder's, all that its catalogue has; or a shard's, ending in .tar, with braces and
    stars, which are looked for in the catalogue. All in one folder, which has a catalogue. Raises DataError."""
    names = [name for text in texts for name in spelt_out(text)]
    for name in names:
        if "?" in name.rpartition("/")[2] and "=" in name.rpartition("?")[2]:
            raise DataError(f"{name}: an address with a query, which leads to one object only: give keys by the environment or "
                            "remote.storage_options, and plain addresses")
    folders = [name.rstrip("/") if _is_folder(name) else name.rpartition("/")[0] for name in names]
    if len(set(folders)) > 1:
        first, other = list(dict.fromkeys(folders))[:2]
        raise DataError(f"{other}: another folder than {first}: remote shards of one stream lie in one folder, with one "
                        "catalogue: give those of one, or copy them together")
    folder = folders[0]
    store = Store(scheme_of(folder), remote.storage_options, remote.patience)
    catalogue = _catalogue(store, folder, remote)
    store.close()  # the connection it came by: a stream opens its own
    chosen = [shard for name, of in zip(names, folders, strict=True) for shard in _matching(catalogue, name, of)]
    twice = next((shard for at, shard in enumerate(chosen) if len(set(chosen)) < len(chosen) and shard in chosen[:at]), None)
    if twice is not None:
        raise DataError(f"{folder}/{catalogue.names[twice]}: given twice: its samples would count double; drop one")
    if len(chosen) < len(catalogue) or chosen != list(range(len(chosen))):
        catalogue = catalogue.at(chosen)
    indexes = "" if remote.catalogue is None else str(Path(remote.catalogue).absolute())
    return Shards(catalogue.renamed([f"{folder}/{name}" for name in catalogue.names]), store, indexes)


def _is_folder(name: str) -> bool:
    return not name.rpartition("/")[2].lower().endswith(".tar")


def _catalogue(store: Store, folder: str, remote: Remote) -> Catalogue:
    if remote.catalogue is not None:
        found = read_catalogue(Path(remote.catalogue))
        if found is None:
            raise DataError(f"{remote.catalogue}: has no {CATALOGUE}: make it with viewmill pack '{folder}/*.tar' "
                            f"{remote.catalogue} --index-only")
        return found
    url = f"{folder}/{CATALOGUE}"

    def ask() -> bytes:
        got = bytearray()
        try:
            store.stream(url, 0, None, got.extend)
        except Final as trouble:
            if "404" not in str(trouble):
                raise
            raise DataError(f"{url}: there is none, so nobody knows which samples the shards hold: make it once with viewmill "
                            f"pack '{folder}/*.tar' --index-only (or, where you may not write there, with a local FOLDER before "
                            "--index-only, and remote.catalogue=FOLDER here), or check the address") from trouble
        return bytes(got)

    data = Tries(url, store.patience, Counters(), Event()).run(ask)
    try:
        return checked(Catalogue.from_bytes(data))
    except ValueError as error:
        raise DataError(f"{url}: cannot be used ({error}): write it again with viewmill pack --index-only") from error


def _matching(catalogue: Catalogue, name: str, folder: str) -> list[int]:
    """Numbers of the catalogue's shards that one address means."""
    if _is_folder(name):
        return list(range(len(catalogue)))
    wanted = name[len(folder) + 1:]
    if _GLOB.search(wanted):
        found = [shard for shard, known in enumerate(catalogue.names) if fnmatchcase(known, wanted)]
    else:
        found = [shard for shard, known in enumerate(catalogue.names) if known == wanted]
    if not found:
        span = f"from {catalogue.names[0]} to {catalogue.names[-1]}" if len(catalogue) else "none"
        raise DataError(f"{name}: not in the catalogue, which has {len(catalogue)} shards, {span}: check the address, or write "
                        "the catalogue again with viewmill pack --index-only")
    return found
