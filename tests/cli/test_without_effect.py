"""What Hydra accepts and lehr makes nothing of is said."""

from __future__ import annotations

import pytest

WRONG = "model.hidden=x"


@pytest.mark.parametrize(
    ("arguments", "noted"),
    [
        (["hydra.job.chdir=true", "+hydra.output_subdir=x"], ["hydra.job.chdir", "hydra.output_subdir"]),
        (["hydra.mode=RUN", "hydra.run.dir=run"], ["hydra.mode"]),
        (["-m", "seed=0,1", "hydra.sweep.subdir=x", "hydra.run.dir=x"], ["hydra.sweep.subdir", "hydra.run.dir"]),
        (["-m", "seed=0,1", "hydra.job.chdir=true", "hydra.sweep.dir=x"], ["hydra.job.chdir"]),
    ],
)
def test_a_key_of_hydra_that_has_no_effect_is_noted(lehr, arguments, noted):
    code, _, err = lehr("train", *arguments, WRONG)
    assert code == 2
    notes = [line for line in err.splitlines() if line.startswith("note: ")]
    assert [line.split()[1] for line in notes] == noted
    assert all("has no effect: " in line for line in notes)


def test_the_mode_of_many_runs_without_the_flag_is_refused(lehr):
    code, _, err = lehr("train", "hydra.mode=MULTIRUN", "seed=0")
    assert code == 2
    assert "lehr train: hydra.mode=MULTIRUN: is for many runs; add -m" in err
