"""`freshet evaluate` on small logs: options, metrics, and that it takes the steps of the stream."""

import csv
import json
import random
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from models.core import HISTORY
from models.evaluation.evaluated import query_before
from models.evaluation.example_columns import example_columns
from models.evaluation.protocols import FIRST_PIECES
from models.registry import RANKERS
from streams.cli import cli
from streams.clients.logs import open_log
from streams.event_messages import Event
from streams.offline.evaluate import evaluate
from streams.offline.examples import LabelledExamples, LogCounts, read_examples, sort, with_event_weights
from streams.offline.options import BadOptions, EvaluationOptions, duration_ms
from streams.offline.plan import plan
from streams.settings import Settings
from streams.step.accept import accept, example
from streams.step.policy import ServingPolicy
from streams.step.users import User

POLICY = ServingPolicy.from_settings(Settings())
SMALL = Settings(generators={"next": 1.0, "popularity": 0.1}, max_items=1000)


@pytest.fixture(autouse=True)
def small_model(monkeypatch):
    monkeypatch.setenv("FRESHET_GENERATORS", '{"next": 1.0, "popularity": 0.1}')
    monkeypatch.setenv("FRESHET_MAX_ITEMS", "1000")


def rows(n: int = 600, users: int = 10, items: int = 30, seed: int = 1) -> list[dict[str, object]]:
    """A chain with a little noise, every tenth event a purchase, two days long, in three parts."""
    rng, at = random.Random(seed), {}
    log = []
    for k in range(n):
        user = rng.randrange(users)
        at[user] = (at.get(user, user) + 1) % items if rng.random() < 0.9 else rng.randrange(items)
        log.append(
            {
                "time": 1_500_000_000_000 + k * 172_800_000 // n,
                "user": f"u{user}",
                "item": f"i{at[user]}",
                "type": "purchase" if k % 10 == 9 else "view",
                "value": k % 5 + 1,
                "part": ("train", "valid", "test")[k * 3 // n],
            }
        )
    return log


def write_csv(path: Path, log: list[dict[str, object]]) -> str:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(log[0]))
        writer.writeheader()
        writer.writerows(log)
    return str(path)


@pytest.fixture
def log(tmp_path):
    return write_csv(tmp_path / "log.csv", rows())


def freshet(*args: str):
    return CliRunner().invoke(cli, args, prog_name="freshet")


