"""The types and limits of every value that a configuration may have.

Those of components are derived from the constructors of their classes; here stand those of the commands' own sections.
What values there are, and what they mean, say the YAML files.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeAlias, Union, get_args, get_origin

from annotated_types import BaseMetadata, Ge, GroupedMetadata, Len
from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from lehr.config.probes import PROBES
from lehr.config.registry import GROUPS, targets
from lehr.config.samplers import SAMPLERS
from lehr.config.signature import REQUIRED, Parameter, Signature, signature_in_source, signature_of
from lehr.limits import (
    Limit,
    NonNegativeFloat,
    NonNegativeInt,
    PathString,
    PositiveFloat,
    PositiveInt,
    Text,
)

Precision = Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"]
DebugMode = Literal["overfit", "fast", "profile", "anomaly"]
"""Ways of looking for what is wrong with a training, see docs/debugging.md."""
if TYPE_CHECKING:
    SamplerName: TypeAlias = str
    ProbeName: TypeAlias = str
    Method: TypeAlias = str
else:
    SamplerName = Literal[tuple(SAMPLERS)]
    ProbeName = Literal[tuple(PROBES)]
    Method = Literal[(*SAMPLERS, "interpolate")]


class Section(BaseModel):
    """A part of the configuration: no unknown keys, no silent conversions, no number that is not finite."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    class_name: ClassVar[str] = ""
    """Of a component whose class is not lehr's: what its keys are said to be of."""


class Component(Section):
    """A section that names a class, and its values."""

    target: str = Field(alias="_target_")
    ordered: ClassVar[tuple[Limit, ...]] = ()

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        values = {field.alias or name: getattr(self, name) for name, field in type(self).model_fields.items()}
        if problems := [problem for order in self.ordered if (problem := order.problem(values))]:
            raise ValueError("; ".join(problems))
        return self


class _OwnComponent(Component):
    """One of a class of anyone's own, where a number without limits may be infinite."""

    model_config = ConfigDict(allow_inf_nan=True)


class _OpenComponent(_OwnComponent):
    """One that takes other values too."""

    model_config = ConfigDict(extra="allow")


@cache
def schema_of(group: str, target: str) -> type[Component] | None:
    """What a shipped component may hold; None for any other."""
    if target not in targets(group):
        return None
    signature = signature_in_source(GROUPS[group].described.get(target, target))
    assert signature is not None, target
    return _schema(group, target, signature)


@cache
def schema_of_class(group: str, target: str, cls: type) -> type[Component]:
    """What a component of anyone's own may hold, which is imported as `cls`."""
    signature = signature_of(cls)
    schema = _schema(group, target, signature, _OpenComponent if signature.takes_more else _OwnComponent)
    schema.class_name = target
    return schema


def _schema(group: str, target: str, signature: Signature, base: type[Component] = Component) -> type[Component]:
    given = GROUPS[group].gives(target)
    parameters = {name: p for name, p in signature.parameters.items() if name not in given} | dict(plan_of(group))
    fields: dict[str, Any] = {}
    for name, parameter in parameters.items():
        default = ... if parameter.default is REQUIRED else parameter.default
        taken = name.startswith(("_", "model_")) or hasattr(Component, name) or name in Component.model_fields
        fields[f"value_{name}" if taken else name] = (
            _configured(parameter.annotation),
            Field(default, alias=name) if taken else default,
        )
    schema: type[Component] = create_model(target.rpartition(".")[2], __base__=base, **fields)
    schema.ordered = signature.ordered
    return schema


@cache
def plan_of(group: str) -> Mapping[str, Parameter]:
    """What every component of a group has besides its own arguments."""
    plan = GROUPS[group].plan
    if plan is None:
        return {}
    signature = signature_in_source(plan)
    assert signature is not None, plan
    return {name: p for name, p in signature.parameters.items() if name not in GROUPS[group].plan_given}


def _configured(annotation: Any) -> Any:
    """The type of a value in YAML that is meant for an argument of this one; `Any` where it is none that YAML has."""
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation in (int, float, str, bool, None, type(None)) or origin is Literal:
        return annotation
    if origin is Annotated:
        inner, *metadata = args
        inner = _configured(inner)
        known: list[Any] = [one for one in metadata if isinstance(one, BaseMetadata | GroupedMetadata)]
        if inner is float:  # what has limits is finite, in anyone's class
            known.append(Field(allow_inf_nan=False))
        return Annotated[inner, *known] if known and inner is not Any else inner
    if origin in (Union, types.UnionType):
        parts = [_configured(part) for part in args]
        return Any if Any in parts else Union[*parts]
    if origin is tuple and args[-1:] != (...,):
        element: Any = Union[*map(_configured, args)]
        return Annotated[list[element], Len(len(args), len(args))]
    if origin in (list, tuple, Sequence, Iterable):
        return list[_configured(args[0])]  # type: ignore[misc]
    if origin in (dict, Mapping):
        return dict[str, _configured(args[1])]  # type: ignore[misc]
    return list[Any] if annotation is list else dict[str, Any] if annotation is dict else Any


