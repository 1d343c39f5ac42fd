"""Tables and blocks: what travels, and what a row that comes twice does."""

import numpy as np
import pytest

from models.blocks import TableWithBlocks
from models.state import NOTHING, Parameters, Table

FIELDS = [("count", "<i4"), ("vector", "<f4", 2)]


@pytest.mark.parametrize("packed", [False, True])
def test_rows_travel_in_the_order_of_the_fields(packed):
    table = Table(5, FIELDS, packed)
    table["count"][3], table["vector"][3] = 7, (0.5, 1.5)
    expected = np.array([3, 7], "<i4").tobytes() + np.array([0.5, 1.5], "<f4").tobytes()
    assert table.dump(np.array([3], np.int32)).tobytes() == expected


def test_a_cleared_row_travels_as_zeros():
    learner, replica = Table(5, FIELDS), Table(5, FIELDS)
    learner["count"][2] = 4
    replica.apply(learner.dump(np.array([2], np.int32)))
    learner.clear(np.array([2], np.int32))
    assert learner.touched().tolist() == [2]
    replica.apply(learner.dump(np.array([2], np.int32)))
    assert replica["count"].tolist() == [0] * 5


def test_negative_rows_are_not_marked():
    table = Table(5, FIELDS)
    table.mark(np.array([-1, 1, -1], np.int32))
    assert table.touched().tolist() == [1]
    assert table.used == 2


def test_derived_state_is_told_of_applied_records():
    applied = []
    table = Table(5, FIELDS, applied=lambda records: applied.append(records["row"].tolist()))
    table.apply(table.dump(np.zeros(0, np.int32)))
    table.apply(table.dump(np.array([4, 0], np.int32)))
    assert applied == [[4, 0]]


def test_pages_follow_the_rows_of_a_table():
    table = TableWithBlocks(4, FIELDS, {"steps": (1, np.int64), "ring": (4, np.int32)})
    assert table.rows == 4 + 2  # six words of blocks, three a page
    table.blocks["ring"][3] = 9
    table.blocks.mark("ring", 3, 4)
    table.mark(np.array([1]))
    rows = table.touched()
    assert rows.tolist() == [1, 5]
    twin = TableWithBlocks(4, FIELDS, {"steps": (1, np.int64), "ring": (4, np.int32)})
    twin.apply(table.dump(rows))
    assert twin.blocks["ring"].tolist() == [0, 0, 0, 9]
    assert twin.used == 2


def test_parameters_are_one_row():
    parameters = Parameters(3, first_squares=0.1)
    assert parameters.touched().tolist() == []
    parameters.mark_all()
    assert parameters.touched().tolist() == [0]
    twin = Parameters(3, first_squares=0.1)
    parameters.values[:] = 1, 2, 3
    twin.apply(parameters.dump(np.zeros(1, np.int32)))
    assert twin.values.tolist() == [1, 2, 3]


def test_nothing_has_no_rows():
    assert NOTHING.rows == 0
    assert NOTHING.touched().tolist() == []
    NOTHING.apply(NOTHING.dump(NOTHING.touched()))
