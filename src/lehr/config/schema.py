"""The types and limits of every value in `conf/`, and one line for each that is wrong.

The values and what they mean stand in the YAML files; here stands what is allowed. A component is known by its
`_target_`; a component of the user's own has no schema here and is checked against its signature when it is built.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]
PathString = Annotated[str, Field(min_length=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
FractionOrNone = Annotated[float, Field(ge=0, lt=1)]
Activation = Literal["relu", "elu", "gelu", "leaky_relu", "silu", "softplus", "tanh"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"]


class Section(BaseModel):
    """A part of the configuration: no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Component(Section):
    target: str = Field(alias="_target_")


class _Data(Component):
    batch_size: Positive
    eval_batch_size: Positive
    val_fraction: Fraction
    binarize: Literal["none", "threshold", "dynamic"]
    seed: NonNegative
    split_seed: NonNegative


class Digits(_Data):
    test_fraction: Fraction


class Idx(_Data):
    root: PathString


class Arrays(_Data):
    path: PathString
    key: str | None
    labels_key: str | None
    test_path: PathString | None
    test_fraction: FractionOrNone
    layout: Literal["auto", "nhw", "nhwc", "nchw"]


class ImageFolder(_Data):
    path: PathString
    test_path: PathString | None
    test_fraction: FractionOrNone
    size: Positive
    channels: Literal[1, 3]
    crop: Literal["centre", "random"]
    flip: bool
    workers: NonNegative
    on_corrupt: Literal["error", "skip"]


class _Model(Component):
    latent_dim: Positive
    logvar_min: FiniteFloat
    logvar_max: FiniteFloat

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.logvar_min >= self.logvar_max:
            raise ValueError(f"logvar_min={self.logvar_min:g} must be less than logvar_max={self.logvar_max:g}")
        return self


class MLP(_Model):
    hidden: list[Positive]
    activation: Activation


class Conv(_Model):
    channels: Annotated[list[Positive], Field(min_length=1)]
    hidden: NonNegative
    activation: Activation


class Linear(_Model):
    pass


class Bernoulli(Component):
    pass


class Gaussian(Component):
    scale: PositiveFloat | Literal["learned", "optimal"]


class Laplace(Component):
    scale: PositiveFloat | Literal["learned"]


class DiscretizedLogistic(Component):
    levels: Annotated[int, Field(ge=3)]
    scale: PositiveFloat | Literal["learned"]


class ContinuousBernoulli(Component):
    pass


class AnnealedKL(Component):
    weight: NonNegativeFloat
    hold: NonNegativeFloat
    warmup: NonNegativeFloat
    shape: Literal["linear", "cosine", "sigmoid"]
    cycles: Positive
    unit: Literal["epoch", "step", "fraction"]


class FreeBits(AnnealedKL):
    free_nats: NonNegativeFloat
    groups: Literal["dimension", "channel", "all"]


class Capacity(Component):
    capacity: NonNegativeFloat
    gamma: NonNegativeFloat
    hold: NonNegativeFloat
    warmup: NonNegativeFloat
    shape: Literal["linear", "cosine", "sigmoid"]
    unit: Literal["epoch", "step", "fraction"]


class GECO(Component):
    target_distortion: FiniteFloat
    speed: PositiveFloat
    alpha: FractionOrNone
    weight: PositiveFloat
    min_weight: PositiveFloat
    max_weight: PositiveFloat

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min_weight <= self.weight <= self.max_weight:
            raise ValueError(
                f"weight={self.weight:g} must lie between min_weight={self.min_weight:g} "
                f"and max_weight={self.max_weight:g}"
            )
        return self


class ControlVAE(Component):
    target_rate: NonNegativeFloat
    kp: NonNegativeFloat
    ki: PositiveFloat
    min_weight: NonNegativeFloat
    max_weight: PositiveFloat

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_weight > self.max_weight:
            raise ValueError(f"min_weight={self.min_weight:g} must be at most max_weight={self.max_weight:g}")
        return self


