"""The latents of images as TensorBoard's projector reads them: points with labels, and thumbnails as one sprite.

https://www.tensorflow.org/tensorboard/tensorboard_projector_plugin. The plugin finds `projector_config.pbtxt` in the
directory of the run, and by it the other files, beside one another in a folder.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from lehr.evaluation.pictures import save_png
from lehr.files import write_text
from lehr.run.contents import PROJECTOR_CONFIG, PROJECTOR_FOLDER
from lehr.run.latents import Latents

_TENSORS, _LABELS, _SPRITE = "tensors.tsv", "metadata.tsv", "sprite.png"


def write_projector(run: Path, latents: Latents, model: str | None = None) -> None:
    """Write the latents of the trained model of this id into the directory `run`; what names the files comes last."""
    folder = run / PROJECTOR_FOLDER
    write_text(folder / _TENSORS, _table([[f"{x:.7g}" for x in row] for row in latents.mean.tolist()]))
    write_text(folder / _LABELS, _table(_labels(latents)))
    save_png(folder / _SPRITE, _sprite(latents.thumbnails), model)
    height, width = latents.thumbnails.shape[2:]
    config = (
        "embeddings {\n"
        f'  tensor_name: "{latents.of}s of {latents.split} images"\n'
        f'  tensor_path: "{PROJECTOR_FOLDER}/{_TENSORS}"\n'
        f'  metadata_path: "{PROJECTOR_FOLDER}/{_LABELS}"\n'
        "  sprite {\n"
        f'    image_path: "{PROJECTOR_FOLDER}/{_SPRITE}"\n'
        f"    single_image_dim: {width}\n"
        f"    single_image_dim: {height}\n"
        "  }\n"
        "}\n"
    )
    write_text(run / PROJECTOR_CONFIG, config)


def _labels(latents: Latents) -> list[list[str]]:
    """A row for each image, below the names of the columns: but of one column alone the plugin wants no name."""
    rows = latents.rows.tolist()
    if latents.labels is None:
        return [[str(row)] for row in rows]
    labels = latents.labels.view(len(rows), -1)
    names = ["label"] if labels.shape[1] == 1 else [f"factor {i}" for i in range(labels.shape[1])]
    classes = latents.classes if len(names) == 1 else ()
    named = [[_name(label, classes) for label in one] for one in labels.tolist()]
    return [[*names, "row"], *([*one, str(row)] for one, row in zip(named, rows, strict=True))]


def _name(label: int, classes: tuple[str, ...]) -> str:
    """What a class is called, in a cell of a table."""
    return " ".join(classes[label].split()) if 0 <= label < len(classes) else str(label)


def _table(rows: list[list[str]]) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)


def _sprite(thumbnails: Tensor) -> Tensor:
    """Images (n, c, h, w) uint8 in rows, as many as there are columns: (c, k h, k w), without gaps.

    1, 3 or 4 channels; of any other number the first.
    """
    if thumbnails.shape[1] not in (1, 3, 4):
        thumbnails = thumbnails[:, :1]
    n, channels, height, width = thumbnails.shape
    k = math.ceil(math.sqrt(n))
    tiles = torch.cat([thumbnails, thumbnails.new_zeros(k * k - n, channels, height, width)])
    return tiles.view(k, k, channels, height, width).permute(2, 0, 3, 1, 4).reshape(channels, k * height, k * width)
