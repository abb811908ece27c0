"""Bias by group of a finished run: what `lehr groups` measures, and the files that it writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lehr import __version__
from lehr.config.problems import did_you_mean
from lehr.errors import CheckpointError, ConfigError, NonFinite
from lehr.evaluation.groups.grouping import FACTOR, WAYS, Column, find_groupings
from lehr.evaluation.groups.measure import measure, pairs_of, reconstruction_by
from lehr.evaluation.groups.picture import draw_groups, examples_of
from lehr.evaluation.groups.plain import plain
from lehr.evaluation.groups.report import GroupReport, compare_groups
from lehr.evaluation.groups.words import group_table, verdict
from lehr.evaluation.image_errors import ImageErrors, find_lpips
from lehr.evaluation.pictures import save_png
from lehr.evaluation.subject import Subject
from lehr.files import write_json
from lehr.paths import expanded
from lehr.run.contents import GROUPS_FILE, GROUPS_PICTURE
from lehr.run.evaluate import progress, require_own, subject_of
from lehr.run.load import Run
from lehr.run.loaded import LoadedModel
from lehr.run.opened import open_autoencoder
from lehr.tensors import MODEL


@dataclass(frozen=True)
class GroupRequest:
    """What was asked for.

    Attributes:
        by: "label", "factor", "folder", or a CSV file; None for labels, or all factors where labels are these.
        column: of the file, or the number of a factor.
        against: another autoencoder, by whose reconstructions of the same images these are compared.
        split: "train", "val" or "test"; None for test where there is one.
        examples: at most so many images of the split; None for all.
        seed: of the bootstrap.
        out: the folder of the files; None for the directory of the run.
    """

    by: str | None = None
    column: str | None = None
    against: str | None = None
    split: str | None = None
    examples: int | None = None
    seed: int = 0
    out: Path | None = None

    def table(self) -> Column | None:
        """The user's own table, read; None where groups are by what the data say themselves.

        Raises:
            ConfigError: if `by` is neither a way nor a file, or has no such column.
            DataError: if the file cannot be read.
        """
        if self.by is None or self.by in WAYS:
            if self.column is not None and self.by != FACTOR:
                raise ConfigError(f"column={self.column}: is for by=factor and for by=FILE.csv")
            return None
        path = expanded(self.by)
        if not path.is_file():
            hint = did_you_mean(self.by, WAYS)
            raise ConfigError(f"by={self.by}: is no file, and not label, factor or folder{hint}")
        return Column.read(path, self.column)


@dataclass(frozen=True)
class GroupsFound:
    """What was found.

    Attributes:
        reports: of each grouping.
        table: as in groups.json.
        path: of groups.json; groups.png lies beside it.
    """

    reports: tuple[GroupReport, ...]
    table: dict[str, Any]
    path: Path

    def __repr__(self) -> str:
        other = self.table["against"]
        about = f"  {self.table['dataset']}, {self.table['split']}: {self.table['examples']:,} images"
        parts = [about, *(group_table(report, other) for report in self.reports)]
        return "\n\n".join([*parts, f"  {self.path}\n  {self.path.with_name(GROUPS_PICTURE)}\n"])


def groups_of_run(
    run: Run, request: GroupRequest, trust: Iterable[str] = (), moved: Mapping[str, str | None] | None = None
) -> GroupsFound:
    """Compare groups of images by how well a finished run reconstructs them; write `groups.json` and `groups.png`.

    Args:
        run, trust, moved: as of `evaluate_run`.
        request: what was asked for.

    Raises:
        ConfigError: for what cannot be asked for.
        CheckpointError: if the run has not finished, or files of others are in the way.
        DataError: if its data are not there, or have no such groups.
    """
    table = request.table()
    folder = request.out or run.path
    folder.mkdir(parents=True, exist_ok=True)
    require_own(folder / GROUPS_FILE)
    if (folder / GROUPS_PICTURE).exists() and not (folder / GROUPS_FILE).exists():
        raise CheckpointError(f"{folder / GROUPS_PICTURE}: was not written by lehr; move it away")
    subject = subject_of(run, trust, moved, folder)
    other = None if request.against is None else open_autoencoder(request.against, trust).to(subject.device)
    if other is not None and other.model.image_shape[0] != subject.model.image_shape[0]:
        channels = f"{other.model.image_shape[0]} channels, this run has {subject.model.image_shape[0]}"
        raise ConfigError(f"against={request.against}: is of images with {channels}")
    if other is not None and not other.model.any_size and tuple(other.model.image_shape) != tuple(subject.data.shape):
        theirs, ours = (" x ".join(map(str, shape)) for shape in (other.model.image_shape, subject.data.shape))
        raise ConfigError(f"against={request.against}: is of images of {theirs} alone, and these are {ours}")
    return groups_of_subject(subject, request, folder, run.model_id, table, other)


def groups_of_subject(
    subject: Subject,
    request: GroupRequest,
    folder: Path,
    model: str | None,
    table: Column | None,
    other: LoadedModel | None = None,
) -> GroupsFound:
    """The same of a model with this id and its data, into a folder."""
    split = request.split or subject.data.held_out
    what = f"{subject.data.name}, {split}"
    images = subject.data.part(split, request.examples)
    groupings = find_groupings(images, subject.data.classes, request.by, request.column, table, what)
    perceptual, no_lpips = find_lpips(subject.model.image_shape, subject.device)
    reconstruct = reconstruction_by(subject.model, subject.likelihood)
    models = [reconstruct, *([] if other is None else [reconstruction_by(other.model, other.likelihood)])]
    with progress(f"reconstructing {split}", len(images)) as line:
        errors, covariates = measure(subject.batches(split, request.examples), models, perceptual, line)
    _require_finite(errors, [str(folder), request.against or ""])
    second = errors[1] if other is not None else None
    reports = [compare_groups(grouping, errors[0], covariates, second, request.seed) for grouping in groupings]
    psnr = errors[0].values["psnr"]
    chosen = [examples_of(report, grouping, psnr) for report, grouping in zip(reports, groupings, strict=True)]
    rows = {one.row for part in chosen for _, of in part for one in of}
    pairs = pairs_of(subject.batches(split, request.examples), rows, reconstruct)
    found: dict[str, Any] = {"lehr": __version__, MODEL: model, "seed": request.seed, "split": split}
    found |= {"dataset": str(subject.data.name), "examples": len(images), "against": request.against}
    found |= {"lpips": no_lpips or "VGG16, version 0.1"}
    found |= {"groupings": [plain(report, request.against) for report in reports]}
    drawn = [(report, verdict(report), part) for report, part in zip(reports, chosen, strict=True)]
    picture = draw_groups(f"{what}: {len(images):,} images", drawn, pairs)
    write_json(folder / GROUPS_FILE, found)  # before the picture, which without it would be somebody else's
    save_png(folder / GROUPS_PICTURE, picture, model)
    return GroupsFound(tuple(reports), found, folder / GROUPS_FILE)


def _require_finite(errors: list[ImageErrors], names: list[str]) -> None:
    """Check that what a model makes of images are numbers.

    Raises:
        NonFinite: if they are not.
    """
    for one, name in zip(errors, names, strict=False):
        wrong = int((~one.values["psnr"].isfinite()).sum())
        if wrong:
            raise NonFinite(f"{name}: {wrong:,} of {len(one):,} reconstructions have pixels that are NaN")
