"""`freshet evaluate` on small logs: options, figures, and that its steps are the stream's."""

import csv
import json
import random
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from models.core import HISTORY
from models.evaluation.facts import facts
from models.evaluation.protocols import FIRST_PIECES
from models.evaluation.run import before
from models.registry import RANKERS
from streams.cli import cli
from streams.clients.logs import open_log
from streams.messages import Event
from streams.offline.evaluate import Read, evaluate, take, weigh
from streams.offline.options import BadPlan, Options, duration_ms
from streams.offline.plan import Taken, plan
from streams.settings import Settings
from streams.step.accept import accept, example
from streams.step.policy import ServingPolicy
from streams.step.users import User

POLICY = ServingPolicy.from_settings(Settings())
SMALL = Settings(generators={"next": 1.0, "popularity": 0.1}, max_items=1000)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setenv("FRESHET_GENERATORS", '{"next": 1.0, "popularity": 0.1}')
    monkeypatch.setenv("FRESHET_MAX_ITEMS", "1000")


def rows(n: int = 600, users: int = 10, items: int = 30, seed: int = 1) -> list[dict[str, object]]:
    """A chain with a little noise, every tenth event a purchase, two days long, in three parts."""
    rng, at = random.Random(seed), {}
    found = []
    for k in range(n):
        user = rng.randrange(users)
        at[user] = (at.get(user, user) + 1) % items if rng.random() < 0.9 else rng.randrange(items)
        found.append(
            {
                "time": 1_500_000_000_000 + k * 172_800_000 // n,
                "user": f"u{user}",
                "item": f"i{at[user]}",
                "type": "purchase" if k % 10 == 9 else "view",
                "value": k % 5 + 1,
                "part": ("train", "valid", "test")[k * 3 // n],
            }
        )
    return found


def written(path: Path, log: list[dict[str, object]]) -> str:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(log[0]))
        writer.writeheader()
        writer.writerows(log)
    return str(path)


@pytest.fixture
def log(tmp_path):
    return written(tmp_path / "log.csv", rows())


def run(*args: str):
    return CliRunner().invoke(cli, args, prog_name="freshet")


