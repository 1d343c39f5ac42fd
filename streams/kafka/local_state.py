"""A process's folder below `data_dir`: named by its deployment, locked, and of the topics as they are now."""

import fcntl
import os
from pathlib import Path
from typing import IO

from streams.errors import UserError
from streams.kafka.admin import START_OVER
from streams.kafka.damage import set_aside
from streams.kafka.identity import Comparison, Identity, compare, folder_name, read, write
from streams.kafka.repairs import FOLDER, MODEL, Repairs
from streams.settings import Settings

MODEL_CACHE = "model-cache"
"""The folder of the replica's copy of the model, in a worker's folder."""


class FolderUnusable(UserError):
    """The folder cannot be used; the message names the setting and the folder."""


class LocalFolder:
    """The folder of one process; locked until `close`, or as long as the object lives."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path, self._lock = path, lock

    def close(self) -> None:
        """Give the folder back; the end of the process does so, too."""
        self._lock.close()


def open_folder(settings: Settings, app_id: str, identity: Identity) -> LocalFolder:
    """Create and lock the folder of a process.

    `FolderUnusable` if it cannot be written, or another process has it.
    """
    path = settings.data_dir / folder_name(identity) / app_id
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / "probe"
        probe.write_bytes(b"\0" * 4096)  # a full disk creates files, and writes none
        probe.unlink()
        return LocalFolder(path, _locked(path))
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise FolderUnusable(
            f"data_dir: {path} cannot be written ({why}): set FRESHET_DATA_DIR to a folder that can"
        ) from None


def _locked(path: Path) -> IO[str]:
    """The lock beside a folder: the folder itself may be set aside."""
    lock = path.with_name(f"{path.name}.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        raise FolderUnusable(
            f"data_dir: {path} is in use by another process ({owner}): give each process a folder of its own"
            " with --data-dir or FRESHET_DATA_DIR"
        ) from None
    lock.truncate(0)
    lock.write(f"pid {os.getpid()}")
    lock.flush()
    return lock


def check_identity(settings: Settings, folder: Path, current: Identity, repairs: Repairs) -> None:
    """Set aside what is not of the topics as they are now.  `FolderUnusable` if these do not fit together."""
    saved = read(folder)
    if saved is None:
        found = Comparison(everything="it has no identity" if any(folder.iterdir()) else "")
    else:
        found = compare(saved, current)
    if found.refusal:
        raise FolderUnusable(f"{settings.topic('events')} {found.refusal}; {START_OVER}")
    if found.everything:
        repairs.add(FOLDER, f"{found.everything}; {set_aside(folder)}")
        folder.mkdir()
    if found.model and (folder / MODEL_CACHE).exists():
        repairs.add(MODEL, f"{found.model}; {set_aside(folder / MODEL_CACHE)}")
    write(folder, current)


def unused_folders(settings: Settings) -> list[Path]:
    """The folders of former versions, which kept state directly in `data_dir`."""
    former = (settings.data_dir / name for name in ("freshet-serving", "freshet-learning", MODEL_CACHE))
    return [folder for folder in former if folder.is_dir()]
