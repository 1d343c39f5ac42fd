"""Waiting for a condition, with a bound."""

import time
from collections.abc import Callable
from typing import Any


def within(seconds: float, condition: Callable[[], Any], every_s: float = 0.1) -> Any:
    """The first true value of `condition`; its last value if there is none within `seconds`."""
    until = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < until:
        time.sleep(every_s)
    return value
