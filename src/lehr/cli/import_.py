"""`lehr import`: a published autoencoder as a run directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lehr.api.importing import CONFIG, carry_out, checked
from lehr.cli.ending import report, told
from lehr.cli.help import import_help
from lehr.cli.opening import typed
from lehr.compose.composer import Command, at_home
from lehr.config.command import choice_of
from lehr.errors import ConfigError, wants_traceback
from lehr.run.status import MEASURED_BY

if TYPE_CHECKING:
    from lehr.run.load import Run

_SHOWN = ("test/psnr", "val/psnr", "test/rate", "posterior/active_units")


def main(argv: list[str]) -> int:
    """Make the run and say what it is; the exit code."""
    said = typed("import", argv, import_help, CONFIG, "one autoencoder at a time", _is_place)
    if isinstance(said, int):
        return said
    places = said.places
    problems = [f"{place}: is one place too many, after {places[0]}; other words are key=value" for place in places[1:]]
    problems += [] if places else ["say what: lehr import PLACE dir=DIR, a folder, a file or a name on the hub"]
    try:
        place = at_home("", places[0]) if places else ""
        config = checked(Command(said.config, said.config_dir, said.words))
    except ConfigError as error:
        return report([*problems, *error.problems], "import")
    if problems:
        return report(problems, "import")
    try:
        run = carry_out(place, config)
        print(summary(run))
    except Exception as error:
        return told(error, "import", wants_traceback(config["debug"]))
    return 0


def _is_place(word: str) -> bool:
    """Whether a word is neither a key and its value nor, as Hydra has it, one that removes a key."""
    return word.startswith("~/") or (not word.startswith("~") and ("=" not in word or os.path.exists(word)))


def summary(run: Run) -> str:
    """What was made."""
    from lehr.run.evaluation import named, shown

    model, name = run.model, choice_of("model", run.config["model"])
    kind = type(model).__name__ + (f" (model={name})" if name else "")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    sizes = [" x ".join(map(str, shape)) for shape in (model.image_shape, model.latent_shape)]
    lines = [f"  {kind}, {parameters:,} parameters, images of {sizes[0]} to {sizes[1]}"]
    if factors := run.factors:
        source = "as published" if run.said else "measured"
        lines.append(
            f"  scaling_factor {factors.scaling_factor:.5g}, shift_factor {factors.shift_factor:.5g}, {source}"
        )
    lines += [
        f"  {named(key)[0]} {shown(key, run.metrics[key])} {named(key)[1]}".rstrip()
        for key in _SHOWN
        if key in run.metrics
    ]
    if not run.config["data"]:
        lines.append(f"  no images were named: {MEASURED_BY}")
    return "\n".join(["", *lines, "", f"  {run.path}", ""])
