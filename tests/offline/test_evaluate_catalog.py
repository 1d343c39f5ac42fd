"""`freshet evaluate` with a catalog and placements: what a worker with them would list."""

import json

import pytest

from tests.cli.invoke import run

PLACEMENTS = {
    "plain": {"rules": []},
    "like-this": {"start": "item"},
    "cheap": {"where": {"price": {"to": 9}}},
    "popular": {"generators": {"popularity": 1.0}},
}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Users who walk round a ring of 30 items; a catalog in which the last three are sold out."""
    monkeypatch.setenv("FRESHET_MAX_ITEMS", "1000")
    monkeypatch.setenv("FRESHET_PLACEMENTS", json.dumps(PLACEMENTS))
    log, catalog = tmp_path / "log.csv", tmp_path / "items.csv"
    rows = [f"{1_700_000_000_000 + n * 1000},u{n % 8},i{(n // 8 + n % 8 * 3) % 30},view" for n in range(1600)]
    log.write_text("timestamp,user_id,item_id,type\n" + "\n".join(rows) + "\n")
    items = [
        f"i{n},Item {n},C{n % 3}/D{n % 6},Author {n % 4},{n},{'false' if n >= 27 else 'true'},g{n // 10}"
        for n in range(30)
    ]
    catalog.write_text("item,title,categories,author,price,available,group\n" + "\n".join(items) + "\n")
    return str(log), str(catalog)


def evaluated(*args):
    result = run("evaluate", *args, "--json", "--at", "5")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)["recommenders"]


def test_only_what_is_offered_is_in_the_lists(files):
    log, catalog = files
    assert "catalog" not in evaluated(log)["all"]
    free = evaluated(log, "--catalog", catalog, "--placement", "plain")
    assert free["placement plain"]["recall@5"] > 0.5, "the ring is easy, but for the items that are sold out"
    assert free["all"]["coverage"] <= 27 / 30
    assert free["placement plain"]["coverage"] <= 27 / 30, "what is sold out is in no list"
    assert evaluated(log)["all"]["coverage"] > 27 / 30


def test_placements_start_and_filter_as_a_worker_does(files, monkeypatch):
    log, catalog = files
    monkeypatch.setenv("FRESHET_RULES", "[]")
    result = evaluated(log, "--catalog", catalog, *(f"--placement={name}" for name in PLACEMENTS))
    assert list(result)[2:] == [f"placement {name}" for name in PLACEMENTS]
    assert result["placement plain"]["recall@5"] == result["all"]["recall@5"]
    assert result["placement like-this"]["recall@5"] > 0.5
    cheap = result["placement cheap"]
    assert cheap["coverage"] <= 10 / 30
    assert 0 < cheap["recall@5"] < result["all"]["recall@5"]
    assert result["placement popular"]["recall@5"] == result["popularity"]["recall@5"]


def test_lists_are_measured_by_category_and_author(files, monkeypatch):
    log, catalog = files
    monkeypatch.setenv("FRESHET_RULES", '[{"rule": "at-most", "of": "category", "n": 1}]')
    result = evaluated(log, "--catalog", catalog, "--placement", "plain")
    one_each, plain = result["all"]["catalog"], result["placement plain"]["catalog"]
    assert one_each["category_diversity"] == 1
    assert 0.5 < plain["category_diversity"] < 1
    assert set(plain["category_shares"]) == {f"C{n % 3}/D{n}" for n in range(6)}
    assert sum(plain["category_shares"].values()) == pytest.approx(1)
    assert 0 < plain["author_gini"] < 0.5
    assert 0 < plain["least_shown_decile"] <= 0.25
    text = run("evaluate", log, "--catalog", catalog, "--at", "5").stdout
    assert "categories and authors" in text
    assert "least-shown decile" in text


def test_a_placement_that_there_is_not_is_one_line(files):
    log, _ = files
    result = run("evaluate", log, "--placement", "home")
    assert result.exit_code == 2
    assert "unknown placement 'home' in --placement: expected one of plain, like-this" in result.stderr


def test_a_catalog_without_an_item_is_one_line(files, tmp_path):
    empty = tmp_path / "empty.csv"
    empty.write_text("item,title\n")
    result = run("evaluate", files[0], "--catalog", str(empty))
    assert result.exit_code == 1
    assert "has no row that is a valid item" in result.stderr
