"""Commands run in an empty folder, without settings of the machine."""

import os

import pytest


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch, tmp_path):
    for name in [n for n in os.environ if n.startswith("FRESHET_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def topic_prefix(embedded, monkeypatch, request) -> str:
    """Topics of this test's own on the embedded broker, which the settings name."""
    prefix = f"{request.node.name.split('[')[0]}."
    monkeypatch.setenv("FRESHET_BROKERS", embedded.brokers)
    monkeypatch.setenv("FRESHET_EMBEDDED", "true")
    monkeypatch.setenv("FRESHET_TOPIC_PREFIX", prefix)
    embedded.create(*(prefix + name for name in ("events", "catalog", "recommendations", "dead-letter")))
    return prefix
