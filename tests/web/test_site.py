"""What all pages share: errors, methods, headers, HTML or JSON, static files."""

import html
import re
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path

import pytest

from streams.web import routes, site
from streams.web.negotiation import wants_html
from streams.web.site import HEADERS
from tests.web.worker import BROWSER, Page, Worker, get, get_json, strict


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/users/nobody", 404), ("/users?id=nobody", 404), ("/items/nobody", 404), ("/items?id=nobody", 404),
        ("/nothing", 404), ("/users/../metrics", 404), ("/users/%2e%2e%2fmetrics", 404), ("//users/ann", 404),
        ("/../../etc/passwd", 404), ("/static/../site.py", 404), ("/static/%2e%2e/site.py", 404),
        ("/static/..%2fsite.py", 404), ("/static//etc/passwd", 404), ("/static/", 403),
        ("/metrics.json", 404), ("/table/", 404), ("/table/users/", 404), ("/router/", 404),
        ("/router/users/", 404), ("/graph", 404), ("/stats", 404), ("/performance", 404), ("/users", 400),
        ("/users?id=", 400), ("/users/", 400), ("/users/.json", 400),
        ("/users/%FF", 400), ("/users?id=%FF", 400), ("/users/" + "x" * 257, 400),
        ("/users?id=" + "%F0%9F%98%80" * 65, 400), ("/items/" + "x" * 257, 400),
    ],
)  # fmt: skip
def test_what_is_not_there_says_so_to_people_and_to_programs(worker: Worker, path: str, status: int):
    actual_status, text, headers = get(worker, path)
    assert actual_status == status
    problem = strict(text)
    assert problem["status"] == status
    assert problem["error"] == HTTPStatus(status).phrase
    assert problem["detail"]
    actual_status, text, headers = get(worker, path, BROWSER)
    assert actual_status == status
    if not path.endswith(".json"):
        assert headers["Content-Type"].startswith("text/html")
        assert html.escape(problem["error"]) in text


@pytest.mark.parametrize(
    "path", ["/", "/users/ann", "/items/a", "/metrics", "/health/live", "/static/freshet.css"]
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_everything_is_read_only(worker: Worker, path: str, method: str):
    status, text, headers = get(worker, path, method=method)
    assert status == 405
    assert "GET" in headers["Allow"]
    assert strict(text)["status"] == 405


@pytest.mark.parametrize(
    "path",
    ["/", "/?pause", "/users/ann", "/items/a", "/metrics", "/health/live", "/health/ready", "/nothing",
     "/users/nobody", "/static/freshet.css", "/static/icon.svg", "/static/nothing"],
)  # fmt: skip
def test_every_answer_has_the_headers_that_keep_it_harmless(worker: Worker, path: str):
    assert set(HEADERS) == {
        "Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cache-Control"
    }  # fmt: skip
    for accept in ("*/*", BROWSER):
        headers = get(worker, path, accept)[2]
        for name, value in HEADERS.items():
            assert headers[name] == value
        assert headers["Vary"] == "Accept"


@pytest.mark.parametrize("path", ["/", "/?pause", "/users/ann", "/items/a", "/health/ready", "/nothing"])
def test_pages_hold_no_inline_script_no_style_and_nothing_from_elsewhere(worker: Worker, path: str):
    page = Page(get(worker, path, BROWSER)[1])
    assert page.elements[0][0] == "html"
    assert page.elements[0][1] == {"lang": "en", "data-root": ""}
    for tag, attributes in page.elements:
        assert tag != "style"
        assert not any(a == "style" or a.startswith("on") for a in attributes)
        assert tag != "script" or attributes["src"].startswith("/static/")
        for name in ("href", "src", "action", "formaction"):
            where = attributes.get(name) or "/"
            other = tag == "a" and path in ("/", "/?pause")  # another process's pages
            assert where[0] in "/?#" or other
    assert sum(tag == "h1" for tag, _ in page.elements) == 1


def test_a_page_that_fails_says_so_and_logs_why(worker: Worker, monkeypatch, caplog):
    monkeypatch.setattr(routes, "health", lambda *args: 1 / 0)
    status, text, headers = get(worker, "/health/ready")
    assert status == 500
    assert "ZeroDivisionError" not in text
    assert "ZeroDivisionError" in caplog.text
    assert headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (BROWSER, True), ("text/html", True), ("TEXT/HTML;level=1", True), ("", False), ("*/*", False),
        ("application/json", False), ("text/html;q=0", False), ("text/html;q=x", False), (";;,,", False),
        ("application/json, text/html", True), ("application/json, text/html;q=0.9", False),
        ("text/plain", False),
    ],
)  # fmt: skip
def test_html_is_for_those_who_ask_for_it(worker: Worker, accept: str, html: bool):
    assert wants_html(accept) is html
    assert get(worker, "/", accept)[2]["Content-Type"].startswith("text/html" if html else "application/json")


