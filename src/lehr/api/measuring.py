"""Autoencoders on the same images, one after the other: each is encoded and decoded once, and the worst once more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lehr.api.comparison import ImageComparison, Model
from lehr.data.module import ImageDataModule
from lehr.errors import DataError, NonFinite
from lehr.evaluation.autoencoding import Latents, Passed, decoded, pass_through, size_problem
from lehr.evaluation.catalogue import CATALOGUE
from lehr.evaluation.cost import Cost, costs, parameters
from lehr.evaluation.features import Features, feature_matrix
from lehr.evaluation.generation import NEAREST, compare_features
from lehr.evaluation.image_errors import ImageErrors, find_lpips, in_8_bits
from lehr.evaluation.image_set import ALL, ImageSet
from lehr.evaluation.inception import InceptionFeatures, missing
from lehr.evaluation.paired import WORST_BY, Worst, paired, worst_images
from lehr.evaluation.side_by_side import Row, draw
from lehr.evaluation.swap import Swap, latent_problems, swap
from lehr.run.evaluation_mode import in_own_precision
from lehr.run.load import Run
from lehr.run.loaded import LoadedModel
from lehr.run.progress_line import ProgressLine
from lehr.sweeps.compare import Comparison, short_names
from lehr.sweeps.compare import compare as compare_recorded


def measure(
    models: Sequence[LoadedModel], data: ImageDataModule, values: Mapping[str, Any], is_own: bool
) -> ImageComparison:
    """Measure models on images.

    Args:
        models: two or more; they are on a GPU afterwards, where there is one.
        data: read.
        values: of `lehr compare`.
        is_own: whether the data are those of a run, of which only what was held out is to be looked at.

    Raises:
        DataError: a line for each model that does not take such images; if there are too few.
        NonFinite: if a model gives what is no number.
    """
    names = short_names(models, [model.path for model in models])
    by_name = dict(zip(names, models, strict=True))
    split = values["split"] or (data.held_out if data.n_test or is_own else ALL)
    images = ImageSet(data, split, values["examples"])
    _require_fit(by_name, images)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    passed, rfid, notes = _pass_all(by_name, images, device, values["swap"])
    errors = {name: one.errors for name, one in passed.items()}
    worst = worst_images(errors, values["pictures"])
    rows = _rows(by_name, errors, worst, images, device)
    swapped = _swapped(by_name, passed, images, device) if values["swap"] else None
    return ImageComparison(
        models=[
            Model(
                name=name,
                place=str(model.path),
                errors=errors[name],
                latent=_in_words(passed[name].latents),
                numbers=_numbers(model, passed[name], rfid.get(name)),
                costs=_costs(model, values, device),
            )
            for name, model in by_name.items()
        ],
        images=f"{data.name}, {images.in_words}: {len(images):,} images of {_shape(images.shape)}",
        names=images.names,
        pairs=paired(errors, values["seed"]),
        worst=worst,
        picture=draw(rows),
        swap=swapped,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        notes=notes,
        recorded=_recorded(models),
    )


def _require_fit(models: Mapping[str, LoadedModel], images: ImageSet) -> None:
    """Check that all can be passed through all, before any image is decoded."""
    name, shape = images.data.name, images.shape
    problems = [
        f"{one}: {problem}; the images are those of {name}"
        for one, model in models.items()
        if (problem := size_problem(model.model, shape))
    ]
    if (n := len(images)) < 2:
        problems.append(f"{name}: {n} image{'s' * (n != 1)} to compare by, and an interval needs two")
    if problems:
        raise DataError(*problems)


def _pass_all(
    models: Mapping[str, LoadedModel], images: ImageSet, device: torch.device, keep_means: bool
) -> tuple[dict[str, Passed], dict[str, float], list[str]]:
    """What came of each model; the rFID of each, where it can be had; and what cannot be measured, a line each."""
    perceptual, no_lpips = find_lpips(images.shape, device)
    features, no_features = _features(images, device)
    passed: dict[str, Passed] = {}
    for name, model in models.items():
        model.to(device)
        with ProgressLine(name, len(images)) as line, in_own_precision(device):
            try:
                passed[name] = pass_through(
                    model.model,
                    model.likelihood,
                    images.batches(device),
                    perceptual=perceptual,
                    features=features,
                    keep_means=keep_means,
                    advance=line.advance,
                )
            except NonFinite as error:  # what a training could do about it is of no use here
                raise NonFinite(*(f"{name}: {problem.partition(';')[0]}" for problem in error.problems)) from error
    notes = [note for note in (no_lpips and f"no LPIPS: {no_lpips}", no_features) if note]
    rfid: dict[str, float] = {}
    if features is not None:
        real = feature_matrix(features, images.batches(device))
        for name, one in passed.items():
            assert one.features is not None
            found = compare_features(one.features, real)
            rfid[name] = found.frechet
        notes += [f"rFID: {found.note}"] if found.note else []
    return passed, rfid, notes


def _features(images: ImageSet, device: torch.device) -> tuple[Features | None, str]:
    """Inception, and why not."""
    reason = missing()
    if images.shape[0] not in (1, 3):
        reason = f"Inception sees 1 or 3 channels, and these have {images.shape[0]}"
    if len(images) <= NEAREST:
        reason = f"{len(images)} images are too few"
    return (None, f"no rFID: {reason}") if reason else (InceptionFeatures(device=device), "")


def _numbers(model: LoadedModel, passed: Passed, rfid: float | None) -> dict[str, float]:
    """In the order of the catalogue."""
    weights = parameters(model.model)
    found: dict[str, float] = {**passed.errors.means(), **passed.latents.numbers(), "parameters": weights["all"]}
    found |= {f"parameters_{part}": weights[part] for part in ("encoder", "decoder") if weights[part]}
    if rfid is not None:
        found["rfid"] = rfid
    names = (metric.name.removeprefix("compare/") for metric in CATALOGUE)
    return {name: found[name] for name in names if name in found}


def _costs(model: LoadedModel, values: Mapping[str, Any], device: torch.device) -> list[Cost]:
    """Of the sizes and precisions that were asked for; where one was not, at the model's own size, or in float32."""
    if not values["sizes"] and not values["precisions"]:
        return []
    sizes = values["sizes"] or [max(model.model.image_shape[1:])]
    return costs(model.model, sizes, values["precisions"] or ["32-true"], device)


