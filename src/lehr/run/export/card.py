"""README.md of an exported autoencoder: what it is, how it is used, what it was trained on, how good it is.

A model card as the Hugging Face hub has it. Licences are for whoever publishes it to say.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from lehr import __version__
from lehr.config.command import train_command
from lehr.posterior.aggregate import AggregatePosterior
from lehr.run.contents import GRIDS
from lehr.run.diffusers_folder import UPCAST
from lehr.run.directory import RunDirectory
from lehr.run.evaluation import named, shown
from lehr.run.load import Run
from lehr.run.page import CAPTIONS, data_note, exported_note
from lehr.run.status import IMPORTED

NAME = "README.md"
_PATHS = ("path", "test_path", "root", "dir", "folder", "start_from", "resume", "pretrained", "run", "weights")
"""Keys of a configuration whose values may say where on somebody's disk a file lies: of these the last name is kept."""


def write_card(folder: Path, run: Run, usage: str, tags: Iterable[str]) -> None:
    """Write README.md into `folder`, and the pictures that it shows.

    Args:
        folder: of the export.
        run: that is exported.
        usage: Python that opens the files of the folder.
        tags: for the hub, the format among them.
    """
    pictures = [] if run.weights else list(_copied(RunDirectory(run.path), folder))
    parts = [_front(tags), f"# {run.path.name}", _what(run), "## Use", f"```python\n{usage}```"]
    parts += [_factors(run), *_data(run), *_recipe(run), *_numbers(run), *_statistics(run)]
    parts += ["## Pictures", *pictures] if pictures else []
    text = "\n\n".join(part for part in parts if part)
    (folder / NAME).write_text(f"{text}\n\nWritten by lehr {__version__}.\n", encoding="utf-8")


def _front(tags: Iterable[str]) -> str:
    """What the hub reads. Which licence the weights are under is not for a program to decide."""
    listed = "\n".join(f"- {tag}" for tag in ("lehr", "vae", "autoencoder", *tags))
    return f"---\n# license: say the licence of the weights here\n# datasets: and the data here\ntags:\n{listed}\n---"


def _what(run: Run) -> str:
    model = run.model
    c, h, w = model.image_shape
    latent = " x ".join(map(str, model.latent_shape))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    factor = getattr(model, "factor", 1)
    multiples = f", of sides that {factor} divides" if factor > 1 else ""
    sizes = f"; images of other sizes too{multiples}" if model.any_size else ""
    said = [
        f"A {type(model).__name__} of {parameters:,} parameters: images of {c} x {h} x {w} to {latent} latents{sizes}.",
        f"These are the weights of checkpoint `{run.weights}`." if run.weights else exported_note(run.status),
    ]
    if isinstance(imported := run.status.get(IMPORTED), dict):
        place = Path(imported["from"])
        name = place.name if place.is_absolute() else place  # on the hub
        said.append(f"The weights are those of `{name}` ({imported['digest']}).")
    if (upcast := run.carried.get(UPCAST)) is not None:
        how = "in float32 whatever their own precision is" if upcast else "in the precision that they have themselves"
        said.append(f"As it was published, `{UPCAST}` is {str(upcast).lower()}: pipelines compute it {how}.")
    return " ".join(filter(None, said))


def _factors(run: Run) -> str:
    factors = run.factors
    if factors is None:
        return ""
    source = "as it was published" if run.said else "as it was measured over the whole training set"
    said = f"A diffusion model sees (z - {factors.shift_factor:.6g}) * {factors.scaling_factor:.6g}, {source}."
    if not factors.latents_std:
        return said
    if run.said:
        return (
            f"{said} `latents_mean` and `latents_std` of each channel are in config.json as they were published too: a "
            "pipeline that takes them, as that of SDXL does, sees (z - latents_mean) / latents_std * "
            f"{factors.scaling_factor:.6g}."
        )
    return (
        f"{said} `latents_mean` and `latents_std` are those of each channel by themselves, an alternative to the two "
        "factors: a pipeline that applies all four, as that of SDXL does, needs them taken out of config.json."
    )


def _data(run: Run) -> Iterator[str]:
    yield "## Data"
    yield data_note(RunDirectory(run.path)) or "Not known."
    yield "Licence of the data: to be said by whoever publishes this."


def _recipe(run: Run) -> Iterator[str]:
    yield "## Recipe"
    config = without_places(run.config)
    if isinstance(run.status.get(IMPORTED), dict):
        yield "It was trained elsewhere; lehr was not told how."
        config = {name: config[name] for name in ("model", "likelihood", "prior")}
    else:
        yield f"```\n{train_command(config, [])}\n```"
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    yield f"<details><summary>configuration</summary>\n\n```yaml\n{text}```\n\n</details>"


def _numbers(run: Run) -> Iterator[str]:
    evaluation = run.evaluation
    numbers = ({} if run.weights else dict(run.metrics)) | dict(evaluation or {})
    rows = [
        (named(name)[0], shown(name, value), named(name)[1], f"`{name}`")
        for name, value in numbers.items()
        if "/" in name and isinstance(value, int | float) and not isinstance(value, bool)
    ]
    if rows:
        yield "## Metrics"
        yield _table(("", "", "unit", "name"), rows)
    if evaluation and evaluation.get("collapse/verdict"):
        yield str(evaluation["collapse/verdict"])


def _statistics(run: Run) -> Iterator[str]:
    if run.statistics is None:
        return
    yield "## Statistics of the latents"
    yield f"Of q(z) over {run.statistics.n:,} training images; Var(z) = E[Var(z|x)] + Var(E[z|x])."
    channels: AggregatePosterior = run.statistics.channels or run.statistics
    columns = (channels.mean, channels.var, channels.mean_of_var, channels.var_of_mean)
    rows = [
        (str(i), *(f"{value:.5g}" for value in row))
        for i, row in enumerate(zip(*(column.tolist() for column in columns), strict=True))
    ]
    what = "channel" if run.statistics.channels else "latent"
    yield _table((what, "E[z]", "Var(z)", "E[Var(z|x)]", "Var(E[z|x])"), rows)


def _table(names: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [names, tuple("---" for _ in names), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _copied(directory: RunDirectory, folder: Path) -> Iterator[str]:
    """The pictures of the run, copied, as they are shown."""
    for name in GRIDS:
        picture = directory.samples / f"{name}.png"
        if picture.is_file():
            shutil.copyfile(picture, folder / picture.name)
            caption = CAPTIONS[name]
            yield f"![{caption}]({picture.name})\n\n{caption[0].upper()}{caption[1:]}."


def without_places(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration that says of files what they are called, and not where on somebody's disk they lie."""
    found = copy.deepcopy(dict(config))
    pending: list[Any] = [found]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending += node
        elif isinstance(node, dict):
            for key, value in node.items():
                if key in _PATHS and isinstance(value, str) and "/" in value:
                    node[key] = Path(value).name
            pending += node.values()
    return found