class BetaTC(AnnealedKL):
    beta: NonNegativeFloat


class MMD(AnnealedKL):
    alpha: Annotated[float, Field(le=1, allow_inf_nan=False)]
    lambda_: NonNegativeFloat
    kernel: Literal["rbf", "imq"]
    bandwidth: PositiveFloat
    seed: NonNegative


class StandardNormalPrior(Component):
    pass


class VampPrior(Component):
    components: Positive


class MixturePrior(Component):
    components: Positive
    weights: Literal["learned", "equal"]


class ELBO(Component):
    samples: Positive


class IWAE(Component):
    samples: Positive
    gradient: Literal["dreg", "standard"]


class Adam(Component):
    lr: PositiveFloat
    betas: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)]
    eps: PositiveFloat
    weight_decay: NonNegativeFloat
    decay: Literal["none", "cosine", "stages"]
    final_lr: NonNegativeFloat


class Trainer(Section):
    max_epochs: Positive | None
    max_steps: Positive | None
    accelerator: Literal["auto", "cpu", "cuda", "mps"]
    devices: Positive | Literal["auto"]
    num_nodes: Positive
    strategy: Literal["auto", "ddp"]
    precision: Precision
    gradient_clip_val: PositiveFloat | None
    accumulate_grad_batches: Positive
    check_val_every_n_epoch: Positive
    log_every_n_steps: Positive


class Progress(Component):
    pass


class Checkpoints(Component):
    every_seconds: NonNegativeFloat


class EarlyStopping(Component):
    patience: Positive | None
    min_delta: NonNegativeFloat


class AggregateStatistics(Component):
    pass


class SampleGrids(Component):
    n: Positive
    interpolations: Positive
    steps: Annotated[int, Field(ge=2)]
    every_n_validations: NonNegative


class TensorBoard(Component):
    pass


SCHEMAS: dict[str, dict[str, type[Component]]] = {
    "data": {
        "lehr.data.Digits": Digits,
        "lehr.data.MNIST": Idx,
        "lehr.data.FashionMNIST": Idx,
        "lehr.data.Arrays": Arrays,
        "lehr.data.ImageFolder": ImageFolder,
    },
    "model": {"lehr.models.MLP": MLP, "lehr.models.Conv": Conv, "lehr.models.Linear": Linear},
    "likelihood": {
        "lehr.objective.Bernoulli": Bernoulli,
        "lehr.objective.Gaussian": Gaussian,
        "lehr.objective.Laplace": Laplace,
        "lehr.objective.DiscretizedLogistic": DiscretizedLogistic,
        "lehr.objective.ContinuousBernoulli": ContinuousBernoulli,
    },
    "kl": {
        "lehr.objective.AnnealedKL": AnnealedKL,
        "lehr.objective.FreeBits": FreeBits,
        "lehr.objective.Capacity": Capacity,
        "lehr.objective.GECO": GECO,
        "lehr.objective.ControlVAE": ControlVAE,
        "lehr.objective.BetaTC": BetaTC,
        "lehr.objective.MMD": MMD,
    },
    "prior": {
        "lehr.objective.StandardNormalPrior": StandardNormalPrior,
        "lehr.objective.VampPrior": VampPrior,
        "lehr.objective.MixturePrior": MixturePrior,
    },
    "objective": {"lehr.objective.ELBO": ELBO, "lehr.objective.IWAE": IWAE},
    "optimizer": {"torch.optim.Adam": Adam, "torch.optim.AdamW": Adam},
    "callbacks": {
        "lehr.training.Progress": Progress,
        "lehr.training.Checkpoints": Checkpoints,
        "lehr.training.EarlyStopping": EarlyStopping,
        "lehr.training.AggregateStatistics": AggregateStatistics,
        "lehr.training.SampleGrids": SampleGrids,
    },
    "logger": {"lehr.training.TensorBoard": TensorBoard},
}
"""Group -> `_target_` -> what it may hold."""


