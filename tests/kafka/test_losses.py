"""Which gaps between records are losses."""

from streams.kafka.losses import Loss, Losses


def test_a_gap_above_the_first_offset_is_no_loss():
    """Markers and aborted records of transactions have offsets that no consumer gets."""
    losses = Losses()
    losses.read(0, 0, 10)
    losses.read(0, 12, 20)
    assert losses.check({0: 5}) == []
    losses.read(0, 25, 30)
    assert losses.check({0: 23}) == [Loss(0, 20, 23)], "22 and before were deleted, 23 and 24 are no records"
    assert losses.counts == {0: 3}


def test_records_that_are_fetched_and_wait_are_not_lost_when_retention_overtakes_them():
    losses = Losses()
    losses.read(0, 0, 10)
    assert losses.check({0: 100}) == []
    losses.read(0, 10, 110)  # they were fetched before
    assert losses.check({0: 110}) == losses.check({0: 110}) == []


def test_a_partition_whose_records_were_all_deleted_is_counted_once():
    losses = Losses()
    losses.read(0, 0, 10)
    checks = [losses.check({0: 100}) for _ in range(4)]
    assert checks == [[], [Loss(0, 10, 100)], [], []]
    losses.read(0, 100, 101)
    assert losses.check({0: 100}) == []
    assert losses.counts == {0: 90}


def test_after_a_reassignment_the_committed_offset_counts():
    committed = {0: 10}
    losses = Losses(committed.get)
    losses.read(0, 10, 20)
    losses.reassigned()
    committed[0] = 500  # another worker served them
    losses.read(0, 500, 501)
    assert losses.check({0: 400}) == []
    losses.reassigned()
    losses.read(0, 400, 410)  # replayed
    losses.read(0, 410, 420)
    assert losses.check({0: 400}) == []


def test_a_partition_without_a_commit_has_lost_nothing():
    losses = Losses()
    losses.read(0, 70, 80)
    assert losses.check({0: 70, 1: 30}) == losses.check({0: 70, 1: 30}) == []
    assert losses.counts == {}