def figures(*args: str) -> dict:
    result = run("evaluate", *args, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def taken(file: str, options: Options = Options(), settings: Settings = SMALL) -> Taken:  # noqa: B008
    context = [options.label] if options.label else []
    pairs = list(
        take(open_log(file, run="e", context=context), ServingPolicy.from_settings(settings), options, Read())
    )
    return Taken([one for one, _ in pairs], [label for _, label in pairs])


# what is read


def test_examples_are_those_of_a_worker(log):
    """The same bytes through `serve` and through `take`."""
    from streams.messages import decode_example, encode
    from streams.step.serve import serve
    from tests.step.test_serve import Echo

    class Record:
        def __init__(self, offset: int, event: Event) -> None:
            self.key, self.value, self.offset = event.user.encode(), encode(event), offset
            self.partition, self.timestamp = 0, 1_700_000_000_000
            self.headers = [("replay", b"%d" % event.time_ms)]

    class Silent(Echo):
        def recommend(self, asked, k):
            from models.core import Slate

            return [Slate((), (), ())] * len(asked)

    events = list(open_log(log, run="e"))
    records = [Record(n, event) for n, event in enumerate(events)]
    writes = serve(records, "events", lambda partition, key: None, Silent(), POLICY, lambda: 0)
    served = [decode_example(value) for _, value, _ in writes.outputs["examples"][0]]
    assert served == taken(log).examples
    assert len(served) == 600


def test_a_prediction_is_what_a_request_in_that_moment_would_get():
    """Also where the event begins a session: no one knows yet that it does."""
    rng, user, time = random.Random(2), User(), 10**12
    for n in range(200):
        time += rng.choice([1000, 60_000, 3_600_000])
        event = Event(event_id=f"e{n}", user="u", type="view", item=f"i{rng.randrange(9)}", time=time)
        request = Event(event_id=f"r{n}", user="u", type="request", time=time)
        _, _, asking = accept(user, request, n, time, POLICY)
        user, _, accepted = accept(user, event, n, time, POLICY)
        assert asking is not None
        assert accepted is not None
        taught = example(accepted, User())
        assert taught is not None
        assert before(taught) == asking.query
        assert example(asking, User()) is None, "a request teaches nothing"
    assert len(user.items[-HISTORY:]) == HISTORY


def test_filters_and_weights(log):
    assert len(taken(log, Options(min_value=5)).examples) == 120
    assert [e.item for e in taken(log, Options(limit=7)).examples] == [r["item"] for r in rows()[:7]]
    assert len(taken(log, Options(limit=100, min_value=5)).examples) == 20
    kept = taken(log, Options(drop_reloads=True)).examples
    assert 570 < len(kept) < 600
    assert not any(e.history and e.history[-1] == e.item for e in kept)
    weighed = weigh(SMALL, {"view": 0, "purchase": 2})
    found = taken(log, Options(), weighed).examples
    assert {(e.type, e.weight) for e in found} == {("purchase", 2.0)}
    assert len(found) == 60
    assert len(taken(log, Options(), weigh(SMALL, {"*": 0, "view": 1})).examples) == 540


# protocols


def steps(file: str, **given: object):
    options = Options(**given)
    found = taken(file, options)
    return found, list(plan(options, found, facts(found.examples)))


def scored(made) -> list[int]:
    return np.concatenate([step.scored for step in made]).tolist()


def test_types_first_events_and_repeats_can_be_left_out(log):
    found, made = steps(log, types=frozenset({"purchase"}), skip_first=True, skip_repeats=True, warm_up="50%")
    chosen = [found.examples[n] for n in scored(made)]
    assert 25 < len(chosen) <= 30
    assert {one.type for one in chosen} == {"purchase"}
    assert all(one.history and one.history[-1] != one.item for one in chosen)
    assert min(scored(made)) >= 300
    assert sum(len(step.learnt) for step in made) == 600


def test_windows_of_time_and_of_a_column(log):
    found, made = steps(log, protocol="windows", window="12h")
    assert [step.window for step in made] == [0] * FIRST_PIECES + [1, 2, 3]
    assert [len(step.scored) for step in made] == [0] * FIRST_PIECES + [150, 150, 150]
    found, made = steps(log, protocol="windows", window="part", target="last")
    assert [len(step.learnt) for step in made] == [25] * FIRST_PIECES + [200, 200]
    ends = {(found.examples[n].user, found.examples[n].session) for n in made[FIRST_PIECES].scored}
    assert 0 < len(ends) == len(made[FIRST_PIECES].scored), "one a session"
    _, picked = steps(log, protocol="windows", window="12h", windows=(2, 2))
    assert [(step.window, len(step.scored)) for step in picked][FIRST_PIECES:] == [(1, 0), (2, 150)]


def test_unseen_items_are_dropped_as_in_ader(tmp_path):
    log = [
        {"time": n, "user": user, "item": item, "period": period}
        for n, (user, item, period) in enumerate(
            [("a", "x", 0), ("a", "y", 0), ("b", "new", 1), ("b", "x", 1), ("b", "y", 1), ("c", "new", 1),
             ("d", "x", 1), ("d", "new", 1), ("e", "new", 2), ("e", "x", 2)]
        )
    ]  # fmt: skip
    file = written(tmp_path / "ader.csv", log)
    found, made = steps(file, protocol="windows", window="period", drop_unseen=True)
    # b: x is the first that is left of its session; e: new is known by then.
    assert [(found.examples[n].user, found.examples[n].item) for n in scored(made)] == [
        ("b", "y"),
        ("e", "x"),
    ]


def test_parts_by_column_by_shares_and_by_user(log):
    _, made = steps(log, protocol="holdout", split="part", part="valid")
    assert scored(made) == list(range(200, 400))
    assert np.concatenate([step.learnt for step in made]).tolist() == list(range(200))
    _, made = steps(log, protocol="holdout", split="50/25/25", learn=frozenset({"train", "valid"}))
    assert scored(made) == list(range(450, 600))
    assert sum(len(step.learnt) for step in made) == 450
    found, made = steps(log, protocol="leave-one-out")
    assert len(scored(made)) == 10
    assert len({found.examples[n].user for n in scored(made)}) == 10
    assert sum(len(step.learnt) for step in made) == 580


def test_the_model_may_be_so_old(log):
    _, made = steps(log, model_delay="1h")
    found, _ = steps(log)
    spans = [found.examples[s.learnt[-1]].time - found.examples[s.learnt[0]].time for s in made]
    assert max(spans) < 3_600_000
    assert len(made) == pytest.approx(48, abs=8)


@pytest.mark.parametrize("text", ["", "5", "1w", "-1s", "s"])
def test_what_is_no_span_of_time(text):
    with pytest.raises(ValueError):
        duration_ms(text)


# figures


def test_the_figures_of_a_chain(log):
    found = figures(log, "--warm-up", "50%", "--at", "5,1", "--compare", "generators", "--without", "next")
    assert (found["predictions"], found["users"], found["learnt"], found["items"]) == (300, 10, 600, 30)
    all_of_it, alone = found["recommenders"]["all"], found["recommenders"]["next"]
    assert all_of_it["recall@5"] > 0.8
    assert alone["mrr@5"] > 0.7
    assert found["recommenders"]["without next"]["recall@5"] < 0.5
    assert found["recommenders"]["without next"]["all is better by"]["recall"]["interval"][0] > 0.3
    assert all_of_it["recall@5"] >= all_of_it["recall@1"]
    assert set(all_of_it["segments"]) >= {"user: heavy", "target: novel", "type: view", "type: purchase"}
    assert len(found["over_time"]["time"]) == len(found["over_time"]["recall"]["all"]) == 200
    assert all_of_it["model_bytes"] > 1000
    assert all_of_it["propose_us"] > 0
    assert all_of_it["learn_us"] > 0


def test_rankers_and_generators_side_by_side(log):
    found = figures(log, "--compare", "generators,rankers", "--warm-up", "50%")["recommenders"]
    rankers = {name.removeprefix("ranker ") for name in found if name.startswith("ranker ")}
    assert set(found) == {"all", "next", "popularity"} | {f"ranker {name}" for name in rankers}
    assert {"blend", "linear"} <= rankers < set(RANKERS), "there are no vectors to look at"
    assert set(figures(log)["recommenders"]) == {"all", "popularity"}, "is it any good: than what?"
    assert set(figures(log, "--compare", "next")["recommenders"]) == {"all", "next"}


def test_the_same_seed_gives_the_same_figures(log):
    def without_clocks(found):
        found.pop("seconds")
        for entry in found["recommenders"].values():
            entry.pop("propose_us"), entry.pop("learn_us")
        return found

    one, two = (without_clocks(figures(log, "--seed", "3")) for _ in range(2))
    assert one == two


def test_a_twin_that_is_never_refreshed_is_worse(log):
    found = figures(log, "--warm-up", "5%", "--refresh", "never", "--refresh", "0")["recommenders"]
    assert found["refresh 0"]["all is better by"]["recall"] == {"mean": 0.0, "interval": [0.0, 0.0]}
    assert found["refresh never"]["all is better by"]["recall"]["interval"][0] > 0.2


def test_the_table_and_the_plot(log, tmp_path):
    pytest.importorskip("matplotlib")
    plot = tmp_path / "fresh.svg"
    result = run("evaluate", log, "--refresh", "12h", "--plot", str(plot))
    assert result.exit_code == 0, result.output
    for word in ("600 predictions", "recall@20", "refresh 12h", "all is better by", "coverage", "user: new"):
        assert word in result.stdout
    assert plot.read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--refresh", "soon"], "invalid interval 'soon': expected a number followed by ms, s,"),
        (["--model-delay", "5"], "invalid duration '5': expected a number followed by ms, s, m, h or d,"),
        (["--types", "sale"], "no event of type sale teaches"),
        (["--weights", "view"], "invalid weights 'view': expected TYPE=WEIGHT,..., such as click=1,"),
        (["--warm-up", "all"], "invalid warm-up 'all': expected a percentage or a number of events"),
        (["--warm-up", "600"], "nothing was predicted"),
        (["--windows", "a"], "invalid windows 'a': expected a number or a range, such as 1-7"),
        (["--at", "0"], "invalid list lengths '0': expected numbers from 1 to 200, such as 20,10"),
        (["--without", "nothing"], "--without nothing: there are next, popularity"),
        (["--target", "last"], "--target is for --protocol windows or holdout or leave-one-out"),
        (["--windows", "1-3"], "--windows is for --protocol windows"),
        (["--part", "valid", "--protocol", "windows"], "--part is for --protocol holdout or leave-one-out"),
        (["--warm-up", "10%", "--protocol", "holdout"], "--warm-up is for --protocol prequential"),
        (["--protocol", "holdout", "--split", "70/30"], "--split 70/30: three shares"),
        (["--protocol", "windows", "--window", "30d"], "the log has 1, counted from 0"),
        (
            ["--protocol", "windows", "--windows", "5-6"],
            "nothing is to be predicted in windows 5 to 6: the log",
        ),
        (["--compare", "previous"], "--compare previous: there are generators, rankers, next, popularity"),
        (["--seed", "-1"], "-1 is not in the range x>=0"),
        (
            ["--protocol", "holdout", "--split", "part", "--part", "x"],
            "no event is of the part x: there are test",
        ),
        (["--weights", "*=0"], "no event of the log teaches"),
        (["--plot", "fresh.doc"], "a name that ends in .png"),
        (["--plot", "nowhere/fresh.png"], "there is no such folder"),
    ],
)
def test_what_does_not_fit_is_one_line_and_exit_code_2(log, args, said):
    result = run("evaluate", log, *args)
    assert result.exit_code == 2
    assert result.stdout == ""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("freshet: ")
    assert said in last


