"""Reading a page: what is on this machine is asked for directly."""

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

ROOT = Path(__file__).parents[2]
CODE = "import sys; from streams.clients.pages import get_json; print(get_json(sys.argv[1])['who'])"


@pytest.fixture
def server():
    """A server that answers with its own name and the Host it was asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"who": f"asked for {self.path}"}).encode())

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def ask(url: str, proxy: str) -> str:
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environment |= {"HTTP_PROXY": proxy, "http_proxy": proxy, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", CODE, url], env=environment, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip() or done.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_page_of_this_machine_is_not_asked_from_a_proxy(server, host):
    assert ask(f"http://{host}:{server}/", proxy="http://127.0.0.1:1") == "asked for /"


def test_a_page_of_another_machine_is(server):
    answer = ask("http://worker.invalid:6066/", proxy=f"http://127.0.0.1:{server}")
    assert answer == "asked for http://worker.invalid:6066/"
