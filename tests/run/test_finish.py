"""What happens when training ends, without a trainer: as a fused lane or a re-evaluation calls it."""

from __future__ import annotations

import json

import pytest
import torch

from lehr.config.build import build
from lehr.data.module import ImageDataModule
from lehr.errors import Interrupted
from lehr.evaluation.catalogue import without_execution
from lehr.models.components import Components
from lehr.objective import Objective, RateTerm
from lehr.run.directory import RunDirectory
from lehr.run.execution import Execution
from lehr.run.finish import Observer, Options, Trained, finish
from lehr.run.model_files import read_model

LAST_STEP = 4 * 21  # of four epochs of the digits


@pytest.fixture
def trained(finished_run):
    """What the finished run had trained, read from its files, and its configuration."""
    directory = RunDirectory(finished_run)
    config = directory.read_config()
    rate_term = build(config["kl"], RateTerm, key="kl")
    rate_term.start(LAST_STEP, 21)
    model, likelihood, prior, _ = read_model(directory.model)
    components = Components(model, likelihood, prior, rate_term, build(config["objective"], Objective, key="objective"))
    validated = {name: x for name, x in json.loads(directory.metrics.read_text()).items() if name.startswith("val/")}
    return Trained(components, LAST_STEP, validated), config


@pytest.fixture
def data(trained):
    data = build(trained[1]["data"], ImageDataModule, key="data")
    data.setup()
    return data


class Seen(Observer):
    def __init__(self):
        self.shown, self.measured = [], {}

    def pictures(self, pictures):
        self.shown += pictures

    def metrics(self, measured, aggregate):
        self.measured = dict(measured)


def test_without_a_trainer_it_writes_the_files_of_a_run_with_one(trained, data, finished_run, tmp_path):
    seen, (what, config) = Seen(), trained
    execution = Execution(torch.device("cpu"))
    finished = finish(what, data, RunDirectory(tmp_path), Options(config), execution, seen)
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.parts[0] for path in written} == {"model", "posterior", "samples", "metrics.json"}
    for path in written - {RunDirectory("").metrics}:
        assert (tmp_path / path).read_bytes() == (finished_run / path).read_bytes(), path
    of_the_run = json.loads((finished_run / "metrics.json").read_text())
    assert finished.metrics == without_execution(of_the_run)
    assert seen.measured == {name: x for name, x in of_the_run.items() if name.startswith("test/")}
    assert seen.shown == ["aggregate", "prior", "interpolation", "reconstruction", "traversal", "extremes"]
    assert finished.seconds.keys() == {"statistics", "pictures", "test"}


def test_what_is_not_wanted_is_not_made(trained, data, tmp_path):
    what, config = trained
    options = Options(config, statistics=False, grids=None, latents=0)
    finished = finish(what, data, RunDirectory(tmp_path), options, Execution(torch.device("cpu")))
    assert finished.aggregate is None
    assert not any(name.startswith("posterior/") for name in finished.metrics)
    assert {path.name for path in tmp_path.iterdir()} == {"model", "metrics.json"}


def test_a_rank_that_is_not_the_first_writes_nothing(trained, data, tmp_path):
    what, config = trained
    execution = Execution(torch.device("cpu"), rank=1, world=2)
    finished = finish(what, data, RunDirectory(tmp_path), Options(config), execution)
    assert finished.aggregate.n == data.n_train // 2  # nobody to add the others' examples to its own here
    assert list(tmp_path.iterdir()) == []


def test_it_can_be_stopped_between_batches(trained, data, tmp_path):
    what, config = trained
    left = [None, None]  # the batches of the training set

    def check():
        if not left:
            raise Interrupted(15)
        left.pop()

    with pytest.raises(Interrupted):
        finish(what, data, RunDirectory(tmp_path), Options(config), Execution(torch.device("cpu"), check=check))
    assert list(tmp_path.iterdir()) == []  # what belongs together is written together
