"""data.json: what a run was trained and tested on, by which its data are known again.

A digest of every split, the names of its files, what was not read and why, and which images are equal byte for byte.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from lehr.config.given import NOTHING, Given
from lehr.data.fingerprint import Fingerprint
from lehr.data.module import ImageDataModule
from lehr.data.splits import IN_WORDS
from lehr.data.walk import in_words
from lehr.errors import ConfigError, DataError
from lehr.files import write_json
from lehr.run.directory import RunDirectory
from lehr.run.objects import build_data, data_problems
from lehr.run.status import MEASURED_BY


def write_data(directory: RunDirectory, data: ImageDataModule) -> None:
    """Write data.json. A run that goes on does not look into every file again: what it found there stays said."""
    described, before = data.described(), directory.read_data().get("left_out")
    if isinstance(before, dict):
        described["left_out"] = {**before, **described["left_out"]}
    write_json(directory.data, described)


def require_same_data(directory: RunDirectory, data: ImageDataModule, saved: Any = None, advice: str = "") -> None:
    """Check that `data` are those of the run in `directory`. Of a run that an earlier version made nothing is known.

    Args:
        directory: of the run.
        data: read and split.
        saved: the fingerprint in a checkpoint of the run, if it is that which counts.
        advice: what would be right.

    Raises:
        DataError: says which split differs, and how.
    """
    recorded = Fingerprint.read(directory.read_data().get("splits"))
    before = Fingerprint.read(saved) or recorded
    if before is None:
        return
    if recorded and recorded.difference(before) is None:
        before = recorded  # it has the names of files too
    if difference := before.difference(data.fingerprint, labels=saved is None):
        raise DataError(f"{data.name}: not the data that the run was trained on: {difference}{advice}")


def data_of(
    directory: RunDirectory,
    config: Mapping[str, Any],
    trust: Iterable[str],
    moved: Mapping[str, str | None],
    given: Given = NOTHING,
) -> ImageDataModule:
    """The data of a finished run, read, and known to be the same.

    Args:
        directory: of the run.
        config: of the run.
        trust: packages of the user's own whose classes the data need.
        moved: `path`, `test_path`, `root`: where they lie now, if not where they did.
        given: the data, where the configuration says that they were given.

    Raises:
        ConfigError: if there is no such key.
        DataError: if they are not there, or are others.
    """
    if not config["data"]:
        raise DataError(f"{directory.path}: was imported without images; {MEASURED_BY}")
    if problems := data_problems(config, given, directory.path):
        raise DataError(*problems)
    moved = {key: place for key, place in moved.items() if place is not None}
    if unknown := [key for key in moved if key not in config["data"]]:
        raise ConfigError(*(f"data.{key}: {config['data']['_target_']} of this run has no such key" for key in unknown))
    data = build_data({**config, "data": {**config["data"], **moved}}, trust, given)
    data.prepare_data()
    data.setup()
    where = " or ".join(f"data.{key}=PLACE" for key in ("path", "root") if key in config["data"])
    require_same_data(directory, data, advice=f"; where they lie now, say {where}" if where else "")
    return data


def tell_of_data(data: ImageDataModule) -> None:
    """Say in a line each what was skipped, what was left out, and how many examples of one split are in another too."""
    if data.skipped:
        n = len(data.skipped)
        print(f"note: {n:,} damaged file{'s are' if n > 1 else ' is'} skipped; data.json lists them", file=sys.stderr)
    if left_out := in_words({reason: len(names) for reason, names in data.left_out.items()}):
        print(f"note: left out: {left_out}; data.json lists them", file=sys.stderr)
    across = []
    for key, count in data.equal_examples.items():
        one, _, other = key.partition(" ")
        if other:
            n = len(data.images(other))
            across.append(f"{count:,} of {n:,} {IN_WORDS[other]} images are in the {IN_WORDS[one]} set too")
    if across:
        print(f"note: byte for byte, {', '.join(across)}", file=sys.stderr)
