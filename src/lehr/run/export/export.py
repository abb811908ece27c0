"""`lehr export`: a run as a folder that other programs read, with a model card. Written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lehr import __version__
from lehr.config.registry import FIRST_STAGE
from lehr.errors import ConfigError
from lehr.files import write_json
from lehr.reading import read_json
from lehr.run.diffusers_folder import diffusers_config, require_pixels, write_diffusers
from lehr.run.export.card import write_card
from lehr.run.export.graphs import usage_of_onnx, usage_of_torch_export, write_onnx, write_torch_export
from lehr.run.export.single_file import write_single_file
from lehr.run.load import Run

RECORD = "lehr.json"
"""In every export: what was exported, and which files are of it, so that these alone are ever replaced."""


@dataclass(frozen=True)
class Format:
    """A way of writing an autoencoder.

    Attributes:
        write: writes the run into a folder of this name.
        usage: the Python that opens it, for such a run.
        tags: of the model card.
        first_stage: whether only first-stage models can be written so.
    """

    write: Callable[[Run, Path, str], None]
    usage: Callable[[Run, str], str]
    tags: tuple[str, ...]
    first_stage: bool = False


def export_run(run: Run, format: str, out: Path, overwrite: bool = False) -> Path:
    """Write a finished run into the folder `out`, and give it back.

    Args:
        run: with the weights that are wanted.
        format: of `FORMATS`.
        out: the folder.
        overwrite: replace an earlier export there.

    Raises:
        ConfigError: in a line, if the model cannot be written so, what writes it is not installed, or something that
            may not be replaced is at `out`.
        CheckpointError: if the run is damaged, or what was written does not compute what the model does.
    """
    chosen = FORMATS[format]
    target = run.config["model"].get("_target_")
    if chosen.first_stage and target not in FIRST_STAGE:
        of, *kinds = (str(name).rpartition(".")[2] for name in (target, *FIRST_STAGE))
        raise ConfigError(
            f"format={format}: {run.path}: there is no such layout of {of}, but of {', '.join(kinds)}; "
            "format=onnx and format=torch_export write any model"
        )
    if chosen.first_stage:
        require_pixels(run.likelihood, f"format={format}: {run.path}")
    require_free(out, overwrite)
    out = out.absolute()
    temporary = out.with_name(f".{out.name}.{os.urandom(4).hex()}.tmp")
    try:
        temporary.mkdir(parents=True)
        chosen.write(run, temporary, out.name)
        write_card(temporary, run, chosen.usage(run, out.name), chosen.tags)
        _record(temporary, run, format)
        _put(temporary, out)
    except OSError as error:
        raise ConfigError(f"out={out}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out


def _put(written: Path, out: Path) -> None:
    """Move a folder to its place, where there may be an earlier export, or an empty folder."""
    if not out.exists():
        os.replace(written, out)
    elif any(out.iterdir()) and not out.samefile(Path.cwd()):
        os.replace(out, aside := written.with_suffix(".old"))
        try:
            os.replace(written, out)
        except BaseException:
            os.replace(aside, out)
            raise
        shutil.rmtree(aside, ignore_errors=True)
    else:  # somebody has made it, and may be in it: it stays; what says that it is an export goes last, and comes first
        for name in sorted(os.listdir(out), key=lambda name: name == RECORD):
            (out / name).unlink()
        for name in sorted(os.listdir(written), key=lambda name: name != RECORD):
            os.replace(written / name, out / name)


def require_free(out: Path, overwrite: bool) -> None:
    """Check that an export may be written to `out`.

    Raises:
        ConfigError: in a line, if not.
    """
    if not os.path.lexists(out) or (out.is_dir() and not out.is_symlink() and not any(out.iterdir())):
        return
    if not overwrite:
        raise ConfigError(f"out={out}: is there; overwrite=true replaces an earlier export, or choose another name")
    if others := _not_exported(out):
        raise ConfigError(f"out={out}: holds {others}, which lehr export has not written; choose another name")


def _not_exported(out: Path) -> str | None:
    """What is at `out` besides an export, in a word; None where that is all."""
    try:
        found = read_json(out / RECORD)
        files = {*found["files"], RECORD}
        return next((name for name in sorted(os.listdir(out)) if name not in files), None)
    except (OSError, ValueError, KeyError, TypeError):
        return "something" if out.is_dir() else "a file"


def _record(folder: Path, run: Run, format: str) -> None:
    files = sorted(os.listdir(folder))
    record = {"lehr": __version__, "format": format, "model": run.model_id, "weights": run.weights, "files": files}
    write_json(folder / RECORD, record)


def _write_diffusers(run: Run, folder: Path, name: str) -> None:
    write_diffusers(folder, run.model, run.factors, run.carried)


def _use_diffusers(run: Run, name: str) -> str:
    cls = diffusers_config(run.model, None)["_class_name"]
    return f'from diffusers import {cls}\n\nvae = {cls}.from_pretrained("{name}")  # pixels from -1 to 1\n'


def _write_single_file(run: Run, folder: Path, name: str) -> None:
    write_single_file(folder / f"{name}.safetensors", run.model, run.factors, run.carried)


def _use_single_file(run: Run, name: str) -> str:
    return (
        "from safetensors.torch import load_file\n\n"
        f'weights = load_file("{name}/{name}.safetensors")  # by the names of latent diffusion, or of TAESD\n'
    )


FORMATS: dict[str, Format] = {
    "diffusers": Format(_write_diffusers, _use_diffusers, ("diffusers",), first_stage=True),
    "single_file": Format(_write_single_file, _use_single_file, (), first_stage=True),
    "onnx": Format(write_onnx, usage_of_onnx, ("onnx",)),
    "torch_export": Format(write_torch_export, usage_of_torch_export, ("pytorch",)),
}
