"""HTML from figures, with Jinja2: everything is escaped, no page has inline script or style."""

from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from models.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from streams.printable import printable_lines

NONE = "–"
"""Shown for a figure that does not exist."""
_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, data: dict[str, Any], root: str = "", **more: Any) -> str:
    """The HTML of `templates/<template>.html` for the figures that the JSON has, with more variables.

    `root` is the path under which the pages are reached, the setting `web_root_path`.
    """
    return _environment(root).get_template(f"{template}.html").render(data=data, **more)


def number(value: float | None) -> str:
    """A number, with a decimal only below 100.

    >>> number(12345), number(3.14), number(None)
    ('12,345', '3.1', '–')
    """
    if value is None:
        return NONE
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.1f}"


def percent(part: float, whole: float) -> str:
    """A share in percent.

    >>> percent(1, 8), percent(0, 0)
    ('12.5 %', '–')
    """
    return f"{100 * part / whole:.1f} %" if whole else NONE


def state(name: str) -> str:
    """The word for a process's `state` in the overview's JSON, which has other names for two of them.

    >>> state("learns"), state("stands by"), state("ready")
    ('active', 'standby', 'ready')
    """
    return {"learns": "active", "stands by": "standby"}.get(name, name)


def span(ms: float | None) -> str:
    """A duration, ms, in its two largest units.

    >>> span(3), span(1500), span(90_000), span(7_300_000), span(172_800_000), span(None)
    ('3 ms', '1.5 s', '1 min 30 s', '2 h 1 min', '2 d', '–')
    """
    if ms is None:
        return NONE
    if ms < SECOND_MS:
        return f"{ms:.0f} ms"
    if ms < MINUTE_MS:
        return f"{ms / SECOND_MS:.1f} s"
    whole = int(ms)
    for large_ms, large, small_ms, small in (
        (DAY_MS, "d", HOUR_MS, "h"),
        (HOUR_MS, "h", MINUTE_MS, "min"),
        (MINUTE_MS, "min", SECOND_MS, "s"),
    ):
        if whole >= large_ms:
            rest = whole % large_ms // small_ms
            return f"{whole // large_ms} {large}" + (f" {rest} {small}" if rest else "")
    raise AssertionError(ms)


def size(count: float | None) -> str:
    """A number of bytes.

    >>> size(512), size(3 * 2**20), size(1.5 * 2**30), size(None)
    ('512 B', '3.0 MiB', '1.5 GiB', '–')
    """
    if count is None:
        return NONE
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def utc(ms: int) -> str:
    """A time in UTC.

    >>> utc(1_700_000_000_000)
    '2023-11-14 22:13:20'
    """
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def address(root: str, kind: str, id: str) -> str:
    """Path of the page of a user or an item under `root`; static/address.js does the same.

    >>> address("", "users", "a/b"), address("", "items", "a.json"), address("/shop", "users", "..")
    ('/users/a%2Fb', '/items?id=a.json', '/shop/users?id=..')
    """
    quoted = quote(id, safe="")
    if id in (".", "..") or id.endswith(".json"):  # browsers resolve dots, `.json` asks for JSON
        return f"{root}/{kind}?id={quoted}"
    return f"{root}/{kind}/{quoted}"


def form_value(text: str) -> Markup:
    r"""A text that a form sends back as it is: control characters as references, which browsers decode.

    Those from 0x80 to 0x9f have no reference, and come back as they are shown.

    >>> form_value("\x1b<")
    Markup('&#x1b;&lt;')
    """
    return Markup(printable_lines(escape(text).translate(_REFERENCES)))  # noqa: S704  # it is escaped


_REFERENCES = {code: f"&#x{code:x};" for code in (*range(1, 9), *range(11, 32), 0x7F, *range(0x2028, 0x206A))}


def _printable(value: Any) -> Any:
    """What a template prints: control characters as escapes, because a terminal may show the page, too."""
    return printable_lines(value) if type(value) is str else value  # a Markup is made of such values


@cache
def _environment(root: str) -> Environment:
    env = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=_printable,
    )
    env.filters |= {
        "number": number,
        "span": span,
        "state": state,
        "utc": utc,
        "bytes": size,
        "form": form_value,
    }
    env.globals |= {"percent": percent, "root": root, "address": partial(address, root)}
    return env


def compile_templates(root: str) -> None:
    """Compile all templates now: a page would otherwise do it on the loop that serves the stream."""
    env = _environment(root)
    for name in env.list_templates():
        env.get_template(name)