def test_what_one_would_want_to_know_of_the_log_is_said(tmp_path):
    made = rows(100)
    shuffled = written(tmp_path / "shuffled.csv", random.Random(1).sample(made, len(made)))
    said = run("evaluate", shuffled, "--weights", "vew=2").stderr
    assert "of 100 rows are not learnt, as on the stream" in said
    assert "sort the log by time" in said
    assert "--weights vew: no row has this event type; the log has purchase, view" in said
    assert "not used: part" in said
    assert "seconds" not in said
    seconds = [row | {"time": int(str(row["time"])) // 1000} for row in made]
    assert "is --time-unit s missing?" in run("evaluate", written(tmp_path / "s.csv", seconds)).stderr
    twice = written(tmp_path / "twice.csv", [row | {"event_id": n // 2} for n, row in enumerate(made)])
    assert "have the event id of an earlier row and count once" in run("evaluate", twice).stderr


def test_a_log_of_nothing_but_a_header_is_one_line(tmp_path):
    (tmp_path / "header.csv").write_text("time,user,item\n")
    result = run("evaluate", str(tmp_path / "header.csv"))
    assert result.exit_code == 1
    assert result.stderr.endswith("header.csv has no row that is a valid event\n")


def test_a_column_that_is_not_there_is_one_line(log):
    result = run("evaluate", log, "--protocol", "windows", "--window", "period")
    assert result.exit_code == 1
    assert "period" in result.stderr.splitlines()[-1]


def test_a_part_that_does_not_take_what_it_is_given(log, monkeypatch):
    monkeypatch.setenv("FRESHET_MODEL_PARAMETERS", '{"next": {"size": 3}}')
    result = run("evaluate", log)
    assert result.exit_code == 2
    assert "model_parameters: " in result.stderr
    assert "'size'" in result.stderr


def test_hyper_parameters_reach_the_model(log):
    with_one = SMALL.model_copy(update={"model_parameters": {"next": {"neighbours": 1}}})
    found = [evaluate(Options(ks=(5,)), s, taken(log))["recommenders"]["all"] for s in (SMALL, with_one)]
    assert found[1]["model_bytes"] < found[0]["model_bytes"]


def test_an_empty_plan_is_refused():
    with pytest.raises(BadPlan):
        evaluate(Options(), SMALL, Taken([], []))