def evaluated(*args: str) -> dict:
    result = freshet("evaluate", *args, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def labelled(file: str, settings: Settings = SMALL, **options: object) -> LabelledExamples:
    chosen = EvaluationOptions(**options)
    log = open_log(file, run="e", context=[chosen.label] if chosen.label else [])
    pairs = list(read_examples(log, ServingPolicy.from_settings(settings), chosen, LogCounts()))
    return LabelledExamples([example for example, _ in pairs], [label for _, label in pairs])


# reading a log


def test_examples_are_those_of_a_worker(log):
    """`serve` and `read_examples` make the same examples of the same events."""
    from streams.messages import decode_example, encode
    from streams.step.serve import serve
    from tests.step.test_serve import Echo

    class Record:
        def __init__(self, offset: int, event: Event) -> None:
            self.key, self.value, self.offset = event.user.encode(), encode(event), offset
            self.partition, self.timestamp = 0, 1_700_000_000_000
            self.headers = [("replay", b"%d" % event.time_ms)]

    class Silent(Echo):
        def recommend(self, queries, k):
            from models.core import Slate

            return [Slate((), (), ())] * len(queries)

    events = list(open_log(log, run="e"))
    records = [Record(n, event) for n, event in enumerate(events)]
    writes = serve(records, "events", lambda _, key: None, Silent(), POLICY, lambda: 1_700_000_000_000)
    served = [decode_example(value) for _, value, _ in writes.outputs["examples"][0]]
    assert served == labelled(log).examples
    assert len(served) == 600


def test_the_query_of_a_prediction_is_that_of_a_request_at_the_same_time():
    """Also where the event begins a session, which the query cannot know; the list was asked for before."""
    rng, user, time = random.Random(2), User(), 10**12
    for n in range(200):
        time += rng.choice([1000, 60_000, 3_600_000])
        event = Event(event_id=f"e{n}", user="u", type="view", item=f"i{rng.randrange(9)}", time=time)
        request = Event(event_id=f"r{n}", user="u", type="request", time=time)
        _, _, requesting = accept(user, request, n, time, POLICY)
        asked = user.asked
        user, _, accepted = accept(user, event, n, time, POLICY)
        assert requesting is not None
        assert accepted is not None
        target = example(accepted, User())
        assert target is not None
        assert query_before(target)._replace(asked=None) == requesting.answers[0].query
        assert query_before(target).asked == asked
        assert example(requesting, User()) is None, "a request is not learnt"
    assert len(user.items[-HISTORY:]) == HISTORY


def test_filters_and_weights(log):
    assert len(labelled(log, min_value=5).examples) == 120
    assert [e.item for e in labelled(log, limit=7).examples] == [r["item"] for r in rows()[:7]]
    assert len(labelled(log, limit=100, min_value=5).examples) == 20
    kept = labelled(log, drop_reloads=True).examples
    assert 570 < len(kept) < 600
    assert not any(e.history and e.history[-1] == e.item for e in kept)
    purchases = labelled(log, with_event_weights(SMALL, {"view": 0, "purchase": 2})).examples
    assert {(e.type, e.weight) for e in purchases} == {("purchase", 2.0)}
    assert len(purchases) == 60
    assert len(labelled(log, with_event_weights(SMALL, {"*": 0, "view": 1})).examples) == 540


def test_a_log_grouped_by_session_is_sorted_and_not_predicted_from_its_future(monkeypatch):
    for setting in ("FRESHET_GENERATORS", "FRESHET_MAX_ITEMS"):
        monkeypatch.delenv(setting)
    grouped = Path(__file__).parent.parent / "clients" / "cases" / "grouped-by-session.csv"
    result = freshet("evaluate", str(grouped), "--json")
    assert result.exit_code == 0, result.output
    full = json.loads(result.stdout)["recommenders"]["all"]
    measured = round(full["recall@20"], 4), round(full["mrr@20"], 4)
    assert measured == (0.5467, 0.4474), "with the ranker for users without a history, too, .5267 and .4370"
    assert "is not in the order of its times and was sorted: " in result.stderr


def test_few_late_events_leave_a_log_in_its_order():
    events = [
        Event(event_id=f"e{n}", user=f"u{n % 3}", type="view", item="i", time=n * 1000) for n in range(300)
    ]
    late = [*events[:200], events[10], *events[200:], events[20]]
    assert (sort(late), late[200]) == (0, events[10])
    by_user = [event for user in ("u0", "u1", "u2") for event in events if event.user == user]
    assert sort(by_user) > 100
    assert by_user == events
    newest_first = events[::-1]
    assert sort(newest_first) > 200
    assert newest_first == events


def test_reloads_are_those_of_the_sorted_log(tmp_path):
    times = {3: "b", 1: "a", 4: "b", 2: "a"}
    log = [{"time": time, "user": "u", "item": item} for time, item in times.items()]
    kept = labelled(write_csv(tmp_path / "log.csv", log), drop_reloads=True).examples
    assert [(example.item, example.time) for example in kept] == [("a", 1), ("b", 3)]


# protocols


def planned(file: str, **options: object):
    """The examples of a log, and the steps of the protocol on them."""
    log = labelled(file, **options)
    return log.examples, list(plan(EvaluationOptions(**options), log, example_columns(log.examples)))


def predicted(steps) -> list[int]:
    return np.concatenate([step.predicted for step in steps]).tolist()


def test_types_first_events_and_repeats_can_be_left_out(log):
    purchase = frozenset({"purchase"})
    examples, steps = planned(log, types=purchase, skip_first=True, skip_repeats=True, warm_up="50%")
    targets = [examples[n] for n in predicted(steps)]
    assert 25 < len(targets) <= 30
    assert {target.type for target in targets} == {"purchase"}
    assert all(target.history and target.history[-1] != target.item for target in targets)
    assert min(predicted(steps)) >= 300
    assert sum(len(step.learnt) for step in steps) == 600


def test_windows_of_time_and_of_a_column(log):
    _, steps = planned(log, protocol="windows", window="12h")
    assert [step.window for step in steps] == [0] * FIRST_PIECES + [1, 2, 3]
    assert [len(step.predicted) for step in steps] == [0] * FIRST_PIECES + [150, 150, 150]
    examples, steps = planned(log, protocol="windows", window="part", target="last")
    assert [len(step.learnt) for step in steps] == [25] * FIRST_PIECES + [200, 200]
    second = steps[FIRST_PIECES].predicted
    sessions = {(examples[n].user, examples[n].session) for n in second}
    assert 0 < len(sessions) == len(second), "one prediction for each session"
    _, steps = planned(log, protocol="windows", window="12h", windows=(2, 2))
    assert [(step.window, len(step.predicted)) for step in steps][FIRST_PIECES:] == [(1, 0), (2, 150)]


def test_unseen_items_are_dropped_as_in_ader(tmp_path):
    log = [
        {"time": n, "user": user, "item": item, "period": period}
        for n, (user, item, period) in enumerate(
            [("a", "x", 0), ("a", "y", 0), ("b", "new", 1), ("b", "x", 1), ("b", "y", 1), ("c", "new", 1),
             ("d", "x", 1), ("d", "new", 1), ("e", "new", 2), ("e", "x", 2)]
        )
    ]  # fmt: skip
    file = write_csv(tmp_path / "ader.csv", log)
    examples, steps = planned(file, protocol="windows", window="period", drop_unseen=True)
    # b: without the unseen item, x is the first of the session; e: the item `new` is known by then.
    targets = [examples[n] for n in predicted(steps)]
    assert [(target.user, target.item) for target in targets] == [("b", "y"), ("e", "x")]


def test_parts_by_column_by_shares_and_by_user(log):
    _, steps = planned(log, protocol="holdout", split="part", part="valid")
    assert predicted(steps) == list(range(200, 400))
    assert np.concatenate([step.learnt for step in steps]).tolist() == list(range(200))
    _, steps = planned(log, protocol="holdout", split="50/25/25", learn=frozenset({"train", "valid"}))
    assert predicted(steps) == list(range(450, 600))
    assert sum(len(step.learnt) for step in steps) == 450
    examples, steps = planned(log, protocol="leave-one-out")
    assert len(predicted(steps)) == 10
    assert len({examples[n].user for n in predicted(steps)}) == 10
    assert sum(len(step.learnt) for step in steps) == 580


def test_the_model_delay_bounds_the_micro_batches(log):
    examples, steps = planned(log, model_delay="1h")
    spans = [examples[step.learnt[-1]].time - examples[step.learnt[0]].time for step in steps]
    assert max(spans) < 3_600_000
    assert len(steps) == pytest.approx(48, abs=8)


@pytest.mark.parametrize("text", ["", "5", "1w", "-1s", "s"])
def test_an_invalid_duration(text):
    with pytest.raises(
        ValueError, match=f"^invalid duration '{text}': expected a number followed by ms, s, m"
    ):
        duration_ms(text)


# metrics


def test_the_metrics_of_a_chain(log):
    summary = evaluated(
        log, "--warm-up", "50%", "--at", "5,1", "--compare", "generators", "--without", "next"
    )
    counts = tuple(summary[name] for name in ("predictions", "users", "learnt", "items"))
    assert counts == (300, 10, 600, 30)
    recommenders = summary["recommenders"]
    first, without = recommenders["all"], recommenders["without next"]
    assert first["recall@5"] > 0.8
    assert recommenders["next"]["mrr@5"] > 0.7
    assert without["recall@5"] < 0.5
    assert without["all is better by"]["recall"]["interval"][0] > 0.3
    assert first["recall@5"] >= first["recall@1"]
    assert set(first["segments"]) >= {"user: heavy", "target: novel", "type: view", "type: purchase"}
    assert len(summary["over_time"]["time"]) == len(summary["over_time"]["recall"]["all"]) == 200
    assert first["model_bytes"] > 1000
    assert first["propose_us"] > 0
    assert first["learn_us"] > 0


def test_rankers_and_generators_side_by_side(log):
    recommenders = evaluated(log, "--compare", "generators,rankers", "--warm-up", "50%")["recommenders"]
    rankers = {name.removeprefix("ranker ") for name in recommenders if name.startswith("ranker ")}
    assert set(recommenders) == {"all", "next", "popularity"} | {f"ranker {name}" for name in rankers}
    assert {"blend", "linear"} <= rankers < set(RANKERS), "no generator has the vectors that the others need"
    assert set(evaluated(log)["recommenders"]) == {"all", "popularity"}, "compared with popularity by default"
    assert set(evaluated(log, "--compare", "next")["recommenders"]) == {"all", "next"}


def test_the_same_seed_gives_the_same_metrics(log):
    def without_clocks(summary):
        summary.pop("seconds")
        for entry in summary["recommenders"].values():
            entry.pop("propose_us"), entry.pop("learn_us")
        return summary

    first, second = (without_clocks(evaluated(log, "--seed", "3")) for _ in range(2))
    assert first == second


def test_a_replica_that_is_never_refreshed_is_worse(log):
    recommenders = evaluated(log, "--warm-up", "5%", "--refresh", "never", "--refresh", "0")["recommenders"]
    assert recommenders["refresh 0"]["all is better by"]["recall"] == {"mean": 0.0, "interval": [0.0, 0.0]}
    assert recommenders["refresh never"]["all is better by"]["recall"]["interval"][0] > 0.2


def test_the_table_and_the_plot(log, tmp_path):
    pytest.importorskip("matplotlib")
    plot = tmp_path / "fresh.svg"
    result = freshet("evaluate", log, "--refresh", "12h", "--plot", str(plot))
    assert result.exit_code == 0, result.output
    for word in ("600 predictions", "recall@20", "refresh 12h", "gain of all over", "coverage", "user: new"):
        assert word in result.stdout
    assert plot.read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--refresh", "soon"],
            "invalid interval 'soon': expected a number followed by ms, s, m, h or d, such as 10m, or never",
        ),
        (["--model-delay", "5"], "invalid duration '5'"),
        (["--types", "sale"], "--types sale: no example has such a type; expected any of purchase, view"),
        (
            ["--weights", "view"],
            "invalid weights 'view': expected TYPE=WEIGHT,..., weights from 0 to 100, such",
        ),
        (["--warm-up", "all"], "invalid warm-up 'all': expected a percentage or a number of events"),
        (["--warm-up", "600"], "no predictions: the options leave no example to predict"),
        (["--windows", "a"], "invalid windows 'a': expected a number or a range, such as 1-7"),
        (["--at", "0"], "invalid list lengths '0': expected numbers from 1 to 200, such as 20,10"),
        (
            ["--without", "nothing"],
            "unknown generator 'nothing' in --without: expected one of next, popularity",
        ),
        (
            ["--target", "last"],
            "--target has no effect with --protocol prequential:"
            " expected --protocol windows or holdout or leave-one-out",
        ),
        (
            ["--windows", "1-3"],
            "--windows has no effect with --protocol prequential: expected --protocol windows",
        ),
        (
            ["--part", "valid", "--protocol", "windows"],
            "--part has no effect with --protocol windows: expected --protocol holdout or leave-one-out",
        ),
        (
            ["--warm-up", "10%", "--protocol", "holdout"],
            "--warm-up has no effect with --protocol holdout: expected --protocol prequential",
        ),
        (
            ["--protocol", "holdout", "--split", "70/30"],
            "invalid --split 70/30: expected shares of train, valid and test, such as 80/10/10",
        ),
        (
            ["--protocol", "windows", "--window", "30d"],
            "the number of windows in the log is 1, counted from 0",
        ),
        (
            ["--protocol", "windows", "--windows", "5-6"],
            "no predictions in windows 5 to 6: the number of windows in the log is 2",
        ),
        (
            ["--compare", "previous"],
            "unknown name 'previous' in --compare: expected generators, rankers, next, popularity",
        ),
        (["--seed", "-1"], "-1 is not in the range x>=0"),
        (["--weights", "click=nan,view=-3"], "invalid weights 'click=nan,view=-3': expected TYPE=WEIGHT"),
        (["--min-value", "nan"], "nan is not a finite number"),
        (
            ["--protocol", "holdout", "--split", "part", "--part", "x"],
            "unknown --part x: expected one of test, train, valid",
        ),
        (["--weights", "*=0"], "the log has no examples: are the weights of all its event types 0?"),
        (["--plot", "fresh.doc"], "invalid --plot fresh.doc: expected a file name that ends in .png"),
        (["--plot", "nowhere/fresh.png"], "--plot nowhere/fresh.png: the folder does not exist"),
    ],
)
def test_invalid_options_are_one_line_and_exit_code_2(log, args, message):
    result = freshet("evaluate", log, *args)
    assert result.exit_code == 2
    assert result.stdout == ""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("freshet: ")
    assert message in last


