"""Numbers of which some are missing."""

from __future__ import annotations

import numpy as np
import pytest
from planted import ELBO, grid, layout, results, run

from lehr.report.blocks import block_of
from lehr.report.layout import lay_out, numbers_of


def block(table):
    """The block of a table (combinations, seeds) with NaN where there is none."""
    table = np.array(table, dtype=float)
    rows, columns = np.nonzero(~np.isnan(table))
    return block_of(rows, columns, table[rows, columns])


def test_where_nothing_is_missing_all_counts():
    found = block([[1, 2, 3], [4, 6, 8]])
    assert found.per_seed.tolist() == [2.5, 4.0, 5.5]
    assert found.kept.all()


def test_a_combination_that_one_seed_lacks_is_left_out_for_all():
    nan = np.nan
    found = block([[1, 2, 3], [100, nan, 100], [5, 6, 7]])
    assert found.per_seed.tolist() == [3, 4, 5]
    assert found.rows.tolist() == [0, 2]
    assert found.kept.tolist() == [True, True, True, False, False, True, True, True]


def test_a_seed_that_has_hardly_begun_is_left_out():
    nan = np.nan
    found = block([[1, 2, 3, 9], *[[1, 2, 3, nan]] * 20])
    assert found.table.shape == (21, 3)
    assert found.per_seed.tolist() == [1, 2, 3]


def test_three_seeds_of_half_the_combinations_say_more_than_two_of_all():
    nan = np.nan
    assert block([[1, 2, 3], [1, 2, 3], [1, 2, nan], [1, 2, nan]]).table.shape == (2, 3)


def test_seeds_without_a_combination_in_common_leave_one():
    nan = np.nan
    found = block([[1, nan], [nan, 2], [3, nan]])
    assert found.per_seed.tolist() == [2.0]
    assert found.rows.tolist() == [0, 2]


# ---- layouts


def test_runs_are_laid_out_by_their_values_in_their_natural_order():
    found = layout({"n": [10, 2], "m": ["a10", "a2", None], "seed": [5, 3]}, lambda n, m, seed: 1.0)
    assert found.keys == ("n", "m")
    assert found.levels == {"n": (2, 10), "m": (None, "a2", "a10")}
    assert found.seed_values == (3, 5)
    assert found.codes[0].tolist() == [1, 2]
    assert len(found.groups) == 6
    assert found.values(int(found.group[0])) == {"n": 10, "m": "a10"}


def test_lists_and_flags_are_values_like_others():
    values = [[400], [400, 400], True, 1, None]
    found = layout({"x": values}, lambda x: 1.0)
    assert found.levels["x"] == (None, True, 1, [400], [400, 400])


def test_runs_of_which_nothing_is_known_stand_nowhere():
    swept = results(["a"], [run({"a": 1}, {ELBO: 1.0}), run({}, name="damaged")])
    assert [one.name for one in lay_out(swept).runs] == ["a=1"]


def test_a_sweep_over_the_seed_alone_is_one_group():
    found = layout({"seed": [0, 1]}, lambda seed: seed)
    assert found.groups.shape == (1, 0)
    assert found.group.tolist() == [0, 0]


def test_runs_that_are_not_done_have_no_numbers():
    swept = results(["a"], [run({"a": 1}, {ELBO: 1.0}, state="running"), run({"a": 2}, {ELBO: 2.0})])
    found = numbers_of(lay_out(swept), ELBO)
    assert np.isnan(found.values[0])
    assert found.values[1] == 2.0


def test_numbers_of_other_data_are_of_another_condition():
    found = numbers_of(layout({"data": ["digits", "mnist"], "kl.weight": [1, 2]}, lambda *_: 1.0), ELBO)
    assert found.condition.tolist() == [0, 0, 1, 1]
    assert found.where == ({"data": "digits"}, {"data": "mnist"})


@pytest.mark.parametrize("weight", [1, 2])
def test_one_condition_is_called_nothing(weight):
    assert numbers_of(lay_out(grid({"kl.weight": [1, weight + 1]}, lambda w: 1.0)), ELBO).where == ({},)
