"""Which requests are accepted: by host name, by token, by size and type of the body."""

from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.web.worker import BROWSER, TOKEN, Ask, Worker, browse, get, get_json, post

PATHS = ["/settings", "/dead-letters"]


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    """A worker with a token."""
    return Worker(tmp_path / "data", web_token=TOKEN)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:6066", 200), ("127.0.0.1", 200), ("[::1]:6066", 200), ("shop.example", 200),
        ("evil.example", 421), ("shop.example.evil", 421), ("localhost.evil", 421), ("", 421), ("@", 421),
    ],
)  # fmt: skip
def test_only_by_its_own_names(tmp_path, host: str, status: int):
    worker = Worker(tmp_path / "data", web_allowed_hosts={"Shop.Example"})
    for path in ("/", "/users/ann", "/metrics", "/static/freshet.css"):
        assert get(worker, path, Host=host)[0] == status


@pytest.mark.parametrize("path", PATHS)
def test_without_a_configured_token_nobody_may(tmp_path, path: str):
    worker = Worker(tmp_path / "data")
    assert post(worker, path, {"token": ""}, token="")[0] == 403
    assert post(worker, path, {"setting": "list_length", "value": 3, "who": "a"})[0] == 403
    assert get_json(worker, "/settings")["may_change"] is False
    assert "FRESHET_WEB_TOKEN" in get(worker, "/settings", BROWSER)[1]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", [None, "", "sesame", TOKEN + "x", "ü"])
def test_another_token_is_refused(worker: Worker, path: str, token: str | None):
    assert post(worker, path, {"setting": "list_length", "value": 3, "who": "a"}, token)[0] == 401
    assert worker.live_settings.published == []


@pytest.mark.parametrize("path", PATHS)
def test_a_body_must_be_small_and_of_a_kind_that_is_known(worker: Worker, path: str):
    assert post(worker, path, {"value": "x" * 1_000_001})[0] == 413
    assert post(worker, path, "x=" + "y" * 2_000_000)[0] == 413
    assert post(worker, path, urlencode({"x": "y"}), token="wrong")[0] == 401

    async def visit(ask: Ask) -> None:
        auth = {"Authorization": f"Bearer {TOKEN}"}
        for kind, body, status in (
            ("text/plain", "x", 415), ("application/json", "{", 400), ("application/json", "[1]", 400),
        ):  # fmt: skip
            answer = await ask(path, "*/*", "POST", data=body, **auth, **{"Content-Type": kind})
            assert answer[0] == status
        assert (await ask(path, "*/*", "PUT"))[0] == 405

    browse(worker.site, visit)
