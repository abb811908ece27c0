"""Known faults of a trained model: what `lehr probe` looks for, and the files that it writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from lehr import __version__
from lehr.config.probes import PROBES as NAMES
from lehr.data.module import ImageDataModule
from lehr.errors import CheckpointError, ConfigError, DataError, NonFinite
from lehr.evaluation.autoencoding import size_problem
from lehr.evaluation.pictures import save_png
from lehr.evaluation.probes.all import PROBES, Outcome, plain, run_probes
from lehr.evaluation.probes.probe import ProbeInputs
from lehr.evaluation.probes.table import probe_table
from lehr.evaluation.section import Table
from lehr.evaluation.subject import Subject
from lehr.files import write_json
from lehr.models.autoencoder import Autoencoder
from lehr.models.first_stage.recognise import image_channels, shapes_of
from lehr.reading import read_json
from lehr.run.contents import PROBES_FILE, PROBES_FOLDER
from lehr.run.evaluate import progress, require_own, subject_of
from lehr.run.load import Run
from lehr.run.loaded import LoadedModel
from lehr.run.opened import opened, read_place
from lehr.tensors import MODEL

IMAGES = 64


@dataclass(frozen=True)
class ProbeRequest:
    """What was asked for.

    Attributes:
        probes: names, in any order; None for all.
        examples: at most so many images of the split.
        sizes: shorter sides in pixels at which latents are looked at for spots; None for half that of the images, that
            and twice it, where the model takes images of any size.
        split: "test" or "val"; None for test where there is one.
        seed: of all noise.
        out: the folder of the files; None for the directory of the run.
        other: another autoencoder, whose latents are compared with these.
    """

    probes: tuple[str, ...] | None = None
    examples: int = IMAGES
    sizes: tuple[int, ...] | None = None
    split: str | None = None
    seed: int = 0
    out: Path | None = None
    other: LoadedModel | None = None


@dataclass(frozen=True)
class ProbeReport:
    """What was found.

    Attributes:
        outcomes: of each probe what it has found, or why it does not apply.
        table: `probe/NAME/VALUE` and what it is of, as in probes.json, where what other probes have found stays.
        path: of probes.json; the pictures are in `probes/` beside it.
    """

    outcomes: dict[str, Outcome]
    table: Table
    path: Path

    @property
    def faults(self) -> list[str]:
        """The names of the probes that have found a fault."""
        return [name for name in self.outcomes if self.table.get(f"probe/{name}/fault")]

    def __repr__(self) -> str:
        about = f"  {self.table['dataset']}, {self.table['split']}: {self.table['examples']:,} images"
        return f"{about}\n\n{probe_table(self.table)}\n\n  {self.path}\n"


def probe_run(
    run: Run, request: ProbeRequest, trust: Iterable[str] = (), moved: Mapping[str, str | None] | None = None
) -> ProbeReport:
    """Look for known faults of a finished run, and write `probes.json` and `probes/NAME.png`.

    What other probes have found there stays if it is of the same model, images, sizes and seed; else it goes.

    Args:
        run, trust, moved: as of `evaluate_run`.
        request: what was asked for.

    Raises:
        CheckpointError: if the run has not finished, or files of others are in the way.
        DataError: if its data are not there.
    """
    folder = request.out or run.path
    folder.mkdir(parents=True, exist_ok=True)
    _require_own(folder)
    subject = subject_of(run, trust, moved, folder)
    return probe_subject(subject, request, folder, run.model_id)


def probe_published(place: str, data: ImageDataModule, request: ProbeRequest, folder: Path) -> ProbeReport:
    """The same of an autoencoder that somebody has published, with images of one's own, into a folder.

    Args:
        place: as of `open_autoencoder`, no run directory.
        data: not read yet.
        request: what was asked for.
        folder: of the files.

    Raises:
        CheckpointError: in a line, if there is no autoencoder.
        DataError: if there are no images, or of other channels.
    """
    published = read_place(place)
    folder.mkdir(parents=True, exist_ok=True)
    _require_own(folder)
    data.prepare_data()
    data.setup()
    channels = image_channels(shapes_of(published.weights))
    if data.shape[0] != channels:
        raise DataError(f"{data.name}: has images of {data.shape[0]} channels, {place} is of {channels}")
    loaded = opened(published, data.shape)
    if torch.cuda.is_available():
        loaded.to("cuda")
    subject = Subject(loaded.model, loaded.likelihood, loaded.prior, None, data, loaded.device)
    return probe_subject(subject, request, folder, loaded.model_id)


def probe_subject(subject: Subject, request: ProbeRequest, folder: Path, model: str | None) -> ProbeReport:
    """The same of a model with this id and its data, into a folder."""
    split = request.split or subject.data.held_out
    images = tuple(batch.images.cpu() for batch in subject.batches(split, request.examples))
    sizes = _sizes(subject.model, images[0].shape[1:], request.sizes)
    inputs = ProbeInputs(
        subject.model, subject.likelihood, images, subject.device, sizes, request.seed, progress, request.other
    )
    with torch.no_grad():
        wrong = sum(int((~y.isfinite()).flatten(1).any(1).sum()) for y in inputs.reconstructions)
    if wrong:
        raise NonFinite(f"{subject.data.name}: {wrong:,} of {len(inputs):,} reconstructions have pixels that are NaN")
    chosen = [probe for probe in PROBES if probe.name in (request.probes or NAMES)]
    outcomes = run_probes(inputs, chosen)
    head: Table = {"lehr": __version__, MODEL: model, "seed": request.seed, "split": split}
    head |= {"dataset": str(subject.data.name), "examples": len(inputs), "sizes": list(sizes)}
    found = {f"probe/{name}": value for name, value in plain(outcomes).items()}
    kept = _found_before(folder / PROBES_FILE, head, outcomes)
    # before its pictures, which without it would be somebody else's
    write_json(folder / PROBES_FILE, head | dict(sorted((kept | found).items(), key=_order)))
    for name in NAMES:
        picture, outcome = folder / PROBES_FOLDER / f"{name}.png", outcomes.get(name, "")
        if not isinstance(outcome, str) and outcome.picture is not None:
            save_png(picture, outcome.picture, model, outcome.sentence)
        elif name in outcomes or not any(key.startswith(f"probe/{name}/") for key in kept):
            picture.unlink(missing_ok=True)  # of another model, or of other images
    return ProbeReport(outcomes, head | found, folder / PROBES_FILE)


def _require_own(folder: Path) -> None:
    """Check that what lies in the place of `probes.json` and its pictures is lehr's.

    Raises:
        CheckpointError: if somebody else has put it there.
    """
    require_own(folder / PROBES_FILE)
    if (folder / PROBES_FILE).exists():
        return
    for name in NAMES:
        if (picture := folder / PROBES_FOLDER / f"{name}.png").exists():
            raise CheckpointError(f"{picture}: was not written by lehr; move it away")


def _found_before(path: Path, head: Table, now: Mapping[str, Outcome]) -> Table:
    """What other probes than those of `now` have found of the same model, on the same images."""
    try:
        before = read_json(path)
    except (OSError, ValueError):
        return {}
    if head[MODEL] is None or {key: before.get(key) for key in head} != head:
        return {}
    kept = [f"probe/{name}/" for name in NAMES if name not in now]
    return {key: value for key, value in before.items() if key.startswith(tuple(kept))}


def _order(item: tuple[str, object]) -> int:
    """Probes as they are listed; of each its values as they were."""
    return list(NAMES).index(item[0].split("/")[1])


def _sizes(model: Autoencoder, shape: Sequence[int], asked: Sequence[int] | None) -> tuple[int, ...]:
    """Shorter sides of images that are looked at besides those of the images themselves, (c, h, w).

    Raises:
        ConfigError: a line for each that was asked for and the model does not take.
    """
    channels, *sides = shape
    least = min(sides)

    def problem(size: int) -> str | None:
        height, width = (round(side * size / least) for side in sides)
        return size_problem(model, (channels, height, width))

    if len(model.latent_shape) != 3:
        return tuple(asked or ())
    if asked is None:
        found = (least // 2, least, 2 * least) if model.any_size else ()
        return tuple(size for size in found if problem(size) is None)
    if problems := [f"sizes: {size}: {why}" for size in asked if (why := problem(size))]:
        raise ConfigError(*problems)
    return tuple(asked)
