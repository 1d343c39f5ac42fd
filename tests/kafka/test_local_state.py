"""A folder belongs to one deployment and one process, and what is of other topics is set aside."""

import errno
import os
import subprocess
import sys

import pytest

from streams.kafka.identity import Identity, folder_name, read
from streams.kafka.local_state import MODEL_CACHE, FolderUnusable, check_identity, open_folder, unused_folders
from streams.kafka.repairs import Repairs
from streams.settings import Settings

APP = "freshet-serving"
NOW = Identity(1, "cluster", "", events="e1", changelog="c1", model="m1")


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path)


def start(settings: Settings, identity: Identity) -> tuple[set[str], dict[str, float]]:
    """One start of a worker: what its folder holds then, and the repairs that were counted."""
    repairs = Repairs()
    folder = open_folder(settings, APP, identity).path
    check_identity(settings, folder, identity, repairs)
    assert read(folder) == identity
    held = {file.name for file in folder.iterdir()}
    (folder / "users-0.db").mkdir(exist_ok=True)
    (folder / MODEL_CACHE).mkdir(exist_ok=True)
    return held, {kind: n for kind, n in repairs.counts().items() if n}


def test_each_prefix_and_each_cluster_has_a_folder_of_its_own(settings):
    identities = [Identity(1, cluster, prefix) for cluster in ("one", "two") for prefix in ("", "trial-")]
    assert len({folder_name(identity) for identity in identities}) == 4
    for identity in identities:
        assert start(settings, identity) == ({"identity.json"}, {})


def test_a_restart_keeps_everything(settings):
    start(settings, NOW)
    assert start(settings, NOW) == ({"identity.json", "users-0.db", MODEL_CACHE}, {})


@pytest.mark.parametrize(
    "now",
    [
        Identity(2, "cluster", "", events="e1", changelog="c1", model="m1"),
        Identity(1, "cluster", "", events="e2", changelog="c2", model="m2"),
    ],
    ids=["another layout", "all topics recreated"],
)
def test_state_of_other_topics_is_set_aside(settings, now):
    start(settings, NOW)
    assert start(settings, now) == ({"identity.json"}, {"repairs:folder": 1})
    aside = settings.data_dir / folder_name(now) / f"{APP}.aside"
    assert (aside / "users-0.db").is_dir()


def test_a_copy_of_another_model_is_set_aside_alone(settings):
    start(settings, NOW)
    held, repairs = start(settings, Identity(1, "cluster", "", events="e1", changelog="c1", model="m2"))
    assert held == {"identity.json", "users-0.db", f"{MODEL_CACHE}.aside"}
    assert repairs == {"repairs:model": 1}


def test_a_recreated_changelog_alone_keeps_the_users_to_write_them_again(settings):
    start(settings, NOW)
    held, repairs = start(settings, Identity(1, "cluster", "", events="e1", changelog="c2", model="m1"))
    assert (held, repairs) == ({"identity.json", "users-0.db", MODEL_CACHE}, {})


def test_recreated_events_alone_are_refused(settings):
    start(settings, NOW)
    with pytest.raises(FolderUnusable, match="events was recreated, and the users changelog holds offsets"):
        start(settings, Identity(1, "cluster", "", events="e2", changelog="c1", model="m1"))


def test_a_broker_that_tells_no_topics_apart_fits(settings):
    start(settings, Identity(1, "cluster", ""))
    assert start(settings, NOW)[1] == {}


SECOND = """
import sys
from pathlib import Path
from streams.kafka.identity import Identity
from streams.kafka.local_state import FolderUnusable, open_folder
from streams.settings import Settings

try:
    open_folder(Settings(data_dir=Path(sys.argv[1])), sys.argv[2], Identity(1, "cluster", ""))
except FolderUnusable as error:
    print(error)
"""


def test_a_second_process_is_refused_until_the_first_one_has_ended(settings):
    first = open_folder(settings, APP, NOW)

    def second(app: str) -> str:
        command = [sys.executable, "-c", SECOND, str(settings.data_dir), app]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert second(APP) == (
        f"data_dir: {first.path} is in use by another process (pid {os.getpid()}): give each process a folder"
        " of its own with --data-dir or FRESHET_DATA_DIR\n"
    )
    assert second("freshet-learning") == "", "a learner keeps its own"
    first.close()
    assert second(APP) == ""


def test_a_folder_that_cannot_be_written_is_named_with_its_setting(settings):
    (settings.data_dir / "file").write_text("")
    for refused in (settings.data_dir / "file", settings.data_dir / "file" / "below"):
        with pytest.raises(
            FolderUnusable, match=f"^data_dir: {refused}.* cannot be written .*FRESHET_DATA_DIR"
        ):
            open_folder(settings.model_copy(update={"data_dir": refused}), APP, NOW)


def test_the_folders_of_a_former_version_are_found(settings):
    assert unused_folders(settings) == []
    (settings.data_dir / APP).mkdir()
    assert unused_folders(settings) == [settings.data_dir / APP]


def test_a_full_disk_is_named_with_its_setting(settings, monkeypatch):
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(FolderUnusable, match=r"^data_dir: .* cannot be written \(No space left on device\)"):
        open_folder(settings, APP, NOW)
