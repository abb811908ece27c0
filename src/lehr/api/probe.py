"""`lehr.probe`: known faults of a trained model, from Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lehr.api.describe import CONFIG, checked
from lehr.compose.composer import Command
from lehr.compose.words import words_of
from lehr.config.problems import section_problems
from lehr.config.schema import ProbeConfig
from lehr.config.words import plain_number
from lehr.errors import ConfigError
from lehr.paths import expanded
from lehr.run.directory import RunDirectory
from lehr.startup import quick_imports

if TYPE_CHECKING:
    from lehr.run.load import Run
    from lehr.run.loaded import LoadedModel
    from lehr.run.probe import ProbeReport, ProbeRequest


def probe(
    run: str | Path | Run,
    words: str | Iterable[str] = (),
    *,
    other: str | Path | LoadedModel | None = None,
    probes: Sequence[str] | None = None,
    examples: int | None = None,
    sizes: Sequence[int] | None = None,
    split: str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    trust: Iterable[str] = (),
    moved: Mapping[str, str | None] | None = None,
    config_dir: str | Path | None = None,
) -> ProbeReport:
    """Look for known faults of a finished run as `lehr probe` does, and write what is found beside it.

        found = lehr.probe("outputs/run", probes=["colour", "border"])
        found.faults, found.outcomes["colour"].values; print(found)
        lehr.probe("vae", ["data=images", "data.path=photos", "data.size=256"], out="found")

    Args:
        run: a run, or its directory; or an autoencoder that somebody has published, as `model.pretrained` takes it.
        words: of a published one, the images: as `lehr data` takes them.
        other: another autoencoder, whose latents are compared with these: a run, its directory, or published weights as
            `model.pretrained` takes them.
        probes: their names; None for all.
        examples: at most so many images of the split; None for 64.
        sizes: shorter sides in pixels at which latents are looked at for spots; None for half that of the images, that
            and twice it.
        split: "test" or "val"; None for test where there is one.
        seed: of all noise.
        out: the folder of `probes.json` and `probes/`; None for the run directory.
        trust: packages of your own whose classes the run uses.
        moved: where its data lie now, if not where they did: "path", "test_path", "root".
        config_dir: a folder of configuration files of your own, for `words`.

    Raises:
        ConfigError: a line for each value that is not allowed.
        CheckpointError: if it is no finished run.
        DataError: if its data are not there.
    """
    request = _request(probes, examples, sizes, split, seed, out)
    with quick_imports():
        from lehr.modes import undisturbed
        from lehr.run.load import Run, load
        from lehr.run.opened import open_autoencoder
        from lehr.run.probe import probe_run
    if other is not None:
        found = open_autoencoder(other, trust) if isinstance(other, str | Path) else other
        request = replace(request, other=found)
    if not isinstance(run, Run) and not is_run(run):
        return _of_published(str(run), words, request, trust, config_dir)
    if tuple(words):
        raise ConfigError(f"{run}: is a run, which has its own data; where they lie now is said as moved={{...}}")
    loaded = run if isinstance(run, Run) else load(run, trust)
    with undisturbed():
        return probe_run(loaded, request, loaded.trust, moved or loaded.moved)


def _request(
    probes: Sequence[str] | None,
    examples: int | None,
    sizes: Sequence[int] | None,
    split: str | None,
    seed: int,
    out: str | Path | None,
) -> ProbeRequest:
    """What was asked for, checked as the command does it."""
    values = {"examples": plain_number(examples), "split": split, "seed": plain_number(seed)}
    lists = {"probes": None if probes is None else list(probes), "sizes": None if sizes is None else list(sizes)}
    others: dict[str, Any] = {"run": ".", "other": None, "out": None if out is None else str(out), "debug": False}
    others["trust"] = []
    if problems := section_problems(ProbeConfig, {**values, **lists, **others}):
        raise ConfigError(*problems)
    with quick_imports():
        from lehr.run.probe import IMAGES, ProbeRequest
    return ProbeRequest(
        None if probes is None else tuple(probes),
        examples or IMAGES,
        None if sizes is None else tuple(sizes),
        split,
        seed,
        None if out is None else Path(out),
    )


def is_run(place: str | Path) -> bool:
    """Whether a run directory is there."""
    try:
        return RunDirectory(expanded(place)).config.is_file()
    except (OSError, ValueError):
        return False


def _of_published(
    place: str, words: str | Iterable[str], request: ProbeRequest, trust: Iterable[str], config_dir: str | Path | None
) -> ProbeReport:
    said = words_of(words, {})
    if not said or request.out is None:
        raise ConfigError(
            f"run={place}: is no run directory; of an autoencoder that somebody has published say also which images, "
            "data=images data.path=FOLDER, and where to write, out=FOLDER"
        )
    values = checked(Command(CONFIG, Path(config_dir) if config_dir else None, said))
    with quick_imports():
        from lehr.modes import undisturbed
        from lehr.run.objects import build_data
        from lehr.run.probe import probe_published
    with undisturbed():
        return probe_published(place, build_data(values, trust), request, request.out)