def _in_words(latents: Latents) -> str:
    shape = _shape(latents.shape)
    return f"{_shape(latents.shape[1:]) or 1} of {latents.codes} codes" if latents.codes else shape


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


@torch.inference_mode()
def _rows(
    models: Mapping[str, LoadedModel],
    errors: Mapping[str, ImageErrors],
    worst: Sequence[Worst],
    images: ImageSet,
    device: torch.device,
) -> list[Row]:
    """The rows of the picture, from the top."""
    found = images.rows([one.row for one in worst], device)
    shown: dict[str, Tensor] = {}
    for name, model in models.items():
        with in_own_precision(device):
            parts = [
                decoded(model.model, model.likelihood, model.model.encode(part).mean, images.shape[1:])
                for part in found.split(1)
            ]
        shown[name] = in_8_bits(torch.cat(parts))
    files, rows = images.names, []
    for i, one in enumerate(worst):
        why = ("behind here:", one.model) if one.model else ("bad for all",)
        captions = {name: f"{float(part.values[WORST_BY][one.row]):.1f} dB" for name, part in errors.items()}
        label = (files[one.row] if files else f"image {one.row}", *why)
        rows.append(Row(label, in_8_bits(found[i]), {name: part[i] for name, part in shown.items()}, captions))
    return rows


def _swapped(
    models: Mapping[str, LoadedModel], passed: Mapping[str, Passed], images: ImageSet, device: torch.device
) -> Swap:
    if problems := latent_problems({name: one.latents.shape for name, one in passed.items()}):
        raise DataError(*problems)
    conventions = {name: model.convention for name, model in models.items()}
    means = {name: one.means for name, one in passed.items() if one.means is not None}
    with in_own_precision(device):
        parts = {name: (model.model, model.likelihood) for name, model in models.items()}
        return swap(parts, means, partial(images.batches, device), conventions)


def _recorded(models: Sequence[LoadedModel]) -> Comparison | None:
    """In what the runs among the models differ, and their own numbers; None of fewer than two."""
    runs = [model for model in models if isinstance(model, Run)]
    return compare_recorded(*runs) if len(runs) > 1 else None