class TrainConfig(Section):
    """Everything `lehr train` can be told. Components are checked by their own schema."""

    seed: NonNegative
    dir: PathString
    resume: PathString | None
    overwrite: bool
    compile: bool
    evaluate: Literal["quick", "full", "none"]
    debug: bool
    trust: list[str]
    data: dict[str, Any]
    model: dict[str, Any]
    likelihood: dict[str, Any]
    kl: dict[str, Any]
    prior: dict[str, Any]
    objective: dict[str, Any]
    optimizer: dict[str, Any]
    trainer: Trainer
    callbacks: dict[str, dict[str, Any] | None]
    logger: dict[str, Any] | None


class SampleConfig(Section):
    """Everything `lehr sample` can be told."""

    run: PathString
    method: Literal["aggregate", "prior", "mixture", "two_stage", "interpolate"]
    n: Positive
    seed: NonNegative
    out: PathString | None
    covariance: Literal["diag", "full"]
    from_: NonNegative = Field(alias="from")
    to: NonNegative
    steps: Annotated[int, Field(ge=2)]
    debug: bool
    trust: list[str]


class EvaluateConfig(Section):
    """Everything `lehr evaluate` can be told."""

    run: PathString
    level: Literal["quick", "full"]
    split: Literal["test", "val"] | None
    examples: Annotated[int, Field(ge=2)] | None
    iwae_samples: Positive | None
    samplers: list[Literal["prior", "aggregate", "aggregate_full", "mixture", "two_stage"]]
    features: Literal["auto", "inception", "classifier", "pca"]
    seed: NonNegative
    debug: bool
    trust: list[str]


ALLOWED_PACKAGES = ("lehr", "torch", "lightning", "diffusers")
"""Packages whose classes a configuration may name without being asked to trust them."""


def nearest(name: str, among: Iterable[str]) -> str | None:
    """The most similar of `among`, or None where nothing is similar."""
    found = difflib.get_close_matches(name, list(among), n=1, cutoff=0.6 if len(name) <= 5 else 0.7)
    return found[0] if found else None


def did_you_mean(name: str, among: Iterable[str]) -> str:
    """`; did you mean X?`, or where nothing is similar what there is, if that is little enough to read."""
    among = sorted(among)
    if match := nearest(name, among):
        return f"; did you mean {match}?"
    return f"; there are: {', '.join(among)}" if len(among) <= _READABLE else ""


_READABLE = 12


def train_problems(config: Mapping[str, Any]) -> list[str]:
    """One line for each value of a training configuration that is unknown, of the wrong type, or out of range."""
    problems = section_problems(TrainConfig, config)
    trust = config.get("trust")
    trust = trust if isinstance(trust, list) else []
    for group, schemas in SCHEMAS.items():
        node = config.get(group)
        nodes = node.items() if group == "callbacks" and isinstance(node, Mapping) else [(None, node)]
        for name, component in nodes:
            # an empty logger is none; an empty component of any other kind cannot be built
            if isinstance(component, Mapping) and (component or group != "logger"):
                path = f"{group}.{name}" if name else group
                problems += _component_problems(path, component, schemas, trust)
    # data.seed and kl.seed are seed, unless they were set by themselves
    return [p for p in problems if not (p.startswith(("data.seed=", "kl.seed=")) and p.partition(".")[2] in problems)]


def section_problems(schema: type[Section], values: Mapping[str, Any], path: str = "") -> list[str]:
    """One line for each value of `values` that `schema` does not allow; `path` is where they stand."""
    try:
        schema.model_validate(dict(values))
    except ValidationError as error:
        return list(dict.fromkeys(_lines(error, schema, path)))
    return []


