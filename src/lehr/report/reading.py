"""What a run left, as far as a report shows it: its small files, its statistics and its pictures. No torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from lehr.errors import CheckpointError
from lehr.evaluation.advice import Advice
from lehr.evaluation.catalogue import final_split
from lehr.reading import read_fields
from lehr.report.numbers import is_number
from lehr.report.scatter_charts import Images
from lehr.run.contents import GROUPS_FILE, PROBES_FILE
from lehr.run.directory import RunDirectory
from lehr.run.history import read_history
from lehr.run.next_steps import advice_of
from lehr.tensors import MODEL, read_arrays, read_metadata

_VALIDATION = "val/"
_OF_LATENTS = "val/kl_per_dimension"
_STATISTICS = ("latent_shape", "mean", "var", "mean_of_var", "var_of_mean")
_OF_NOISE = ("active_units", "informative_units", "moment_kl_", "kl_standard_normal", "mean_of_var", "noise_lost_")
Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Curve:
    """A metric over the training.

    Attributes:
        images: seen, (n,).
        values: (n,), NaN where it was not finite.
    """

    images: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


class RunFiles:
    """The files of the run in `path`, each read when it is first asked for. What is missing or damaged is empty."""

    def __init__(self, path: str | Path) -> None:
        self.directory = RunDirectory(path)
        self.path = self.directory.path

    @cached_property
    def status(self) -> dict[str, Any]:
        return self.directory.read_status()

    @cached_property
    def state(self) -> str:
        """Of the run: running, done, failed, interrupted; `unknown` where nothing says so."""
        state = str(self.status.get("state") or "unknown")
        return "interrupted" if state == "running" and not self.directory.holder() else state

    @cached_property
    def config(self) -> dict[str, Any]:
        with suppress(CheckpointError):
            return self.directory.read_config()
        return {}

    @cached_property
    def data(self) -> dict[str, Any]:
        return self.directory.read_data()

    @cached_property
    def metrics(self) -> dict[str, float]:
        """The numbers of metrics.json."""
        found = read_fields(self.directory.metrics)
        return {str(name): value for name, value in found.items() if is_number(value)}

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        """evaluation.json, where it is of this model."""
        found = read_fields(self.directory.evaluation())
        return found if found.get(MODEL) in (None, self.status.get(MODEL)) else {}

    @cached_property
    def probes(self) -> dict[str, Any]:
        return read_fields(self.path / PROBES_FILE)

    @cached_property
    def groups(self) -> dict[str, Any]:
        return read_fields(self.path / GROUPS_FILE)

    @cached_property
    def advice(self) -> Sequence[Advice]:
        """What to try next."""
        return advice_of(self.directory)

    @cached_property
    def split(self) -> str:
        """The split that the final numbers are of."""
        return final_split(self.metrics)

    @cached_property
    def is_of_codes(self) -> bool:
        """Whether the posterior is a codebook's: then there is no noise, and no distance to N(0, I)."""
        return is_of_codes({**self.metrics, **self.evaluation})

    @cached_property
    def points(self) -> list[dict[str, Any]]:
        """The points of history.jsonl, in their order."""
        with suppress(OSError, ValueError):
            return [found for point in read_history(self.directory.history) if (found := _point(point))]
        return []

    @cached_property
    def curves(self) -> dict[str, Curve]:
        """Every number that was logged, over images seen; what was logged twice counts as it was logged last."""
        return curves_of(self.points)

    @cached_property
    def kl_history(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]] | None:
        """Images seen (t,) and the KL of each latent then, (t, d) in nats; of a latent map of each channel."""
        rows = {}
        for point in self.points:
            if isinstance(values := point.get(_OF_LATENTS), list):
                rows[point["images"]] = [np.nan if value is None else value for value in values]
        with suppress(ValueError, TypeError, OverflowError):
            found = np.array(list(rows.values()), dtype=np.float64)
            if found.ndim == 2 and found.size:
                return np.array(list(rows)), found
        return None

    @cached_property
    def statistics(self) -> Arrays | None:
        """posterior/statistics.safetensors, where it is of this model and whole."""
        found = self._arrays("statistics")
        return found if found is not None and set(_STATISTICS) <= set(found) else None

    @cached_property
    def latents(self) -> Images | None:
        """The images in posterior/latents.safetensors, where that is of this model."""
        if (arrays := self._arrays("latents")) is None:
            return None
        return Images.of(arrays, read_metadata(self.directory.posterior / "latents.safetensors"))

    def _arrays(self, name: str) -> Arrays | None:
        with suppress(Exception):  # what a damaged file raises is safetensors' own
            arrays, written = read_arrays(self.directory.posterior / f"{name}.safetensors")
            if None in (written, model := self.status.get(MODEL)) or written == model:
                return arrays
        return None

    def number(self, *names: str) -> float | None:
        """The first of these that the run has a finite number of, in metrics.json or evaluation.json."""
        for name in names:
            value = self.metrics.get(name, self.evaluation.get(name))
            if is_number(value):
                return float(value)
        return None


def is_of_codes(metrics: Collection[str]) -> bool:
    """Whether metrics by these names are of a run with a codebook."""
    return any(name.endswith("/codes_used") for name in metrics)


def is_of_noise(metric: str) -> bool:
    """Whether a number is of the noise of q(z|x), or of q(z) beside N(0, I): codes have neither."""
    return metric.partition("/")[2].startswith(_OF_NOISE)


def curves_of(points: Iterable[Mapping[str, Any]], names: Collection[str] = ()) -> dict[str, Curve]:
    """The curves in the points of a history: those of `names`, or all."""
    found: dict[str, dict[int, float]] = {}
    for point in points:
        if not _is_count(images := point.get("images")):
            continue
        for name in names or point:
            value = point.get(name, "")
            if name != "images" and (value is None or is_number(value)):
                found.setdefault(name, {})[images] = np.nan if value is None else float(value)
    return {name: _curve(values) for name, values in found.items()}


def validation_curves(path: Path, names: Collection[str] = ()) -> dict[str, Curve]:
    """Those of `names` of the run in `path`, or all that a validation gives; none where its history cannot be read."""
    history: list[dict[str, Any]] = []
    with suppress(OSError, ValueError):
        history = [point for point in read_history(RunDirectory(path).history, _VALIDATION) if isinstance(point, dict)]
    return {name: curve for name, curve in curves_of(history, names).items() if name.startswith(_VALIDATION)}


def _is_count(images: Any) -> TypeGuard[int]:
    return type(images) is int and 0 <= images < 2**63


def _point(point: Any) -> dict[str, Any]:
    """What a line of a history is to hold: numbers or None by name, the list of the latents. Empty without images."""
    if not isinstance(point, dict) or not _is_count(point.get("images")):
        return {}
    return {
        name: value
        for name, value in point.items()
        if value is None or is_number(value) or (name == _OF_LATENTS and isinstance(value, list))
    }


def _curve(values: Mapping[int, float]) -> Curve:
    images = sorted(values)
    return Curve(np.array(images, dtype=np.int64), np.array([values[i] for i in images]))
