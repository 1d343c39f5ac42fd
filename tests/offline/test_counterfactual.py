"""`freshet counterfactual`: logs with propensities, policies, and errors in a line."""

import io
import json

import numpy as np
import pytest

from streams.clients.log_errors import BadLog, BadRow
from streams.offline.propensity_log import never_shown, read_policy, read_propensity_log
from tests.cli.invoke import error_line, run


@pytest.fixture
def log(tmp_path, monkeypatch):
    """4,000 rows of three items at two positions; c is clicked most and shown least."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    shares = {"a": 0.5, "b": 0.3, "c": 0.2}
    lines = ["item_id,position,click,propensity_score,user_id,new"]
    for n in range(4000):
        item = rng.choice(list(shares), p=list(shares.values()))
        click = rng.random() < {"a": 0.1, "b": 0.1, "c": 0.4}[item]
        lines.append(f"{item},{n % 2 + 1},{int(click)},{shares[item]},u{n % 500},{1 / 3}")
    (tmp_path / "shown.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "c.csv").write_text("item,probability\na,0.1\nb,0.1\nc,0.8\n")
    return tmp_path


def figures(*arguments: str) -> dict:
    result = run("counterfactual", "shown.csv", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_policy_that_shows_what_is_clicked_gains(log):
    found = figures("--policy", "c.csv")
    assert found["estimates"]["DR"]["value"] == pytest.approx(0.34, abs=0.04)
    assert found["estimates"]["DR"]["gain_interval"][0] > 0.1
    table = run("counterfactual", "shown.csv", "--policy", "c.csv").stdout
    assert table.startswith("4,000 rows of 3 items, reward 0.1")
    assert "not known" in next(line for line in table.splitlines() if line.startswith("DM"))


def test_a_column_and_the_uniform_policy_agree(log):
    uniform, column = figures(), figures("--target", "new", "--user", "user_id")
    for name in ("IPS", "SNIPS"):
        assert uniform["estimates"][name]["value"] == pytest.approx(column["estimates"][name]["value"])
    assert "DR" not in column["estimates"]


def test_slates_add_estimates_of_whole_lists(log):
    text = (log / "shown.csv").read_text().splitlines()
    rows = [f"{line},{n // 2}" for n, line in enumerate(text[1:])]
    (log / "shown.csv").write_text("\n".join([text[0] + ",slate_id", *rows]))
    found = figures("--policy", "c.csv")
    assert found["slates"] == 2000
    independent = found["slate_estimates"]["independent IPS"]["value"]
    assert independent == pytest.approx(2 * found["estimates"]["IPS"]["value"])


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("item,probability\na,0.5\nd,0.5\n", "never shown"),
        ("item,probability\na,0.5\n", "have the sum 0.5000, and not 1"),
        ("item,probability\na,2\n", "probability: 2 is not a probability"),
        ("item\na\n", "has no column for the probability; it has item"),
    ],
)
def test_a_policy_that_the_log_cannot_judge_is_refused(log, policy, says):
    (log / "other.csv").write_text(policy)
    result = run("counterfactual", "shown.csv", "--policy", "other.csv")
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr.splitlines()[-1]


def test_two_policies_are_refused(log):
    result = run("counterfactual", "shown.csv", "--policy", "c.csv", "--target", "new")
    assert result.exit_code == 2
    assert "give one" in error_line(result)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("a,x,0.5", "reward: 'x' is not a number"),
        ("a,1,0", "cannot have been shown"),
        ("a,1,1.5", "propensity: 1.5 is not a probability"),
        ("a,nan,0.5", "reward: 'nan' is not a number"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_or_skipped(row, says):
    text = f"item,reward,propensity\n{row}\nb,1,0.5\n".encode()
    with pytest.raises(BadRow, match="line 2: ") as bad:
        read_propensity_log(io.BytesIO(text))
    assert says in str(bad.value)
    log = read_propensity_log(io.BytesIO(text), on_bad=lambda bad: None)
    assert log.names == ["b"]


def test_another_delimiter_is_read():
    log = read_propensity_log(io.BytesIO(b"item~reward~propensity\na,b~1~0.5\n"), delimiter="~")
    assert log.names == ["a,b"]


def test_a_column_that_is_missing_is_named():
    with pytest.raises(BadLog, match="has no column for the propensity; it has item, click"):
        read_propensity_log(io.BytesIO(b"item,click\na,1\n"))


def test_a_policy_by_position_is_read_by_position():
    log = read_propensity_log(io.BytesIO(b"item,slot,reward,propensity\na,1,0,1\na,2,0,0.5\nb,2,0,0.5\n"))
    text = b"item,position,probability\na,1,0.9\nb,1,0.1\na,2,0.3\nb,2,0.7\nc,3,1\n"
    policy = read_policy(io.BytesIO(text), log)
    missing = never_shown(policy, log)
    assert policy.tolist() == [[0.9, 0.3], [0.1, 0.7]]
    assert missing == pytest.approx(0.1 / 3), (
        "b is never at the first position, where a third of the rows are"
    )


def test_positions_are_in_their_order_whichever_comes_first():
    """A cascade goes from the top down, also in a log whose first row is of another place."""
    rows = b"a,10,0,1\na,2,0,1\na,1,0,1\na,2,0,1\n"
    log = read_propensity_log(io.BytesIO(b"item,position,reward,propensity\n" + rows))
    assert (log.places, log.positions.tolist()) == (["1", "2", "10"], [2, 1, 0, 1])