def test_remarks_about_the_log(tmp_path):
    ordered = rows(100)
    shuffled = write_csv(tmp_path / "shuffled.csv", random.Random(1).sample(ordered, len(ordered)))
    remarks = freshet("evaluate", shuffled, "--weights", "vew=2").stderr
    assert "the log is not in the order of its times and was sorted: " in remarks
    assert "not learnt, as on the stream" not in remarks
    assert "--weights vew: no row has this event type; the log has purchase, view" in remarks
    assert "not used: part" in remarks
    remarks = freshet("evaluate", shuffled, "--protocol", "leave-one-out").stderr
    assert "was sorted" not in remarks
    assert "of 100 rows are not learnt, as on the stream" in remarks
    seconds = write_csv(
        tmp_path / "s.csv", [row | {"time": int(str(row["time"])) // 1000} for row in ordered]
    )
    assert "times are read as s: 1500000000 is 2017-07-14" in freshet("evaluate", seconds).stderr
    twice = write_csv(tmp_path / "twice.csv", [row | {"event_id": n // 2} for n, row in enumerate(ordered)])
    assert "have the event id of an earlier row and count once" in freshet("evaluate", twice).stderr


def test_a_log_that_has_only_a_header_is_one_line(tmp_path):
    (tmp_path / "header.csv").write_text("time,user,item\n")
    result = freshet("evaluate", str(tmp_path / "header.csv"))
    assert result.exit_code == 1
    assert result.stderr.endswith("header.csv has no row that is a valid event\n")


def test_a_missing_column_is_one_line(log):
    result = freshet("evaluate", log, "--protocol", "windows", "--window", "period")
    assert result.exit_code == 1
    assert "period" in result.stderr.splitlines()[-1]


def test_an_unknown_hyper_parameter_is_one_line(log, monkeypatch):
    monkeypatch.setenv("FRESHET_MODEL_PARAMETERS", '{"next": {"size": 3}}')
    result = freshet("evaluate", log)
    assert result.exit_code == 2
    assert "model_parameters: " in result.stderr
    assert "'size'" in result.stderr


def test_hyper_parameters_reach_the_model(log):
    one_neighbour = SMALL.model_copy(update={"model_parameters": {"next": {"neighbours": 1}}})
    options = EvaluationOptions(ks=(5,))
    default, smaller = (
        evaluate(options, settings, labelled(log))["recommenders"]["all"]["model_bytes"]
        for settings in (SMALL, one_neighbour)
    )
    assert smaller < default


def test_a_log_without_examples_is_refused():
    with pytest.raises(BadOptions, match="the log has no examples: are the weights of all its event types 0"):
        evaluate(EvaluationOptions(), SMALL, LabelledExamples([], []))
