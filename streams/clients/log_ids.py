r"""Ids and other texts of a log, as programs export them: words for no value, and whole numbers as floats.

>>> ids = Ids(print)
>>> ids.text("ann"), ids.text("\\N"), ids.text("123.0")
ids such as 123.0 are read as 123
('ann', None, '123')
"""

from collections.abc import Callable
from typing import Any

NO_VALUE = frozenset({"", "\\N", "NULL", "null", "(null)", "nan", "NaN", "<NA>", "None", "undefined"})
"""Texts that stand for no value: of databases, of pandas, of Python and JavaScript."""
EXACT_BELOW = 2.0**53
"""Floats below it are exact where they are whole numbers."""


class Ids:
    """Reads ids; `remark` is called once if some are floats that stand for whole numbers."""

    def __init__(self, remark: Callable[[str], None]) -> None:
        self._remark = remark
        self._has_remarked = False

    def text(self, value: Any) -> str | None:
        """The id that a value stands for; None for no value.  `ValueError` if it cannot be an id."""
        if isinstance(value, str):
            if value in NO_VALUE:
                return None
            return self._whole(value) if value.endswith(".0") else value
        if value is None or isinstance(value, bool):
            return None
        if isinstance(value, int):
            return str(value)
        if isinstance(value, float) and value.is_integer() and abs(value) < EXACT_BELOW:
            return self._whole(f"{value:.1f}")
        raise ValueError(f"invalid id {value!r}: expected a string or a whole number")

    def _whole(self, text: str) -> str:
        whole = text.removesuffix(".0")
        if not whole.removeprefix("-").isdecimal():
            return text
        if not self._has_remarked:
            self._has_remarked = True
            self._remark(f"ids such as {text} are read as {whole}")
        return whole
