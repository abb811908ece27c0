"""`lehr.train`: one run, from Python."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lehr.api.objects import command_of
from lehr.api.report import report_of_run
from lehr.api.start import Start, checked, resume, resumption, start, to_resume
from lehr.config.given import NOTHING, Given
from lehr.errors import Interrupted, LehrError, Stopped
from lehr.modes import undisturbed
from lehr.reading import read_json
from lehr.run.directory import RunDirectory
from lehr.run.status import RUNNING
from lehr.startup import quick_imports
from lehr.sweeps.launching import FILE_SECONDS
from lehr.training.launched import rank_from_outside

if TYPE_CHECKING:
    from lehr.run.load import Run


def train(
    words: str | Iterable[str] = (),
    *,
    data: object = None,
    labels: object = None,
    test: object = None,
    test_labels: object = None,
    model: object = None,
    config_dir: str | Path | None = None,
    **keys: Any,
) -> Run:
    """Train a VAE, or go on with a training, as `lehr train` does; the finished run.

        lehr.train(data="digits", model="mlp", **{"kl.weight": 4, "model.latent_dim": 8})
        lehr.train(["experiment=mnist", "kl.weight=4"])
        lehr.train(data=images, labels=digits, model=my_module)
        lehr.train(resume="outputs/...")

    Notes, a summary of what is trained and the progress go to standard error.

    Args:
        words: as on the command line, "group=choice" and "key=value".
        data: the name of a data set; or images, (n, h, w), (n, c, h, w) or (n, h, w, c), uint8, bool or float in
            [0, 1]; a data set of torch's, a `LightningDataModule` or an `ImageDataModule`.
        labels: of such images, classes (n,) or factors (n, f), for evaluation.
        test, test_labels: test images of their own, and their labels.
        model: the name of a model; or a `torch.nn.Module` with `encode` and `decode`, of which a copy is trained.
        config_dir: a folder of configuration files of your own, which come before the shipped ones.
        keys: groups and keys, whose values are put on top of `words`.

    Raises:
        ConfigError: with a line for each mistake, also in `problems`; nothing was begun then.
        LehrError: for what comes to light later: damaged data, a loss that is not finite.
        Stopped: (a KeyboardInterrupt) after Ctrl-C; the run can be gone on with.
    """
    since = time.perf_counter()
    objects = {"data": data, "labels": labels, "test": test, "test_labels": test_labels, "model": model}
    again = "".join(f", {name}=..." for name, value in objects.items() if not isinstance(value, str | None))
    try:
        with undisturbed():
            command = command_of(words, keys, objects, config_dir)
            directory = to_resume(command)
            begun = resume(resumption(directory, command)) if directory else start(checked(command))
            with stopping(f"lehr.train(resume={str(begun.directory.path)!r}{again})"):
                carry_out(begun, since, command.given)
            if rank_from_outside(begun.values):
                _wait_for_the_first_rank(begun.directory)
            with quick_imports():
                from lehr.run.load import load
            return load(begun.directory.path, begun.values["trust"], given=command.given)
    except LehrError as error:
        raise error from None  # what is wrong, and not where in Hydra it came to light


def carry_out(begun: Start, since: float | None = None, given: Given = NOTHING) -> dict[str, float]:
    """Train, or evaluate where only that is left to do; the final metrics.

    Args:
        begun: what.
        since: when the program started (`time.perf_counter`), for the record of how long that took.
        given: what stands in place of names, see `lehr.run.objects`.

    Raises:
        LehrError: as of `lehr.training.stages.train`.
        Interrupted: upon a signal to end, after everything was saved.
    """
    values, directory = begun.values, begun.directory
    if begun.note:
        print(f"note: {begun.note}", file=sys.stderr, flush=True)
    trust = tuple(values["trust"])
    if begun.evaluate:
        with quick_imports():
            from lehr.run.evaluate import evaluate_finished
        with directory.claimed():
            evaluate_finished(values, directory, trust, given)
        found = dict(read_json(directory.metrics))
    else:
        found = _trained(begun, trust, since, given)
    if values.get("report") is True and not rank_from_outside(values):
        report_of_run(directory)
    return found


def _trained(begun: Start, trust: tuple[str, ...], since: float | None, given: Given) -> dict[str, float]:
    with quick_imports():
        from lehr.training.extras import Extras
        from lehr.training.stages import train as train_stages
    imported = time.perf_counter() - since if since is not None else 0.0
    extras = Extras(trust, given, import_seconds=imported)
    return train_stages(begun.values, begun.directory, begun.resume, extras)


def _wait_for_the_first_rank(directory: RunDirectory) -> None:
    until = time.monotonic() + FILE_SECONDS
    while directory.state() == RUNNING and time.monotonic() < until:
        time.sleep(0.1)


@contextmanager
def stopping(again: str) -> Iterator[None]:
    """Let a signal that has ended a training in order end what called it too, once `again` is said.

    Raises:
        Stopped: after Ctrl-C.
        SystemExit: after another signal.
    """
    try:
        yield
    except Interrupted as stop:
        print(f"note: {stop}; go on with {again}", file=sys.stderr, flush=True)
        if stop.exit_code == 128 + signal.SIGINT:
            raise Stopped(f"go on with {again}") from None
        raise SystemExit(stop.exit_code) from None
