"""What a class takes is the same whether it is read in its source or asked of the class; see tests/test_conf.py too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from annotated_types import Gt

from lehr.config.problems import section_problems
from lehr.config.registry import GROUPS, targets
from lehr.config.schema import schema_of, schema_of_class
from lehr.config.signature import REQUIRED, UNKNOWN, Parameter, signature_in_source, signature_of
from lehr.limits import Order, PositiveInt
from lehr.models import MLP, VAE
from lehr.needs import RATE, STANDARD_NORMAL_PRIOR
from lehr.objective import IWAE, FreeBits, StandardNormalPrior


class Base:
    def __init__(self, depth: PositiveInt, width: int = 3) -> None: ...


class Passing(Base):
    def __init__(self, name: str, **rest: Any) -> None: ...


class Unlike:
    """With names that pydantic has a use for, values that YAML has not, and declarations that are none of lehr's."""

    needs = ("sleep",)
    ordered = 3

    def __init__(
        self,
        copy: int,
        model_config: int = 0,
        target: float = 1.0,
        path: Path | None = None,
        pair: tuple[int, float] = (1, 2.0),
        sizes: Sequence[Annotated[int, Gt(0)]] = (1,),
        unannotated=None,
    ) -> None: ...


if TYPE_CHECKING:
    from nowhere import Unknown


class Fixed(VAE):
    """Of a class whose limits are about arguments that it does not take."""

    def __init__(self, width: PositiveInt = 3, weights: Unknown = None, logvar_min: float | None = None) -> None: ...


def test_limits_of_arguments_that_a_subclass_does_not_take_do_not_hold_for_it():
    schema = schema_of_class("model", "mine.Fixed", Fixed)
    assert section_problems(schema, {"_target_": "mine.Fixed", "width": 2}, "model") == []


def test_an_annotation_that_cannot_be_evaluated_leaves_the_others_as_they_are():
    schema = schema_of_class("model", "mine.Fixed", Fixed)
    assert section_problems(schema, {"_target_": "mine.Fixed", "width": 0, "weights": "a.pt"}, "model") == [
        "model.width=0: must be greater than 0"
    ]


def test_nothing_is_imported_to_read_the_source_of_a_class():
    program = (
        "import sys\n"
        "from lehr.config.registry import GROUPS, targets\n"
        "from lehr.config.schema import schema_of\n"
        "assert all(schema_of(group, target) for group in GROUPS for target in targets(group))\n"
        "print(sorted({'torch', 'lightning', 'hydra', 'numpy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("target", ["lehr.models.Nothing", "lehr.nothing.MLP", "torch.nn.Linear", "MLP", ""])
def test_what_is_not_there_or_not_lehr_s_has_no_source(target):
    assert signature_in_source(target) is None


def test_a_class_is_found_by_its_short_and_by_its_full_name():
    short, full = signature_in_source("lehr.models.MLP"), signature_in_source("lehr.models.mlp.MLP")
    assert short == full == signature_of(MLP)
    assert short.parameters["latent_dim"] == Parameter(PositiveInt)
    assert short.parameters["hidden"] == Parameter(Sequence[PositiveInt], (400,))
    assert short.ordered == (Order("logvar_min", "<", "logvar_max"),)


def test_what_a_class_passes_on_is_its_base_s():
    found = signature_of(Passing)
    # it may give its base what the base needs
    assert found.parameters == {
        "depth": Parameter(PositiveInt, UNKNOWN), "width": Parameter(int, 3), "name": Parameter(str, REQUIRED)
    }  # fmt: skip
    assert found.takes_more
    schema = schema_of_class("likelihood", "own.Passing", Passing)
    assert section_problems(schema, {"_target_": "own.Passing", "name": "x", "else": 1}) == []
    assert section_problems(schema, {"_target_": "own.Passing", "name": "x", "depth": 0}) == [
        "depth=0: must be greater than 0"
    ]


def test_a_class_of_anyone_s_is_checked_as_far_as_it_is_understood():
    schema = schema_of_class("likelihood", "own.Unlike", Unlike)
    node = {"_target_": "own.Unlike", "copy": 1, "model_config": 2, "path": 7, "pair": [1, 2.5], "unannotated": {}}
    assert section_problems(schema, node) == []
    wrong = node | {"copy": "x", "target": "y", "pair": [1], "sizes": [1, 0]}
    assert section_problems(schema, wrong) == [
        "pair=[1]: must have at least 2 values",
        "copy=x: must be an integer",
        "target=y: must be a number",
        "sizes.1=0: must be greater than 0",
    ]
    assert section_problems(schema, {"_target_": "own.Unlike"}) == ["copy: is missing; own.Unlike needs it"]
    assert signature_of(Unlike).needs == ()


def test_what_code_gives_is_no_key():
    assert "image_shape" not in schema_of("model", "lehr.models.MLP").model_fields
    assert set(schema_of("prior", "lehr.objective.StandardNormalPrior").model_fields) == {"target"}
    assert set(schema_of("logger", "lehr.training.TensorBoard").model_fields) == {"target", "projector"}


def test_a_plan_that_a_group_has_is_part_of_each_of_its_components():
    for target in targets("optimizer"):
        assert {"lr", "betas", "decay", "final_lr"} <= set(schema_of("optimizer", target).model_fields)
        assert not {"params", *GROUPS["optimizer"].plan_given} & set(schema_of("optimizer", target).model_fields)


def test_needs_are_declared_and_may_depend_on_a_value():
    assert signature_in_source("lehr.objective.IWAE").provides == IWAE.provides == ()
    assert signature_in_source("lehr.objective.StandardNormalPrior").provides == (STANDARD_NORMAL_PRIOR,)
    assert StandardNormalPrior.provides == (STANDARD_NORMAL_PRIOR,)
    found = signature_in_source("lehr.objective.FreeBits")
    assert found.needs == FreeBits.needs
    for groups, names in {"all": set(), "channel": {"standard_normal_prior"}}.items():
        assert {need.name for need in found.needs if need.applies({"groups": groups})} == {"rate", "density"} | names
    # a configuration that says nothing has the default
    assert RATE in found.needs
    assert found.complete({"free_nats": 1.0})["groups"] == "dimension"


def test_words_are_literals():
    words = schema_of("kl", "lehr.objective.FreeBits").model_fields["groups"].annotation
    assert words == Literal["dimension", "channel", "all"]
