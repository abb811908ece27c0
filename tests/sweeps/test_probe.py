"""What lanes take is measured with points that stay as they are."""

from __future__ import annotations

import tempfile

import pytest
import torch

from lehr.compose.composer import Command, composed
from lehr.errors import OutOfMemory
from lehr.sweeps import probe, race
from lehr.sweeps.point import Point
from lehr.sweeps.slots import Slot
from lehr.training.fused import cohort

TINY = ("trainer.limit_examples=100", "model.hidden=[64]", "data.batch_size=50", "kl.hold=0", "kl.warmup=1",
        "trainer.max_epochs=2", "evaluate=none", "callbacks.samples=null", "logger=none")  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A point of these words, and an empty place for temporary files."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))

    def of(*words):
        made, problems = composed(Command("train", None, [*TINY, *words]))
        assert made is not None, problems
        run_dir = tmp_path / "run"
        run_dir.mkdir()
        Point(dict(made.values), {"point": 0}).write(run_dir)
        return run_dir

    return of


def test_a_lane_takes_weights_moments_gradients_and_what_its_step_keeps(place, tmp_path):
    run_dir = place()
    found = probe.room(run_dir)
    weights = (64 * 64 + 64) + 2 * (64 * 20 + 20) + (20 * 64 + 64) + (64 * 64 + 64)  # 20 latents
    images, hidden = 50 * 64, 50 * 64
    least = 6e6 + 4 * 4 * weights + 2 * 4 * (2 * images + 2 * hidden)
    assert least < found.lane < least + 2 * 4 * 10 * images
    assert found.lanes == int(0.8 * found.free / found.lane) > 0
    assert sorted(path.name for path in run_dir.iterdir()) == ["point.json"]
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("few", [0, 1000])
def test_how_long_runs_take_is_foretold_and_nothing_is_left_of_it(place, tmp_path, monkeypatch, few):
    run_dir = place("trainer.max_epochs=400", "evaluate=quick")
    monkeypatch.setattr(race, "_FEW_IMAGES", few)
    monkeypatch.setattr(race, "_SECONDS", 0.1)
    seen = []
    foretold = race.foretold
    monkeypatch.setattr(race, "foretold", lambda *given: seen.append(given) or foretold(*given))
    threads = torch.get_num_threads()
    found = race.race([run_dir] * 4, 64, [Slot(1)] * 2)
    runs, lanes, workers, one, several, most, alone = seen[0]
    assert (runs, lanes, workers) == (4, 64, 2)
    assert one.number == several.number == 800  # 400 epochs of two steps
    assert 2 <= most <= 4
    assert 0 < one.step < several.step * 2
    assert found.fused > 0 < found.pool
    assert alone.rest >= alone.again > (0.05 if few else 0)  # statistics and evaluation
    assert torch.get_num_threads() == threads
    assert sorted(path.name for path in run_dir.iterdir()) == ["point.json"]
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.slow
def test_of_a_point_that_fails_nothing_is_known(place):
    assert probe.room(place("data=arrays", "data.path=nowhere.npy")) is None


@pytest.mark.slow
def test_where_one_lane_has_no_room_there_is_none(place, monkeypatch):
    def full(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(cohort, "step", full)
    with pytest.raises(OutOfMemory, match="no room for one lane: the GPU has no memory left"):
        probe.room(place())
