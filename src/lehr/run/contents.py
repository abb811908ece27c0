"""What lehr writes into a run directory, name by name. Nothing else there is taken for a run's, or removed.

A run begins only where nothing lies under these names, and says at once in status.json that the directory is a run's.
So whatever has one of them in a run directory was written by lehr, and whatever has one anywhere else was not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from lehr.config.probes import PROBES
from lehr.config.samplers import SAMPLERS
from lehr.run.logger_records import LOGGERS, logger_records

STATUS = "status.json"
SWEEP = "sweep.yaml"
"""In the directory of a sweep, which no run is written to."""
EVENTS_SUFFIX = ".lehr"
"""At the end of the name of TensorBoard's events, which other programs write into a run directory too."""
CURVES, HPARAMS = "history.csv", "hparams.csv"
"""Of logger=csv."""
WANDB = "wandb"
"""The folder of logger=wandb, in which each attempt has a folder that ends in the id of the run."""
WEIGHTS = ("best", "last", "ema")
"""Of which a run can be asked for others than those that it has ended in."""
GRIDS = ("aggregate", "prior", "interpolation", "reconstruction", "error", "traversal", "extremes")
PROBES_FILE, PROBES_FOLDER = "probes.json", "probes"
"""What `lehr probe` has found, and the pictures of it."""
GROUPS_FILE, GROUPS_PICTURE = "groups.json", "groups.png"
"""What `lehr groups` has found, and the picture of it."""
REPORT, REPORT_FORMATS = "report", ("html", "md", "png", "pdf")
"""What `lehr report` writes, of a run and of a sweep: `report.html` and so on."""
REPORT_CHARTS = "report"
"""The folder of the charts of `report.md`."""
OVER_SEEDS = "over_seeds"
"""In the directory of a sweep: TensorBoard's curves over the seeds of each combination."""
PROJECTOR_CONFIG, PROJECTOR_FOLDER = "projector_config.pbtxt", "projector"
"""What TensorBoard's projector shows of the latents: the first name is its own."""
OVERFIT = "overfit"
"""The picture of the one batch of debug=overfit."""

_SAMPLER = "|".join(map(re.escape, SAMPLERS))
_EVALUATION = re.compile(rf"evaluation(-({'|'.join(WEIGHTS)}))?(-val)?(-quick)?\.json")
_GROUPS = rf"{re.escape(GROUPS_FILE)}|{re.escape(GROUPS_PICTURE)}"
_FILES = re.compile(
    rf"config\.yaml|{re.escape(STATUS)}|metrics\.json|history\.jsonl|data\.json|{re.escape(LOGGERS)}|{_EVALUATION.pattern}"
    rf"|{re.escape(PROBES_FILE)}|{_GROUPS}|{re.escape(REPORT)}\.({'|'.join(REPORT_FORMATS)})"
    rf"|{re.escape(PROJECTOR_CONFIG)}"
)
_CSV = re.compile(rf"{re.escape(CURVES)}|{re.escape(HPARAMS)}")
_EVENTS = re.compile(r"events\.out\.tfevents\.\d+\..+\.\d+\.\d+" + re.escape(EVENTS_SUFFIX))
_EVENTS_OF_BEFORE = re.compile(rf"events\.out\.tfevents\.\d+\..+\.\d+\.\d+({re.escape(EVENTS_SUFFIX)})?")
STAGES = "stages"
"""The folder of the stages of a run before its last, each of which has a run directory in it."""
FOLDERS = {
    "checkpoints": re.compile(r"(last|best|replaced)\.ckpt"),
    "model": re.compile(r"model\.safetensors|config\.json"),
    PROBES_FOLDER: re.compile(rf"({'|'.join(PROBES)})\.png"),
    REPORT_CHARTS: re.compile(r"\w+\.(png|gif|webp)"),
    PROJECTOR_FOLDER: re.compile(r"(tensors|metadata)\.tsv|sprite\.png"),
    "profile": re.compile(r"step\.txt|trace\.json"),
    "posterior": re.compile(rf"(statistics|{_SAMPLER})\.(safetensors|json)|latents\.safetensors"),
    "samples": re.compile(
        rf"({'|'.join(GRIDS)}|{OVERFIT})\.png|({_SAMPLER})-seed-?\d+\.png|interpolate-\d+-\d+\.(png|gif)"
    ),
}
"""The folders in a run directory, and which names in them are lehr's."""
_WANDB_LINKS = re.compile(r"latest-run|debug\.log|debug-internal\.log")
_UNFINISHED = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp")  # as lehr.files names what it writes
_CLAIM = re.compile(r"\.claim-\d+")
_BEAT = re.compile(r"\.claim-\d+\.(\d+)\.tmp")
_LAST_WORDS = re.compile(r"\.rank-\d+\.tmp")


