"""A likelihood of the user's own is a class and a YAML file, and is then as good as a shipped one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lehr.compose.composer import Command
from lehr.compose.grid import grid
from lehr.run.load import load

CLASS = """
from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt

from lehr.limits import Order
from lehr.objective.likelihood import Likelihood


class Student(Likelihood):
    levels = None
    ordered = (Order("freedom", "<=", "most_freedom"),)

    def __init__(
        self,
        freedom: Annotated[float, Ge(1)],
        most_freedom: float = 100.0,
        scale: Annotated[float, Gt(0)] | Literal["unit"] = "unit",
        mean_of: Literal["location", "median"] = "location",
    ) -> None:
        super().__init__()
        self.freedom = freedom
        self.scale = 1.0 if scale == "unit" else scale

    def log_prob(self, x, parameters):
        return torch.distributions.StudentT(self.freedom, parameters, self.scale).log_prob(x).flatten(1).sum(1)

    def mean(self, parameters):
        return parameters
"""
FILE = "# Heavy tails.\n_target_: own_student.Student\nfreedom: 3.0  # degrees of it\nscale: 0.5  # of the errors\n"
OWN = ("--config-dir", "own", "likelihood=student")
TRUSTED = (*OWN, "trust=[own_student]")


@pytest.fixture(autouse=True)
def _student():
    Path("own/likelihood").mkdir(parents=True)
    Path("own/likelihood/student.yaml").write_text(FILE)
    Path("own_student.py").write_text(CLASS)
    yield
    sys.modules.pop("own_student", None)


def test_it_is_asked_for_trust_first(refused):
    assert refused("train", *OWN) == [
        "likelihood._target_=own_student.Student: package 'own_student' is not trusted; if you trust it, say "
        "'trust=[own_student]'"
    ]
    assert "own_student" not in sys.modules


def test_its_values_are_checked_against_its_constructor(refused):
    assert refused(
        "train", *TRUSTED, "likelihood.freedom=0.5", "likelihood.scale=wide", "+likelihood.mean_of=mode"
    ) == [
        "likelihood.freedom=0.5: must be greater than or equal to 1",
        "likelihood.scale=wide: must be a number or 'unit'",
        "likelihood.mean_of=mode: must be 'location' or 'median'",
    ]
    assert refused("train", *TRUSTED, "likelihood.freedom=inf") == ["likelihood.freedom=inf: must be a finite number"]
    assert refused("train", *TRUSTED, "likelihood.freedom=200") == [
        "likelihood: freedom=200 must be at most most_freedom=100"
    ]


def test_a_key_that_it_does_not_take_or_lacks_is_one_line(refused):
    assert refused("train", *TRUSTED, "+likelihood.freedon=2", "~likelihood.freedom") == [
        "likelihood.freedom: is missing; own_student.Student needs it",
        "likelihood.freedon: unknown key of own_student.Student; did you mean likelihood.freedom?",
    ]


def test_each_point_of_a_grid_is_checked():
    typed = ["likelihood=student", "trust=[own_student]", "likelihood.freedom=0.1,1,10,1000"]
    _, problems = grid(Command("train", Path("own"), typed, multirun=True))
    assert problems == [
        "likelihood.freedom=0.1: must be greater than or equal to 1",
        "likelihood: freedom=1000 must be at most most_freedom=100 (in likelihood.freedom=1000)",
    ]


def test_the_shell_completes_it(lehr):
    def completed(line: str) -> list[str]:
        return lehr("completion", "query", f"lehr train --config-dir own {line}")[1].split()

    assert completed("likelihood=st") == ["likelihood=student"]
    assert completed("likelihood=student likelihood.f") == ["likelihood.freedom="]


def test_it_is_trained_and_loaded(lehr):
    short = ("data.binarize=none", "trainer.max_epochs=null", "trainer.max_steps=2", "kl=constant", "evaluate=none")
    code, _, err = lehr(
        "train", *TRUSTED, *short, "logger=none", "callbacks.progress=null", "model.hidden=[8]", "dir=run"
    )
    assert (code, err) == (0, "")
    run = load(Path("run"), trust=("own_student",))
    assert run.likelihood.freedom == 3.0
    assert run.likelihood.scale == 0.5


def test_what_it_declares_is_compared_with_what_others_need(refused):
    """A model whose posteriors have no density says so."""
    Path("own_points.py").write_text(
        "from lehr.models import MLP\nclass Dense(MLP):\n    pass\nclass Points(MLP):\n    provides = ()\n"
    )
    points, dense = ((f"model._target_=own_points.{name}", "trust=[own_points]") for name in ("Points", "Dense"))
    try:
        assert refused("train", *points, "kl=geco", "trainer.devices=1") == [
            "kl._target_=lehr.objective.GECO: needs a posterior with a density, which this model has not"
        ]
        assert refused("train", *points, "prior=vamp") == [
            "prior._target_=lehr.objective.VampPrior: needs a posterior with a density, which this model has not"
        ]
        assert refused("train", *points, "objective=iwae") == [
            "objective._target_=lehr.objective.IWAE: needs a posterior with a density, which this model has not"
        ]
        for model in ((*points, "kl=anneal"), (*dense, "kl=geco", "~model.activation")):
            assert refused("train", *model, "trainer.max_epochs=null") == [
                "trainer.max_epochs=null, trainer.max_steps=null: give one of them, or training never ends"
            ]
    finally:
        sys.modules.pop("own_points", None)


def test_a_rate_term_that_says_its_own_annealing_is_checked(refused):
    """It takes none of the arguments that its base declares to be those of the annealing."""
    Path("own_rate.py").write_text(
        "from lehr.objective import AnnealedKL\n"
        "class Own(AnnealedKL):\n"
        "    def __init__(self, twist: int = 1):\n"
        "        super().__init__(1.0)\n"
    )
    Path("own/kl").mkdir()
    Path("own/kl/own.yaml").write_text("_target_: own_rate.Own\ntwist: 1\n")
    own = ("--config-dir", "own", "kl=own", "trust=[own_rate]")
    try:
        assert refused("train", *own, "kl.twist=a") == ["kl.twist=a: must be an integer"]
        assert refused("train", *own, "trainer.max_epochs=null") == [
            "trainer.max_epochs=null, trainer.max_steps=null: give one of them, or training never ends"
        ]
        assert refused("train", *own, "ema.decay=0.9", "ema.half_life=10") == [
            "ema.decay=0.9, ema.half_life=10: each says how long it remembers; give one"
        ]
    finally:
        sys.modules.pop("own_rate", None)


def test_a_model_without_a_density_need_not_say_so(lehr):
    """Where a component needs one, the model is asked."""
    Path("own_silent.py").write_text(
        "from torch import nn\n"
        "class Silent(nn.Module):\n"
        "    def __init__(self, width: int = 2):\n"
        "        super().__init__()\n"
        "        self.down, self.up = nn.Linear(64, width), nn.Linear(width, 64)\n"
        "    def encode(self, x):\n"
        "        return self.down(x.flatten(1))\n"
        "    def decode(self, z):\n"
        "        return self.up(z).view(-1, 1, 8, 8)\n"
    )
    Path("own/model").mkdir()
    Path("own/model/silent.yaml").write_text("_target_: own_silent.Silent\nwidth: 2\n")
    own = ("--config-dir", "own", "model=silent", "trust=[own_silent]", "dir=run", "kl=constant")
    try:
        for group, choice, name in (("objective", "iwae", "IWAE"), ("prior", "vamp", "VampPrior")):
            code, _, err = lehr("train", *own, f"{group}={choice}", "data.binarize=threshold")
            line = f"{group}._target_=lehr.objective.{name}: needs a posterior with a density, which this model has not"
            assert (code, err) == (1, f"lehr train: {line}\n")
    finally:
        sys.modules.pop("own_silent", None)
