"""Searches over fake runs: started, trained in no time, and what their study then holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from lehr.files import write_json
from lehr.sweeps.point import Point
from lehr.sweeps.search import Search
from lehr.sweeps.space import space
from lehr.sweeps.study import JOURNAL, Settings

optuna = pytest.importorskip("optuna")

CONF = Path(__file__).parents[2] / "conf" / "hydra" / "sweeper" / "optuna.yaml"
DEFAULTS = yaml.safe_load(CONF.read_text())
WEIGHT = {"weight": "interval(0.1,4)"}


def settings(**values: Any) -> Settings:
    return Settings.model_validate({**DEFAULTS, **values})


def values_of(typed: Mapping[str, str]) -> dict[str, Any]:
    return {key: yaml.safe_load(text) for key, text in typed.items()}


def compose(typed: Mapping[str, str]) -> Point:
    return Point({**values_of(typed), "evaluate": "none"}, values_of(typed))


def start(
    folder: Path, typed: Mapping[str, str], compose_point: Callable[..., Point] = compose, **values: Any
) -> Search:
    def prepare(point: Point) -> Path:
        point.write(folder / point.name)
        return folder / point.name

    return Search(folder, settings(**values), space(typed), compose_point, prepare)


def end(run_dir: Path, state: str = "done", **metrics: float | None) -> None:
    """Make a run directory that of a run that has ended."""
    if metrics:
        named = {name.replace("__", "/"): value for name, value in metrics.items()}
        (run_dir / "metrics.json").write_text(json.dumps(named))
    write_json(run_dir / "status.json", {"state": state})


def quality(swept: Mapping[str, Any]) -> float:
    """Best, 0, at a weight of 1 and 3 latents."""
    return -((swept["weight"] - 1) ** 2) - 0.1 * (swept.get("dim", 3) - 3) ** 2


def train(search: Search, how_many: int | None = None) -> list[dict[str, Any]]:
    """Pretend to train what the search hands out, one at a time; the values that were."""
    trained = []
    for run_dir in islice(search.jobs(), how_many):
        assert run_dir is not None
        trained.append(Point.read(run_dir).swept)
        end(run_dir, val__elbo=quality(trained[-1]))
        search.finished(run_dir)
    return trained


def trials(folder: Path) -> list[Any]:
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL)))
    return optuna.load_study(study_name="search", storage=storage).trials


def states(folder: Path) -> list[str]:
    return [trial.state.name for trial in trials(folder)]
