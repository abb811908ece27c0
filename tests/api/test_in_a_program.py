"""What a program does around a call, in its own settings and threads, changes no number and no line."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from lightning.pytorch import LightningDataModule
from torch import nn

import lehr as library
from lehr.compose.words import grid_words
from lehr.config.registry import conf_dir
from lehr.errors import ConfigError
from lehr.modes import undisturbed

SHORT = {"trainer.max_epochs": 2, "kl.hold": 0, "kl.warmup": 0, "evaluate": "none", "logger": "none"}
IMAGES = np.random.default_rng(0).random((90, 8, 8), dtype=np.float32)


class Dropping(nn.Module):
    """Draws random numbers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Sequential(nn.Dropout(0.3), nn.Linear(64, 4)), nn.Linear(2, 64)

    def encode(self, x):
        return self.encoder(x.flatten(1)).chunk(2, 1)

    def decode(self, z):
        return self.decoder(z).view(-1, 1, 8, 8)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def module() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Dropping()


def trained(directory, **said) -> str | None:
    return library.train(dir=directory, **{**SHORT, "data": IMAGES, **said}).model_id


@pytest.mark.slow
def test_dropout_is_a_function_of_the_seed_and_the_step(module):
    before = torch.get_rng_state()
    whole = trained("whole", model=module)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert trained("again", model=module) == whole
    trained("parts", model=module, **{"trainer.max_epochs": 1})
    parts = library.train(resume="parts", data=IMAGES, model=module, **{"trainer.max_epochs": 2})
    assert parts.model_id == whole
    assert trained("other", model=module, seed=1) != whole


@contextmanager
def _double():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.slow
def test_modes_of_the_program_change_no_number(module):
    ids = [trained("plain", model=module)]
    for mode in (_double, torch.inference_mode, torch.no_grad, lambda: torch.device("meta")):
        with mode():
            ids.append(trained(f"in-{len(ids)}", model=module))
    assert len(set(ids)) == 1
    with torch.inference_mode():
        made = Dropping()
    assert trained("made", model=made)


def test_a_mode_is_given_back():
    with _double():
        with undisturbed():
            assert torch.get_default_dtype() == torch.float32
        assert torch.get_default_dtype() == torch.float64


@pytest.mark.slow
def test_runs_of_several_threads_are_those_of_one():
    found: dict[str, object] = {}

    def run(name: str) -> None:
        try:
            found[name] = trained(name)
        except Exception as error:
            found[name] = error

    threads = [threading.Thread(target=run, args=(f"thread-{i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found.values()) == {trained("alone")}


def test_a_program_of_hydra_s_keeps_it():
    with initialize_config_dir(str(Path(conf_dir()).absolute()), version_base="1.3"):
        mine = GlobalHydra.instance().hydra
        with pytest.raises(ConfigError):
            library.train(["kl.wieght=1"])
        assert GlobalHydra.instance().hydra is mine
        assert compose("train", overrides=["seed=3"]).seed == 3


def test_a_module_that_has_nothing_to_train_is_refused_in_a_line(module):
    with pytest.raises(ConfigError, match="has nothing to train: none of its parameters requires a gradient"):
        trained("frozen", model=module.requires_grad_(False))


class NoLength(torch.utils.data.Dataset):
    def __len__(self):
        raise TypeError("it is endless")

    def __getitem__(self, i):
        return IMAGES[i]


class Failing(LightningDataModule):
    def setup(self, stage):
        raise OSError("no disk")


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ({"data": torch.from_numpy(IMAGES).to_sparse()}, "data: cannot be read as an array"),
        ({"data": torch.empty(9, 8, 8, device="meta")}, "data: cannot be read as an array"),
        ({"data": [torch.eye(8).to_sparse()]}, r"data\[0\]: cannot be read as an array"),
        ({"data": np.ma.masked_less(IMAGES, 0.5)}, r"data: has masked values; say what they are, as in data.filled"),
        ({"data": NoLength()}, "data: .*NoLength has no length \\(it is endless\\)"),
        ({"labels": "classes"}, r"labels: are no array of whole numbers \(got str\)"),
        ({"labels": 3}, r"labels: are no array of whole numbers \(got int\)"),
        ({"data": Failing()}, r"data.setup\('fit'\): fails \(OSError: no disk\)"),
        ({"test": "mnist"}, "test: got str, expected an array or a tensor"),
        ({"data": "digits", "labels": [1]}, "labels: is for images that are given; data=digits has its own"),
        ({"words": ["data=mnist"]}, "data=mnist: a data set is given as data=... too; leave one out"),
        ({"words": ["model=conv"], "model": Dropping()}, "model=conv: a module is given as model=... too"),
        ({"words": None}, "words: got None, expected text, as in"),
        ({"words": {"kl.weight": 1}}, r"words: got a mapping, which is given as \*\*keys"),
        ({"config_dir": 3}, "config_dir=3: must be a path"),
        ({"dir": "a\0b"}, "dir=.*: embedded null byte"),
    ],
)
def test_what_cannot_be_taken_is_said_in_a_line(said, line, tmp_path):
    with pytest.raises(library.LehrError, match=f"^{line}") as error:
        library.train(**{"data": IMAGES, "dir": "run", **said})
    assert len(error.value.problems) == 1
    assert not list(tmp_path.iterdir())


def test_a_key_of_a_grid_has_no_other_value_and_some_of_its_own():
    with pytest.raises(ConfigError) as error:
        grid_words({"kl.weight": [1, 2], "seed": []}, {"kl.weight": 3, "data": "digits"})
    assert error.value.problems == (
        "kl.weight: is in the grid, and has one value for all runs as well; leave one out",
        "seed: has no values",
    )


def test_what_is_interrupted_goes_on_with_all_that_it_was_given(monkeypatch):
    import signal

    from lehr.training.callbacks.progress import Progress

    monkeypatch.setattr(Progress, "on_train_batch_end", lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(library.Stopped, match=r"lehr.train\(resume='run', data=..., labels=...\)"):
        trained("run", labels=[0] * len(IMAGES))
    with pytest.raises(library.CheckpointError, match=r"finish it with lehr.train\(resume='run', data=images\)"):
        library.load("run", data=IMAGES, labels=[0] * len(IMAGES))
