"""The settings as this process was started, with the changes on the topic `settings`."""

import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType

from streams.kafka.follower import Follower
from streams.messages import SettingChange, decode_change
from streams.runtime.overrides import overridden
from streams.settings import Settings


class SettingsTopic:
    """Follows the topic in a thread; `made` and `current` are replaced, never changed."""

    def __init__(self, configured: Settings, changed: Callable[[str], None] = lambda name: None) -> None:
        """`changed` is called in the thread, after each change, with the setting's name."""
        self.configured = self.current = configured
        self.made: Mapping[str, SettingChange] = MappingProxyType({})
        """Setting ▶ its latest change."""
        self._changed, self._noting = changed, threading.Lock()
        self._follower = Follower(configured, "settings", self._take)
        self.start, self.stop = self._follower.start, self._follower.stop

    @property
    def caught_up(self) -> bool:
        """Whether all that was changed before the start is in it."""
        return self._follower.caught_up

    def note(self, name: str, change: SettingChange | None) -> None:
        """Take over a change; None takes the setting back."""
        with self._noting:  # the thread that follows, and a page on the loop
            made = {setting: one for setting, one in self.made.items() if setting != name}
            self.made = MappingProxyType(made if change is None else made | {name: change})
            self.current = overridden(self.configured, self.made)

    def _take(self, key: bytes, value: bytes | None, written: int) -> None:
        self.note(key.decode(), decode_change(value) if value else None)
        self._changed(key.decode())
