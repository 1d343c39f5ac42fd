"""docs/pages.md has every page and every field."""

import re
from pathlib import Path

import pytest

from tests.web.worker import Worker, get_json

DOCS = (Path(__file__).parents[2] / "docs/pages.md").read_text()


def test_every_page_is_documented(worker: Worker):
    paths = {resource.canonical for resource in worker.site.router.resources()} - {"/static"}
    for path in paths:
        assert f"`{path.removesuffix('.json').partition('{')[0] or '/'}" in DOCS, path


PATHS = ["/", "/quality", "/users/ann", "/items", "/items/a", "/map", "/live", "/settings"]


@pytest.mark.parametrize("path", PATHS)
def test_every_field_of_a_page_is_documented(worker: Worker, path: str):
    first, *id = path.strip("/").split("/")
    heading = f"## .*`/{first}{'/ID' if id else ''}`"
    section = re.split("^## ", re.split(heading, DOCS)[1], flags=re.MULTILINE)[0]
    for name in get_json(worker, path):
        assert re.search(rf"`({name}\b|[^`]*[.]{name}\b)", section), name
