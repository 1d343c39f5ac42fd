"""What a replica keeps on disk, when it is killed while it writes."""

import pytest
from rocksdict import Options, Rdict

from models.learning import CHECKPOINT_KEY
from streams.kafka import replica


class Killed(Exception):
    """Stands for the end of the process."""


class Dying:
    """A store whose process ends at the n-th write."""

    def __init__(self, store: Rdict, writes: int) -> None:
        self._store, self._left = store, writes

    def write(self, batch) -> None:
        if not self._left:
            raise Killed
        self._left -= 1
        self._store.write(batch)


def rows(version: bytes) -> dict[bytes, bytes | None]:
    of_items = {b"next/%d" % row: version for row in range(3 * replica.SLICE)}
    return {CHECKPOINT_KEY: version, **of_items, replica._NEXT: version}


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_a_kill_leaves_the_older_place_to_go_on_from(tmp_path, writes):
    store = Rdict(str(tmp_path), Options(raw_mode=True))
    replica._save(store, rows(b"older"))
    with pytest.raises(Killed):
        replica._save(Dying(store, writes), rows(b"newer"))
    assert (store[CHECKPOINT_KEY], store[replica._NEXT]) == (b"older", b"older")
    newer = sum(value == b"newer" for _, value in store.items())
    assert newer == writes * replica.SLICE
    replica._save(store, {**rows(b"newest"), b"next/7": None})
    assert {value for _, value in store.items()} == {b"newest"} and b"next/7" not in store
