"""`lehr.probe`: known faults of a trained model, from Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lehr.config.problems import section_problems
from lehr.config.schema import ProbeConfig
from lehr.config.words import plain_number
from lehr.errors import ConfigError
from lehr.startup import quick_imports

if TYPE_CHECKING:
    from lehr.run.load import Run
    from lehr.run.probe import ProbeReport


def probe(
    run: str | Path | Run,
    *,
    probes: Sequence[str] | None = None,
    examples: int | None = None,
    sizes: Sequence[int] | None = None,
    split: str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    trust: Iterable[str] = (),
    moved: Mapping[str, str | None] | None = None,
) -> ProbeReport:
    """Look for known faults of a finished run as `lehr probe` does, and write what is found beside it.

        found = lehr.probe("outputs/run", probes=["colour", "border"])
        found.faults, found.outcomes["colour"].values; print(found)

    Args:
        run: a run, or its directory.
        probes: their names; None for all.
        examples: at most so many images of the split; None for 64.
        sizes: shorter sides in pixels at which latents are looked at for spots; None for half that of the images, that
            and twice it.
        split: "test" or "val"; None for test where there is one.
        seed: of all noise.
        out: the folder of `probes.json` and `probes/`; None for the run directory.
        trust: packages of your own whose classes the run uses.
        moved: where its data lie now, if not where they did: "path", "test_path", "root".

    Raises:
        ConfigError: a line for each value that is not allowed.
        CheckpointError: if it is no finished run.
        DataError: if its data are not there.
    """
    values = {"examples": plain_number(examples), "split": split, "seed": plain_number(seed)}
    lists = {"probes": None if probes is None else list(probes), "sizes": None if sizes is None else list(sizes)}
    others = {"run": ".", "out": None if out is None else str(out), "debug": False, "trust": list(trust)}
    if problems := section_problems(ProbeConfig, {**values, **lists, **others}):
        raise ConfigError(*problems)
    with quick_imports():
        from lehr.modes import undisturbed
        from lehr.run.load import Run, load
        from lehr.run.probe import IMAGES, ProbeRequest, probe_run
    request = ProbeRequest(
        None if probes is None else tuple(probes),
        examples or IMAGES,
        None if sizes is None else tuple(sizes),
        split,
        seed,
        None if out is None else Path(out),
    )
    loaded = run if isinstance(run, Run) else load(run, trust)
    with undisturbed():
        return probe_run(loaded, request, loaded.trust, moved or loaded.moved)
