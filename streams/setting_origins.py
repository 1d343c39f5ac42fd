"""Where the value of each setting comes from."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from streams.settings import ENVIRONMENT, FILE, PREFIX, Settings


def origins(settings: Settings, environ: Mapping[str, str] = ENVIRONMENT) -> dict[str, str]:
    """The origin of each setting's value: `environment`, `file`, `default` or `command line`."""
    in_file: set[str] = set()
    if file := environ.get(FILE):
        in_file = set(tomllib.loads(Path(file).read_text()))
    origin = {}
    for name in Settings.model_fields:
        if PREFIX + name.upper() in environ:
            origin[name] = "environment"
        elif name in in_file:
            origin[name] = "file"
        else:
            origin[name] = "command line" if name in settings.model_fields_set else "default"
    return origin
