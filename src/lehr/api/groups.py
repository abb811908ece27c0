"""`lehr.groups`: bias by group of a trained model, from Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lehr.config.problems import section_problems
from lehr.config.schema import GroupsConfig
from lehr.config.words import plain_number
from lehr.errors import ConfigError
from lehr.startup import quick_imports

if TYPE_CHECKING:
    from lehr.run.groups import GroupsFound
    from lehr.run.load import Run


def groups(
    run: str | Path | Run,
    by: str | Path | None = None,
    *,
    column: str | int | None = None,
    against: str | Path | None = None,
    split: str | None = None,
    examples: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    trust: Iterable[str] = (),
    moved: Mapping[str, str | None] | None = None,
) -> GroupsFound:
    """Compare groups of images by how well a finished run reconstructs them, as `lehr groups` does.

        found = lehr.groups("outputs/run", by="skin.csv", column="tone")
        found.reports[0].groups[0].gaps["psnr"].interval; print(found)

    Args:
        run: a run, or its directory.
        by: "label", "factor", "folder", or a CSV file with the name of an image and its group in each line; None for
            labels, or all factors where labels are these.
        column: of the file; or which factor.
        against: another autoencoder, a run directory or published weights, for what each group loses or gains.
        split: "train", "val" or "test"; None for test where there is one.
        examples: at most so many images of the split; None for all.
        seed: of the bootstrap.
        out: the folder of `groups.json` and `groups.png`; None for the run directory.
        trust: packages of your own whose classes the run uses.
        moved: where its data lie now, if not where they did: "path", "test_path", "root".

    Raises:
        ConfigError: a line for each value that is not allowed.
        CheckpointError: if it is no finished run.
        DataError: if its data are not there, or have no such groups.
    """
    texts = {"by": by, "column": column, "against": against, "out": out}
    values = {name: None if value is None else str(value) for name, value in texts.items()}
    numbers = {"split": split, "examples": plain_number(examples), "seed": plain_number(seed)}
    others = {"run": ".", "debug": False, "trust": list(trust)}
    if problems := section_problems(GroupsConfig, {**values, **numbers, **others}):
        raise ConfigError(*problems)
    with quick_imports():
        from lehr.modes import undisturbed
        from lehr.run.groups import GroupRequest, groups_of_run
        from lehr.run.load import Run, load
    request = GroupRequest(
        values["by"], values["column"], values["against"], split, examples, seed, None if out is None else Path(out)
    )
    loaded = run if isinstance(run, Run) else load(run, trust)
    with undisturbed():
        return groups_of_run(loaded, request, loaded.trust, moved or loaded.moved)
