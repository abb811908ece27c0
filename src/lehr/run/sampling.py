"""Pictures from a finished run: samples, and the way from one encoded image to another."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from lehr.config.build import build
from lehr.data.module import ImageDataModule
from lehr.errors import ConfigError, DataError
from lehr.evaluation.pictures import image_grid, save_gif, save_npy, save_png
from lehr.posterior.interpolation import interpolate
from lehr.run.load import Run


def draw_samples(run: Run, n: int, method: str, seed: int, covariance: str, out: Path) -> list[Path]:
    """Write `n` samples as a grid (.png) or as pixel values (n, c, h, w) (.npy); the files written."""
    try:
        images = run.sample(n, method, seed, covariance)
    except ValueError as error:
        raise ConfigError(f"{run.path}: {error}") from error
    return [_write(images, out)]


def draw_interpolation(run: Run, start: int, end: int, steps: int, out: Path, trust: Iterable[str] = ()) -> list[Path]:
    """Write z = (1 - a) z1 + a z2 between two encoded test images, as a strip and an animation; the files written."""
    ends = held_out_images(run, [start, end], trust)
    z1, z2 = run.encode(ends).mean
    images = run.decode(interpolate(z1, z2, steps))
    written = [_write(images, out, columns=steps)]
    if out.suffix.lower() == ".png":
        save_gif(out.with_suffix(".gif"), images)
        written.append(out.with_suffix(".gif"))
    return written


def held_out_images(run: Run, indices: list[int], trust: Iterable[str] = ()) -> Tensor:
    """Images (n, c, h, w) of the test split (of the validation split where there is none), as evaluation sees them.

    Raises:
        DataError: if an index is not there.
    """
    data = build(run.config["data"], ImageDataModule, key="data", trust=trust)
    data.prepare_data()
    data.setup()
    split, n = ("test", data.n_test) if data.n_test else ("val", data.n_val)
    for index in indices:
        if index >= n:
            raise DataError(f"{data.name}: there is no {split} image {index}, they are 0 to {n - 1}")
    found: dict[int, Tensor] = {}
    for batch in data.evaluation_loader(split, "cpu"):
        for index in indices:
            if batch.start <= index < batch.start + len(batch):
                found[index] = batch.images[index - batch.start]
        if len(found) == len(set(indices)):
            break
    return torch.stack([found[index] for index in indices])


def _write(images: Tensor, out: Path, columns: int | None = None) -> Path:
    try:
        if out.suffix.lower() == ".npy":
            save_npy(out, images)
        else:
            save_png(out, image_grid(images, columns))
    except OSError as error:
        raise ConfigError(f"out={out}: cannot be written ({error.strerror})") from error
    return out