@pytest.mark.parametrize(
    "path", ["/.json", "/users/ann.json", "/items/a.json", "/health/live.json", "/users.json?id=ann"]
)
def test_json_at_the_end_asks_for_json(worker: Worker, path: str):
    assert isinstance(get_json(worker, path, BROWSER), dict)


def test_pages_link_to_their_figures_as_json(worker: Worker):
    for path in ("/", "/users/ann", "/users?id=ann", "/items/a", "/health/live"):
        hrefs = [e["href"] for tag, e in Page(get(worker, path, BROWSER)[1]).elements if tag == "a"]
        (twin,) = [href for href in hrefs if ".json" in href]
        assert get_json(worker, twin, BROWSER).keys() == get_json(worker, path).keys()


def test_head_is_get_without_the_body(worker: Worker):
    status, text, headers = get(worker, "/users/ann", method="HEAD")
    assert (status, text) == (200, "")
    assert headers["Content-Type"] == "application/json"


VENDORED = Path(site.__file__).parent / "static/vendor", Path(__file__).parents[1] / "browser"


@pytest.mark.parametrize("folder", VENDORED, ids=lambda folder: folder.name)
def test_vendored_files_are_what_was_published(folder: Path):
    sums = dict(reversed(line.split()) for line in (folder / "SHA256SUMS").read_text().splitlines())
    ours = {"SHA256SUMS", *(f.name for f in folder.iterdir() if f.suffix in (".py", "") or f.is_dir())}
    checksums = {f.name: sha256(f.read_bytes()).hexdigest() for f in folder.iterdir() if f.name not in ours}
    assert checksums == sums


@pytest.mark.parametrize(
    "path", ["/", "/quality", "/users/ann", "/items/a", "/map", "/live", "/settings", "/x"]
)
def test_under_a_sub_path_every_address_begins_with_it(worker: Worker, tmp_path: Path, path: str):
    behind_proxy = Worker(tmp_path / "data", web_root_path="/freshet")
    behind_proxy.learn()
    addresses = [
        value
        for _, attributes in Page(get(behind_proxy, path, BROWSER)[1]).elements
        for name, value in attributes.items()
        if name in ("href", "src", "action", "formaction", "hx-get", "data-from")
    ]
    assert len(addresses) > 10
    assert [a for a in addresses if not (a or "").startswith(("/freshet/", "?", "#"))] == []


def test_no_template_or_script_has_an_address_that_begins_with_a_slash():
    """Also those that no test renders: addresses begin with `root`."""
    web = Path(site.__file__).parent
    templates = {path.name: path.read_text() for path in sorted(web.glob("templates/*.html"))}
    scripts = {path.name: path.read_text() for path in sorted(web.glob("static/*.js"))}
    assert len(templates) > 10
    assert len(scripts) > 3
    attribute = re.compile(
        r"""\b(?:href|src|(?:form)?action|hx-\w+|data-from)=["'](?:/|{{ (?!root|address|entry))"""
    )
    assert {name: attribute.findall(text) for name, text in templates.items() if attribute.search(text)} == {}
    assert {name for name, text in scripts.items() if re.search(r"""(?:["'`]|\()/\w""", text)} == set()
