"""Clocks that are set while a process runs, and clocks that are wrong from the start."""

from streams.monitor.clock_watch import ClockWatch
from streams.wall_clock import WallClock

HOUR_S, DAY_S = 3600.0, 86_400.0


class Machine:
    """A machine with a wall clock that can be set, and the right time."""

    def __init__(self, wrong_by_s: float = 0.0) -> None:
        self.time, self.wrong_by_s = 1_800_000_000.0, wrong_by_s
        self.clock = WallClock(lambda: self.time + self.wrong_by_s, lambda: self.time - 1_700_000_000.0)

    def pass_s(self, seconds: float) -> None:
        self.time += seconds

    @property
    def error_s(self) -> float:
        """How far the time that the process uses is ahead."""
        return self.clock.now_ms() / 1000 - self.time


def test_a_clock_that_is_set_changes_no_time_of_the_process():
    for jump in (-HOUR_S, DAY_S):
        machine = Machine()
        machine.pass_s(10)
        machine.wrong_by_s = jump
        machine.pass_s(10)
        assert abs(machine.error_s) < 0.01
        assert abs(machine.clock.skew_s - jump) < 0.01


def test_a_clock_that_is_adjusted_little_by_little_is_followed():
    machine = Machine()
    for _ in range(100):
        machine.pass_s(60)
        machine.wrong_by_s += 1
        assert abs(machine.error_s - machine.wrong_by_s) < 0.01, "it is the machine's clock that is right"
    assert abs(machine.clock.skew_s) < 0.01


def test_kafkas_stamps_set_right_a_clock_that_was_wrong_from_the_start():
    machine = Machine(wrong_by_s=DAY_S)
    assert abs(machine.error_s - DAY_S) < 0.01, "nothing else is known"
    stamp = int(machine.time * 1000)
    machine.pass_s(0.3)  # until the record is read
    machine.clock.kafka_stamped(stamp)
    assert abs(machine.error_s) < 0.5
    machine.wrong_by_s = 0.0
    assert abs(machine.error_s) < 0.01, "within the tolerance the machine's clock is the finer one"


def test_a_record_that_is_read_late_makes_no_clock_wrong():
    machine = Machine()
    machine.clock.kafka_stamped(int(machine.time * 1000))
    stamp = int(machine.time * 1000)
    machine.pass_s(20)  # the process stood still
    machine.clock.kafka_stamped(stamp)
    assert abs(machine.clock.skew_s) < 0.01
    machine.pass_s(60)
    machine.clock.kafka_stamped(int(machine.time * 1000) - 400)
    assert abs(machine.clock.skew_s - 0.4) < 0.01


def test_a_wrong_clock_is_said_once_in_the_log_with_what_to_do(caplog):
    machine = Machine()
    watch = ClockWatch(machine.clock)
    assert watch.problems() == []
    machine.wrong_by_s = -HOUR_S
    for _ in range(3):
        machine.pass_s(2)
        (problem,) = watch.problems()
    assert "3600 s behind the time since this process started" in problem
    assert caplog.text.count("3600 s behind") == 1
    machine.clock.kafka_stamped(int(machine.time * 1000))
    assert "3600 s behind Kafka's: set it (NTP)" in watch.problems()[0]
    machine.wrong_by_s = 0.0
    assert watch.problems() == []
    assert "right again" in caplog.text
