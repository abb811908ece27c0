"""The types and limits of the values of `lehr export` and `lehr import`, as `schema` has those of other commands."""

from __future__ import annotations

from typing import Any, Literal

from lehr.config.schema import MovedData, Section
from lehr.limits import NonNegativeInt, PathString

LIKELIHOOD = {"_target_": "lehr.objective.Laplace", "scale": 0.5}
"""Of what was published. Latent diffusion's absolute error of pixels in [-1, 1]: no file says what its model was
trained with."""


class ExportConfig(Section):
    """Everything `lehr export` can be told."""

    run: PathString
    data: MovedData = MovedData()
    format: Literal["diffusers", "single_file", "onnx", "torch_export"]
    out: PathString
    weights: Literal["best", "last", "ema"] | None
    overwrite: bool
    debug: bool
    trust: list[str]


class ImportConfig(Section):
    """Everything `lehr import` can be told besides the place. The data are checked by their own schema."""

    dir: PathString
    seed: NonNegativeInt
    data: dict[str, Any] | None = None
    overwrite: bool
    debug: bool
    trust: list[str]
