"""Objects in place of names: a run that is given its images or its model is the run that names them."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lehr
from lehr import randomness
from lehr.cli.main import main
from lehr.compose.components import run_problems
from lehr.compose.composer import Command, composed
from lehr.data.digits import read_levels
from lehr.errors import ConfigError, DataError, LehrError
from lehr.evaluation.catalogue import without_execution
from lehr.run.directory import RunDirectory
from lehr.run.identity import identity
from lehr.run.objects import given_objects, with_sections
from lehr.run.status import DONE
from lehr.sweeps.point import Point
from lehr.sweeps.runner import run_point
from lehr.training.extras import Extras
from lehr.training.session import train

WORDS = ("trainer.max_epochs=2", "kl.warmup=0", "kl.hold=0", "callbacks.progress=null", "logger=none")
OWN = '''
import torch
from torch import nn


class Net(nn.Module):
    """An autoencoder of a user's."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(64, 2 * width), nn.Linear(width, 64)

    def encode(self, x):
        return self.encoder(x.flatten(1)).chunk(2, 1)

    def decode(self, z):
        return self.decoder(z).view(-1, 1, 8, 8)
'''


@pytest.fixture(scope="module")
def digits() -> dict[str, Any]:
    levels, labels = read_levels()
    return {"data": levels.astype(np.float32) / 16, "labels": labels}


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Callable[..., nn.Module]:
    """A class of a user's own, in a module that can be imported."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "given_net.py").write_text(OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        import given_net  # type: ignore[import-not-found]

        yield given_net.Net


@cache
def composition(*choices: str) -> dict[str, Any]:
    config, problems = composed(Command("train", None, [*choices, *WORDS]))
    assert config is not None
    assert problems == []
    return config.values


def configured(path: Path, given: dict[str, object], **values: Any) -> dict[str, Any]:
    """The configuration of a run that is given these; `values` by dotted keys with two underscores for each dot."""
    config = copy.deepcopy(composition(*(f"{group}={one.choice}" for group, one in given.items())))
    for key, value in {"dir": str(path), **values}.items():
        section, _, name = key.rpartition("__")
        (config[section] if section else config)[name] = value
    config = with_sections(config, given)
    assert run_problems(config) == []
    return config


def trained(path: Path, given: dict[str, object], **values: Any) -> Path:
    train(configured(path, given, **values), RunDirectory(path), extras=Extras(given=given))
    return path


def numbers(path: Path) -> dict[str, Any]:
    """What was measured of a run but for times, and its model's id, which is a digest of the weights."""
    metrics = json.loads((path / "metrics.json").read_text())
    model = json.loads((path / "status.json").read_text())["model"]
    evaluation = json.loads((path / "evaluation.json").read_text())
    found = {**metrics, **evaluation, "id": model, "dataset": None}
    return without_execution(found)


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory) -> Path:
    """A run on the digits as an array. Not to be changed; copy it."""
    return trained(tmp_path_factory.mktemp("given") / "run", given_objects(**digits), model__hidden=[16])


def test_images_that_are_given_train_as_those_in_a_file(digits, run, tmp_path):
    np.savez(tmp_path / "x.npz", images=digits["data"], classes=digits["labels"])
    words = ["data=arrays", f"data.path={tmp_path / 'x.npz'}", "data.key=images", "data.labels_key=classes"]
    assert main(["train", *words, *WORDS, "model.hidden=[16]", f"dir={tmp_path / 'file'}"]) == 0
    assert numbers(run) == numbers(tmp_path / "file")
    assert json.loads((run / "data.json").read_text())["splits"]["train"]["labels"]


def test_the_identity_is_of_what_is_given_and_not_of_what_it_was_given_as(digits, tmp_path):
    same = given_objects(data=torch.from_numpy(digits["data"])[:, None].double(), labels=list(digits["labels"]))
    other = given_objects(data=1 - digits["data"], labels=digits["labels"])
    one, two, three = (identity(configured(tmp_path, given)) for given in (given_objects(**digits), same, other))
    assert one == two != three


def test_a_run_goes_on_with_the_same_images_and_with_no_others(digits, run, tmp_path, capsys):
    given = given_objects(**digits)
    path = trained(tmp_path / "run", given, model__hidden=[16], trainer__max_epochs=1)
    before = (path / "status.json").read_bytes()
    longer = configured(path, given, model__hidden=[16])
    others = given_objects(data=digits["data"][::-1].copy(), labels=digits["labels"])
    for wrong, reason in (
        ({}, r"data: this run was given its images .* lehr.train\(resume='.*run', data=images\) goes on with it"),
        (others, "data.digest=.*: the run has .*; these are not the data that it was given"),
        (given_objects(data=digits["data"]), "data.digest=.*: the run has"),
    ):
        with pytest.raises(DataError, match=reason):
            train(longer, RunDirectory(path), True, Extras(given=wrong))
    assert (path / "status.json").read_bytes() == before  # a slip leaves the run as it is
    assert main(["train", f"resume={path}", "trainer.max_epochs=2"]) == 1
    assert "lehr train: data: this run was given its images" in capsys.readouterr().err
    train(longer, RunDirectory(path), True, Extras(given=given))
    assert numbers(path) == numbers(run)


def test_it_is_loaded_without_its_images_and_evaluated_with_them(digits, run, tmp_path):
    path = shutil.copytree(run, tmp_path / "run")
    assert lehr.load(path).sample(2).shape == (2, 1, 8, 8)
    with pytest.raises(DataError, match=r"lehr.load\('.*run', data=images\) evaluates it"):
        lehr.load(path).evaluate("quick")
    with pytest.raises(DataError, match="these are not the data"):
        lehr.load(path, data=digits["data"][:900])
    table = lehr.load(path, **digits).evaluate("quick")
    assert table["likelihood/elbo"] == numbers(run)["likelihood/elbo"]
    last = lehr.load(path, weights="last", **digits)
    assert last.model_id == numbers(run)["id"]
    assert last.sample(method="interpolate", steps=3).shape == (3, 1, 8, 8)


def test_a_point_of_a_sweep_is_trained_with_what_is_given(digits, run, tmp_path):
    given = given_objects(**digits)
    folder = tmp_path / "point"
    folder.mkdir()
    Point(configured(folder, given, model__hidden=[16]), {"seed": 0}).write(folder)
    assert run_point(folder, own_process=False, given=given) == DONE
    assert numbers(folder) == numbers(run)


@pytest.fixture(scope="module")
def run_of_net(net, tmp_path_factory) -> tuple[Path, nn.Module]:
    with randomness.seeded(0, "weights"):
        module = net()
    module.eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    path = trained(tmp_path_factory.mktemp("net") / "run", given_objects(model=module))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not module.training
    return path, module


def test_a_module_that_is_given_trains_as_its_class_does(run_of_net, tmp_path):
    path, _ = run_of_net
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "net.yaml").write_text("_target_: given_net.Net\n")
    words = ["--config-dir", str(tmp_path / "conf"), "model=net", "trust=[given_net]"]
    assert main(["train", *words, *WORDS, f"dir={tmp_path / 'named'}"]) == 0
    assert numbers(path) == numbers(tmp_path / "named")
    section = RunDirectory(path).read_config()["model"]
    assert section["type"] == "given_net.Net"


def test_a_run_of_a_module_is_loaded_into_one_that_is_built_like_it(run_of_net, net):
    path, _ = run_of_net
    loaded = lehr.load(path, model=net())
    assert loaded.model_id == numbers(path)["id"]
    with pytest.raises(ConfigError, match=r"model: this run was given its module.*lehr.load\('.*', model=module\)"):
        lehr.load(path)
    with pytest.raises(
        ConfigError, match=r"model: is not built like .* decoder.weight is \(64, 12\) there and \(64, 5\)"
    ):
        _ = lehr.load(path, model=net(width=5)).model


def test_a_run_of_a_module_goes_on_to_the_same_bits(run_of_net, net, tmp_path):
    whole, module = run_of_net
    given = given_objects(model=module)
    path = trained(tmp_path / "run", given, trainer__max_epochs=1)
    longer = configured(path, given)
    before = (path / "status.json").read_bytes()
    with pytest.raises(ConfigError, match=r"not built like that of the run: decoder.weight is \(64, 12\) there"):
        train(longer, RunDirectory(path), True, Extras(given=given_objects(model=net(width=5))))
    assert (path / "status.json").read_bytes() == before
    train(longer, RunDirectory(path), True, Extras(given=given_objects(model=net())))  # other weights, soon replaced
    assert numbers(path) == numbers(whole)


def test_models_of_lehr_s_own_are_given_too(digits, tmp_path):
    model = lehr.models.MLP((1, 8, 8), latent_dim=3, hidden=[8])
    path = trained(tmp_path / "run", given_objects(**digits, model=model), evaluate="none", trainer__max_steps=2)
    assert RunDirectory(path).read_config()["model"]["type"] == "lehr.models.mlp.MLP"
    assert lehr.load(path, model=model).model.latent_shape == (3,)


def test_what_cannot_be_given_is_refused_a_line_each(digits, tmp_path, net):
    with pytest.raises(LehrError) as caught:
        given_objects(data="mnist", model=net)
    assert [line.partition(";")[0] for line in caught.value.problems] == [
        "model: got the class Net",
        "data: got str, expected an array or a tensor of images, a data set of them, or a data module",
    ]
    with pytest.raises(ConfigError, match=r"model: got torch.nn.modules.linear.Linear, expected .* with encode"):
        given_objects(model=nn.Linear(2, 2))
    with pytest.raises(LehrError, match="labels: of which images"):
        given_objects(labels=digits["labels"])
    given = given_objects(**digits)
    with pytest.raises(ConfigError, match=r"trainer.devices: with data given from Python a run has one process, not 2"):
        trained(tmp_path / "two", given, trainer__devices=2)
    with pytest.raises(DataError, match=r"data: the run has its own, lehr.data.Digits; leave data=images out"):
        train(composition(), RunDirectory(tmp_path / "plain"), extras=Extras(given=given))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("data", ["given", "given_module"])
def test_a_command_line_is_told_what_is_right_there(data, lehr):
    code, _, err = lehr("train", f"data={data}", "model=given", "trainer.max_epochs=0")
    assert code == 2
    assert [line.partition(";")[0] for line in err.splitlines()] == [
        "lehr train: trainer.max_epochs=0: must be greater than 0",
        "lehr train: data: nothing is given",
        "lehr train: model: nothing is given",
    ]
    assert "lehr.train(data=images) in Python takes your own images; here say data=arrays data.path=FILE" in err
