"""Damaged RocksDB folders: noticed, set aside, and replaced by empty ones, which Kafka restores.

RocksDB reports most damage when it opens or reads, but two kinds it does not. A MANIFEST that was cut opens
as an older state, without the SST files that the rest had named: they are missed by name. And iterators end
at a damaged block as they do at the end: `items` asks which it was.

A kill between the writing of an SST file and its entry in the MANIFEST looks like a cut one. The store is
then restored without need, which takes seconds and is right, too.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from rocksdict import AccessType, Options, Rdict

from streams.errors import UserError

ASIDE = ".aside"
"""Suffix of what was set aside; the latest is kept."""
DAMAGED = ".damaged"
"""Suffix of the file that notes, beside a store, damage that was met while it was in use."""


class StoreFailed(UserError):
    """A local store cannot be read or written; the message names the setting and the folder."""


class StoreDamaged(StoreFailed):
    """A local store is damaged, which was noted: it is set aside when it is opened again."""


def open_store(
    path: Path, open_at: Callable[[Path], Rdict], needed: Iterable[bytes] = ()
) -> tuple[Rdict, str | None]:
    """Open the store in `path`; a damaged one, or one whose `needed` keys cannot be read, is set aside first.

    The second value is the damage; None if there was none.  `StoreFailed` if the folder cannot be used.
    """
    damage = _noted(path)
    if damage is None:
        names = _tables(path)
        try:
            store = open_at(path)
        except Exception as error:  # noqa: BLE001  rocksdict has no class of its own
            if not is_damage(error):
                raise failure(path, error) from None
            damage = str(error)
        else:
            damage = _damage(store, names, needed)
            if damage is None:
                return store, None
            with suppress(Exception):  # it repeats the damage
                store.close()
    set_aside(path)
    _note_path(path).unlink(missing_ok=True)
    try:
        return open_at(path), damage
    except Exception as error:  # noqa: BLE001  rocksdict has no class of its own
        raise failure(path, error) from None


def open_rocksdb(path: Path, buffer_bytes: int) -> Rdict:
    """Open or create a RocksDB of bytes in `path`, with a write buffer of this size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(buffer_bytes)
    return Rdict(str(path), options, access_type=AccessType.read_write())


def is_damage(error: Exception) -> bool:
    """Whether an error of RocksDB says that its files are damaged, and not that they cannot be used now."""
    text = str(error)
    return text.startswith(("Corruption", "IO error: No such file"))


def failure(path: Path, error: Exception) -> StoreFailed:
    """What to raise for an error of the store in `path`: damage is noted, for the next start."""
    if is_damage(error):
        note(path, str(error))
        return StoreDamaged(
            f"data_dir: {path} is damaged: start again, and it is set aside and restored from Kafka ({error})"
        )
    return StoreFailed(f"data_dir: {path} cannot be used: {error}")


def note(path: Path, damage: str) -> None:
    """Note that the store in `path` is damaged: the next `open_store` sets it aside."""
    _note_path(path).write_text(damage)


def items(store: Any) -> Iterator[tuple[bytes, bytes]]:
    """All keys and values of a store or a snapshot; raises at a damaged block, where `store.items()` ends."""
    rows = store.iter()
    rows.seek_to_first()
    while rows.valid():
        yield rows.key(), rows.value()
        rows.next()
    rows.status()


def set_aside(path: Path) -> Path:
    """Rename a folder, in place of what was set aside before; returns its new place."""
    aside = path.with_name(path.name + ASIDE)
    shutil.rmtree(aside, ignore_errors=True)
    if path.exists():
        path.rename(aside)
    return aside


def _damage(store: Rdict, names: set[str], needed: Iterable[bytes]) -> str | None:
    """The damage of an open store that had SST files of these names before."""
    missing = names - {os.path.basename(file["name"]) for file in store.live_files()}
    if missing:
        return f"its MANIFEST does not name {', '.join(sorted(missing))}"
    try:
        for key in needed:
            store.get(key)
    except Exception as error:  # noqa: BLE001  rocksdict has no class of its own
        return str(error)
    return None


def _tables(path: Path) -> set[str]:
    return {file.name for file in path.glob("*.sst")}


def _noted(path: Path) -> str | None:
    try:
        return _note_path(path).read_text()
    except FileNotFoundError:
        return None


def _note_path(path: Path) -> Path:
    return path.with_name(path.name + DAMAGED)
