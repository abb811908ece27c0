"""The types and limits of every value in `conf/`.

The values and what they mean stand in the YAML files; here stands what is allowed. A component is known by its
`_target_`; a component of the user's own has no schema here and is checked against its signature when it is built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lehr.config.samplers import SAMPLERS

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
if TYPE_CHECKING:
    SamplerName: TypeAlias = str
    Method: TypeAlias = str
else:
    SamplerName = Literal[tuple(SAMPLERS)]
    Method = Literal[(*SAMPLERS, "interpolate")]


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
    accelerator: Literal["auto", "cpu", "cuda"]
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


class Sweep(Section):
    """Of many runs: what to do with those that have ended."""

    retry: Literal["none", "failed"]


class RayLauncher(Component):
    """`hydra.launcher` of Ray."""

    address: PathString | None
    cpus_per_run: PositiveFloat
    gpus_per_run: NonNegativeFloat


class Pool(Section):
    """Of many runs on this machine: how many at once, and on what."""

    workers: Positive | Literal["auto"]
    gpus: NonNegative | Literal["auto"]
    gpus_per_run: Positive
    per_gpu: Positive


class SampleConfig(Section):
    """Everything `lehr sample` can be told."""

    run: PathString
    method: Method
    n: Positive
    seed: NonNegative
    out: PathString | None
    covariance: Literal["diag", "full"]
    from_: NonNegative = Field(alias="from")
    to: NonNegative
    steps: Annotated[int, Field(ge=2)]
    debug: bool
    trust: list[str]


class ResultsConfig(Section):
    """Everything `lehr results` can be told, but for the directory."""

    metrics: list[str] | None
    by: list[str] | None
    sort: PathString | None
    runs: bool
    format: Literal["table", "csv", "markdown", "parquet"] | None
    out: PathString | None


class EvaluateConfig(Section):
    """Everything `lehr evaluate` can be told."""

    run: PathString
    level: Literal["quick", "full"]
    split: Literal["test", "val"] | None
    examples: Annotated[int, Field(ge=2)] | None
    iwae_samples: Positive | None
    samplers: list[SamplerName] | None
    features: Literal["auto", "inception", "classifier", "pca"]
    seed: NonNegative
    debug: bool
    trust: list[str]
