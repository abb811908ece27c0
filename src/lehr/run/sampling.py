"""Pictures from a finished run: samples, and the way from one encoded image to another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from lehr.config.samplers import sampler_of
from lehr.errors import ConfigError, DataError
from lehr.evaluation.pictures import image_grid, save_gif, save_npy, save_png
from lehr.posterior.interpolation import interpolate
from lehr.run.data_record import data_of
from lehr.run.directory import RunDirectory
from lehr.run.load import Run


def draw(
    run: Run,
    method: str = "aggregate",
    n: int = 64,
    seed: int = 0,
    covariance: str = "diag",
    ends: tuple[int, int] = (0, 1),
    steps: int = 10,
    out: Path | None = None,
    trust: Iterable[str] = (),
    moved: Mapping[str, str | None] | None = None,
) -> list[Path]:
    """Draw images by a sampler's name, or with method "interpolate" between two test images; the files written.

    Args:
        run: the finished run.
        method: see `Run.sample_latents`; or "interpolate".
        n: how many.
        seed: of the noise.
        covariance: of the aggregate posterior, "diag" or "full".
        ends: which test images to interpolate between, in how many `steps`.
        steps: see `ends`.
        out: a .png or .npy file; None for one in the run's `samples/`, named by what is drawn.
        trust: packages of the user's own whose classes the data need.
        moved: where the data lie now, see `data_of`.

    Raises:
        ConfigError: if the method is not there, or the file cannot be written.
        DataError: if there is no such test image, or the data are not those of the run.
    """
    folder = RunDirectory(run.path).samples
    if method == "interpolate":
        start, end = ends
        out = out or folder / f"interpolate-{start}-{end}.png"
        return draw_interpolation(run, start, end, steps, out, trust, moved)
    out = out or folder / f"{sampler_of(method, covariance)}-seed{seed}.png"
    return draw_samples(run, n, method, seed, covariance, out)


def draw_samples(run: Run, n: int, method: str, seed: int, covariance: str, out: Path) -> list[Path]:
    """Write `n` samples as a grid (.png) or as pixel values (n, c, h, w) (.npy); the files written."""
    return [_write(run.sample(n, method, seed, covariance), out, run.model_id)]


def draw_interpolation(
    run: Run,
    start: int,
    end: int,
    steps: int,
    out: Path,
    trust: Iterable[str] = (),
    moved: Mapping[str, str | None] | None = None,
) -> list[Path]:
    """Write z = (1 - a) z1 + a z2 between two encoded test images, as a strip and an animation; the files written."""
    images = interpolation(run, start, end, steps, trust, moved)
    written = [_write(images, out, run.model_id, columns=steps)]
    if out.suffix.lower() == ".png":
        save_gif(out.with_suffix(".gif"), images, model=run.model_id)
        written.append(out.with_suffix(".gif"))
    return written


def interpolation(
    run: Run,
    start: int,
    end: int,
    steps: int,
    trust: Iterable[str] = (),
    moved: Mapping[str, str | None] | None = None,
) -> Tensor:
    """The images (steps, c, h, w) of z = (1 - a) z1 + a z2 between two encoded test images, see `held_out_images`."""
    z1, z2 = run.encode(held_out_images(run, [start, end], trust, moved)).mean
    return run.decode(interpolate(z1, z2, steps))


def held_out_images(
    run: Run, indices: list[int], trust: Iterable[str] = (), moved: Mapping[str, str | None] | None = None
) -> Tensor:
    """Images (n, c, h, w) of the test split (of the validation split where there is none), as evaluation sees them.

    Raises:
        DataError: if an index is not there, or the data are not those of the run.
    """
    data = data_of(RunDirectory(run.path), run.config, trust, moved or {}, run.given)
    split, n = data.held_out, data.n_test or data.n_val
    for index in indices:
        if not 0 <= index < n:
            raise DataError(f"{data.name}: there is no {split} image {index}, they are 0 to {n - 1}")
    found: dict[int, Tensor] = {}
    for batch in data.evaluation_loader(split, "cpu"):
        for index in indices:
            if batch.start <= index < batch.start + len(batch):
                found[index] = batch.images[index - batch.start]
        if len(found) == len(set(indices)):
            break
    return torch.stack([found[index] for index in indices])


def _write(images: Tensor, out: Path, model: str | None, columns: int | None = None) -> Path:
    try:
        if out.suffix.lower() == ".npy":
            save_npy(out, images)
        else:
            save_png(out, image_grid(images, columns), model)
    except OSError as error:
        raise ConfigError(f"out={out}: cannot be written ({error.strerror})") from error
    return out