def _component_problems(
    path: str, node: Mapping[str, Any], schemas: Mapping[str, type[Component]], trust: Iterable[str]
) -> list[str]:
    target = node.get("_target_")
    if not isinstance(target, str) or not target.strip("."):
        return [f"{path}._target_={_shown(target)}: must name a class, such as {next(iter(schemas))}"]
    if target in schemas:
        return section_problems(schemas[target], node, path)
    package = target.partition(".")[0]
    if package not in (*ALLOWED_PACKAGES, *trust):
        return [
            f"{path}._target_={target}: package {package!r} is not trusted; if you trust it, say 'trust=[{package}]'"
        ]
    modules = {known.rpartition(".")[0] for known in schemas}
    if package == "lehr" and target.rpartition(".")[0] in modules:
        group = path.partition(".")[0]
        return [f"{path}._target_={target}: is not a class for {group}{did_you_mean(target, schemas)}"]
    return []


def _lines(error: ValidationError, schema: type[Section], path: str) -> Iterable[str]:
    # a union reports each of its branches: they are joined into one line for the key
    messages: dict[str, list[str]] = {}
    inputs: dict[str, Any] = {}
    for detail in error.errors(include_url=False):
        location = [part for part in detail["loc"] if not _is_branch(part)]
        key = ".".join(str(part) for part in ([path] if path else []) + location)
        if detail["type"] == "extra_forbidden":
            section = _section_at(schema, location[:-1])
            names = [field.alias or name for name, field in section.model_fields.items() if field.alias != "_target_"]
            prefix = ".".join(str(part) for part in ([path] if path else []) + location[:-1])
            known = [f"{prefix}.{name}" if prefix else name for name in names]
            # what a file without that first line says lands under the name of its group
            lost = key == "experiment"
            hint = "; a file in experiment/ begins with '# @package _global_'" if lost else did_you_mean(key, known)
            yield f"{key}: unknown key{hint}"
        elif detail["type"] == "missing":
            yield f"{key}: is missing"
        elif detail["type"] == "string_type" and detail["input"] is None:
            yield f"{key}: is missing; say {key}=PATH"
        elif detail["type"] == "string_too_short":
            yield f"{key}=: must not be empty"
        elif detail["type"] == "value_error":
            yield f"{key}: {detail['ctx']['error']}"
        elif detail["type"] in ("too_short", "too_long"):
            yield f"{key}={detail['input']}: must have {_bounds(detail['ctx'])} values"
        else:
            messages.setdefault(key, []).append(_condition(detail, key))
            inputs[key] = detail["input"]
    for key, parts in messages.items():
        yield f"{key}={_shown(inputs[key])}: must be {' or '.join(dict.fromkeys(parts))}"


def _condition(detail: Any, key: str) -> str:
    """What a value must be, in pydantic's words, fit to stand after "must be"."""
    if detail["type"] == "string_type" and isinstance(detail["input"], int | float):
        return f"a string; if it is meant to be one, quote it twice: {key}=\"'...'\""
    message = detail["msg"].replace("Input should be ", "").replace("a valid ", "a ").replace("a integer", "an integer")
    return re.sub(r" or instance of \w+", "", message)


def _bounds(limits: Mapping[str, Any]) -> str:
    if "min_length" in limits:
        return f"at least {limits['min_length']}"
    return f"at most {limits['max_length']}"


def _shown(value: object) -> str:
    return "null" if value is None else str(value)


def _is_branch(part: object) -> bool:
    """Whether pydantic put this part into a location to name a branch of a union, not a key."""
    return isinstance(part, str) and (part.startswith(("literal[", "constrained-", "function-")) or part in _BRANCHES)


_BRANCHES = {"int", "float", "str", "bool", "none", "dict[str,any]", "list[str]"}


def _section_at(schema: type[Section], location: list[Any]) -> type[Section]:
    for part in location:
        field = schema.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, Section)):
            break
        schema = annotation
    return schema