def own_files(directory: Path, marked_events: bool = True) -> Iterator[Path]:
    """The files of the run in `directory`: checkpoints first, and what says that there is a run last.

    Args:
        directory: of the run.
        marked_events: whether its events have `EVENTS_SUFFIX`; those of earlier versions have not.
    """
    for folder, names in FOLDERS.items():
        yield from _matching(directory, names, folder)
    yield from _matching(directory, _EVENTS if marked_events else _EVENTS_OF_BEFORE)
    yield from _of_loggers(directory)
    yield from sorted(_matching(directory, _FILES), key=lambda path: path.name == STATUS)


def own_folders(directory: Path) -> Iterator[Path]:
    """The folders of the run in `directory`, those in others before them; where others put files too, they stay."""
    for folder in _of_wandb(directory):
        yield from (Path(where) for where, _, _ in os.walk(folder, topdown=False))
    yield from (directory / name for name in (*FOLDERS, WANDB, STAGES))


def stage_folders(directory: Path) -> list[Path]:
    """The run directories of the stages in `directory` before the last, by name."""
    where = directory / STAGES
    if not _is_plain_folder(where):
        return []
    folders = (where / name for name in _names(where))
    return [folder for folder in folders if _is_plain_folder(folder) and (folder / STATUS).is_file()]


def event_files(directory: Path) -> list[Path]:
    """TensorBoard's events there that are lehr's."""
    return list(_matching(directory, _EVENTS))


def claim_files(directory: Path) -> Iterator[Path]:
    """What processes that were killed have left of their claims, where nobody works any more."""
    yield from _matching(directory, _CLAIM)


def _of_loggers(directory: Path) -> Iterator[Path]:
    """What loggers have written that have recorded so."""
    if "csv" in logger_records(directory):
        yield from _matching(directory, _CSV)
    folders = list(_of_wandb(directory))
    for folder in folders:
        for where, inside, names in os.walk(folder):  # which follows no links
            links = [name for name in inside if os.path.islink(os.path.join(where, name))]
            yield from (Path(where) / name for name in (*names, *links))
    for path in _matching(directory, _WANDB_LINKS, WANDB) if folders else ():
        if path.is_symlink():
            yield path


def _of_wandb(directory: Path) -> Iterator[Path]:
    """The folders of Weights & Biases that are of this run."""
    run = logger_records(directory).get(WANDB, {}).get("id")
    if isinstance(run, str) and run:
        of_it = re.compile(r"(offline-)?run-\d{8}_\d{6}-" + re.escape(run))
        yield from (path for path in _matching(directory, of_it, WANDB) if _is_plain_folder(path))


def measured_files(directory: Path) -> Iterator[Path]:
    """What was measured of the trained model in `directory`, fitted to its latents, and shown of them."""
    shown = rf"{_GROUPS}|{re.escape(PROBES_FILE)}|{re.escape(PROJECTOR_CONFIG)}"
    yield from _matching(directory, re.compile(rf"{_EVALUATION.pattern}|{shown}"))
    for folder in (PROBES_FOLDER, PROJECTOR_FOLDER):
        yield from _matching(directory, FOLDERS[folder], folder)
    fitted = re.compile(rf"({'|'.join(map(re.escape, SAMPLERS))})\.(safetensors|json)")
    yield from _matching(directory, fitted, "posterior")


def last_words(directory: Path, rank: int) -> Path:
    """Where a rank other than the first leaves why it has ended."""
    return directory / f".rank-{rank}.tmp"


def unfinished_files(directory: Path) -> Iterator[Path]:
    """The temporary files of a run whose process was killed while it wrote, or before it read what others wrote."""
    yield from _matching(directory, _LAST_WORDS)
    for folder, names in {"": _FILES, **FOLDERS}.items():
        for path in _matching(directory, _UNFINISHED, folder):
            name = _UNFINISHED.fullmatch(path.name)
            if name and (names.fullmatch(name[1]) or (not folder and _CSV.fullmatch(name[1]))):
                yield path
    for path in _matching(directory, _BEAT):
        if (beat := _BEAT.fullmatch(path.name)) and int(beat[1]) != os.getpid():
            yield path


def foreign_names(directory: Path) -> list[str]:
    """What lies where a run would write, in a directory that is no run's: files, and folders that are not empty."""
    names = _names(directory)
    files = [name for name in names if _FILES.fullmatch(name) or _EVENTS_OF_BEFORE.match(name)]
    folders = [name for name in names if name in (*FOLDERS, STAGES)]
    inside = [f"{folder}/{name}" for folder in folders for name in _names(directory / folder)[:1]]
    # a folder that cannot be looked into, a file or a link of that name
    return [*files, *inside, *(name for name in folders if not _is_plain_folder(directory / name))]


def _matching(directory: Path, names: re.Pattern[str], folder: str = "") -> Iterator[Path]:
    where = directory / folder
    if not folder or _is_plain_folder(where):
        yield from (where / name for name in _names(where) if names.fullmatch(name))


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _is_plain_folder(path: Path) -> bool:
    """Not a link to one, which would lead out of the directory."""
    return path.is_dir() and not path.is_symlink()