class Trainer(Section):
    max_epochs: PositiveInt | None
    max_steps: PositiveInt | None
    accelerator: Literal["auto", "cpu", "cuda"]
    devices: PositiveInt | Literal["auto"]
    num_nodes: PositiveInt
    strategy: Literal["auto", "ddp"]
    precision: Precision
    gradient_clip_val: PositiveFloat | None
    accumulate_grad_batches: PositiveInt
    check_val_every_n_epoch: PositiveInt | None
    check_val_every_n_steps: PositiveInt | None = None
    log_every_n_steps: PositiveInt
    limit_examples: Annotated[int, Ge(2)] | None = None
    overfit_batches: NonNegativeInt = 0
    channels_last: bool = False


class Export(Section):
    """Which weights a run ends in."""

    weights: Literal["best", "last", "ema"] | None = None


class _Train(Section):
    seed: NonNegativeInt
    dir: PathString
    resume: PathString | None
    resume_from: Literal["last", "best"] = "last"
    start_from: PathString | None = None
    fit_half: bool = False
    stages: list[dict[str, Any]] = Field(default_factory=list)
    overwrite: bool
    compile: bool
    evaluate: Literal["quick", "full", "none"]
    report: bool | Literal["auto"] = "auto"
    debug: bool | DebugMode
    trust: list[str]
    trainer: Trainer
    export: Export = Field(default_factory=Export)


def _nodes(group: str) -> Any:
    node: Any = dict[str, dict[str, Any] | None] if GROUPS[group].several else dict[str, Any]
    return node | None if GROUPS[group].optional else node


TrainConfig = create_model(  # type: ignore[call-overload]
    "TrainConfig",
    __base__=_Train,
    __doc__="Everything `lehr train` can be told. Components are checked by their own schema.",
    **{name: (_nodes(name), None if group.optional else ...) for name, group in GROUPS.items()},
)


class Sweep(Section):
    """Of many runs: what to do with those that have ended."""

    retry: Literal["none", "failed"]


class FusedLauncher(Component):
    """`hydra.launcher` of points that are trained as one program."""

    lanes: PositiveInt | Literal["auto"]


class RayLauncher(Component):
    """`hydra.launcher` of Ray."""

    address: Text | None
    cpus_per_run: PositiveFloat
    gpus_per_run: NonNegativeFloat


class Pool(Section):
    """Of many runs on this machine: how many at once, on what, and which of them as one program."""

    workers: PositiveInt | Literal["auto"]
    gpus: NonNegativeInt | Literal["auto"]
    gpus_per_run: PositiveInt
    per_gpu: PositiveInt
    fused: Literal["none", "auto", "all"]


class MovedData(Section):
    """Where the data of a run lie now, if not where they did."""

    path: PathString | None = None
    test_path: PathString | None = None
    root: PathString | None = None


class SampleConfig(Section):
    """Everything `lehr sample` can be told."""

    run: PathString
    data: MovedData = MovedData()
    method: Method
    n: PositiveInt
    seed: NonNegativeInt
    out: PathString | None
    covariance: Literal["diag", "full"]
    from_: NonNegativeInt = Field(alias="from")
    to: NonNegativeInt
    steps: Annotated[int, Ge(2)]
    debug: bool
    trust: list[str]


class DescribeConfig(Section):
    """Everything `lehr data` can be told. The data are checked by their own schema."""

    seed: NonNegativeInt
    data: dict[str, Any]
    format: Literal["table", "json"]
    out: PathString | None
    debug: bool
    trust: list[str]


class CompareConfig(Section):
    """Everything `lehr compare` can be told, but for the models. The data are checked by their own schema."""

    seed: NonNegativeInt
    data: dict[str, Any] | None = None
    split: Literal["test", "val", "train", "all"] | None
    examples: Annotated[int, Ge(2)] | None
    sizes: list[PositiveInt]
    precisions: list[Precision]
    swap: bool
    pictures: PositiveInt
    format: Literal["table", "json"]
    out: PathString | None
    debug: bool
    trust: list[str]


class EvaluateConfig(Section):
    """Everything `lehr evaluate` can be told."""

    run: PathString
    data: MovedData = MovedData()
    weights: Literal["best", "last", "ema"] | None
    level: Literal["quick", "full"]
    split: Literal["test", "val"] | None
    examples: Annotated[int, Ge(2)] | None
    iwae_samples: PositiveInt | None
    samplers: list[SamplerName] | None
    features: Literal["auto", "inception", "classifier", "pca"]
    seed: NonNegativeInt
    debug: bool
    trust: list[str]


class ProbeConfig(Section):
    """Everything `lehr probe` can be told."""

    run: PathString
    other: PathString | None
    data: MovedData = MovedData()
    probes: list[ProbeName] | None
    examples: Annotated[int, Ge(2)] | None
    sizes: list[PositiveInt] | None
    split: Literal["test", "val"] | None
    seed: NonNegativeInt
    out: PathString | None
    debug: bool
    trust: list[str]


class GroupsConfig(Section):
    """Everything `lehr groups` can be told."""

    run: PathString
    data: MovedData = MovedData()
    by: PathString | None
    column: Text | NonNegativeInt | None
    against: PathString | None
    split: Literal["train", "val", "test"] | None
    examples: Annotated[int, Ge(2)] | None
    seed: NonNegativeInt
    out: PathString | None
    debug: bool
    trust: list[str]
