"""`lehr.export`: a run for diffusers, latent diffusion, ONNX Runtime or torch, from Python and for the command."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lehr.config.exchange import ExportConfig
from lehr.config.problems import section_problems
from lehr.errors import ConfigError, LehrError
from lehr.paths import expanded
from lehr.startup import quick_imports

if TYPE_CHECKING:
    from lehr.run.load import Run


def export(
    run: str | Path | Run,
    out: str | Path,
    format: str = "diffusers",
    *,
    weights: str | None = None,
    overwrite: bool = False,
    trust: Iterable[str] = (),
    moved: Mapping[str, str | None] | None = None,
) -> Path:
    """Write a finished run as other programs read it, with a model card, as `lehr export` does.

    Args:
        run: a run directory, or a `Run`.
        out: the folder that is made; a file of all weights is in it under the folder's name.
        format: "diffusers", "single_file" (latent diffusion's layout), "onnx" or "torch_export".
        weights: "best", "last" or "ema" of a checkpoint, whose q(z) is measured anew; None for those of the run, or
            that a `Run` was loaded with.
        overwrite: replace an earlier export.
        trust: packages of your own whose classes the run uses.
        moved: where its data lie now, if q(z) is to be measured.

    Returns:
        The folder.

    Raises:
        ConfigError: for a value that is not allowed, or a model that cannot be written so.
        CheckpointError: if there is no such run or checkpoint.
    """
    with quick_imports():
        from lehr.run.export.export import export_run, require_free
        from lehr.run.load import Run, load
    try:
        if not isinstance(out, str | os.PathLike):
            raise ConfigError(f"out={out}: must be a path")
        if not isinstance(run, Run | str | os.PathLike):
            raise ConfigError(f"run: got {type(run).__name__}, expected a run, or the path of one")
        place = run.path if isinstance(run, Run) else run
        said = {"run": os.fspath(place), "out": os.fspath(out), "format": format, "weights": weights}
        if problems := section_problems(ExportConfig, {**said, "overwrite": overwrite, "debug": False, "trust": []}):
            raise ConfigError(*problems)
        folder = expanded(out)
        require_free(folder, overwrite)
        if not isinstance(run, Run):
            run = load(expanded(run), trust, weights, moved)
        elif weights not in (None, run.weights):
            run = load(run.path, run.trust, weights, moved or run.moved, given=run.given)
        return export_run(run, format, folder, overwrite)
    except LehrError as error:
        raise error from None
