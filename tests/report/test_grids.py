"""Grids that a run has drawn, taken apart into images of any sides."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from made_up_sweeps import metrics, write_run
from PIL import Image
from planted import run as result

from lehr.evaluation.pictures import GAP, image_grid, save_png
from lehr.report.document import Picture, flat
from lehr.report.grids import read_grid, sides_of
from lehr.report.run import run_document
from lehr.report.sweep_pictures import small_pictures

STEPS, LINES = 4, 3
SIDES = [(12, 40), (40, 12), (3, 5), (16, 16)]


def drawn(run: Path, height: int, width: int, channels: int = 1) -> torch.Tensor:
    """An interpolation grid by lehr itself, and what says how large its images are; the images."""
    images = torch.rand(LINES * STEPS, channels, height, width, generator=torch.Generator().manual_seed(0))
    (run / "model").mkdir(parents=True)
    (run / "model" / "config.json").write_text(json.dumps({"image_shape": [channels, height, width]}))
    config = {"callbacks": {"samples": {"n": 64, "steps": STEPS}}, "data": {"_target_": "lehr.data.Digits"}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "status.json").write_text(json.dumps({"state": "done"}))
    (run / "samples").mkdir()
    save_png(run / "samples" / "interpolation.png", image_grid(images, columns=STEPS))
    return (images * 255).round().to(torch.uint8)


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_tile_is_the_image_that_was_drawn(tmp_path, sides, channels):
    images = drawn(tmp_path / "run", *sides, channels)
    assert sides_of(tmp_path / "run") == sides
    grid = read_grid(tmp_path / "run" / "samples" / "interpolation.png", STEPS, sides)
    assert grid.rows == LINES
    factor = grid.tile[0] // sides[0]
    for i, image in enumerate(images):
        tile = np.asarray(grid.part(i % STEPS, i // STEPS))[GAP:-GAP, GAP:-GAP]
        assert tile.shape[:2] == grid.tile == (sides[0] * factor, sides[1] * factor)
        assert np.array_equal(tile[::factor, ::factor].reshape(*sides, -1), image.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("sides", SIDES)
def test_an_animation_moves_along_each_line(tmp_path, sides):
    images = drawn(tmp_path / "run", *sides).view(LINES, STEPS, *sides)
    document = run_document(tmp_path / "run")
    parts = [part for section in document.sections for part in flat(section.parts)]
    moving = next(part for part in parts if isinstance(part, Picture) and part.name == "interpolation_moving")
    grid = read_grid(tmp_path / "run" / "samples" / "interpolation.png", STEPS, sides)
    (height, width), factor = grid.tile, grid.tile[0] // sides[0]
    with Image.open(io.BytesIO(moving.image)) as image:
        assert image.n_frames == 2 * STEPS - 2
        assert image.size == (LINES * (width + GAP) + GAP, height + 2 * GAP)  # the lines beside each other
        for step in range(STEPS):
            image.seek(step)
            frame = np.asarray(image.convert("L"))[GAP:-GAP]
            for line in range(LINES):
                tile = frame[:, GAP + line * (width + GAP) :][::factor, :width:factor]
                assert np.abs(tile.astype(int) - images[line, step].numpy().astype(int)).max() <= 2  # of 256 colours


@pytest.mark.parametrize(("sides", "size"), [((12, 40), (4 * 40, 3 * 12)), ((40, 20), (4 * 20, 3 * 40))])
def test_small_pictures_keep_their_sides(tmp_path, sides, size):
    drawn(tmp_path / "run", *sides)
    run = result({"a": 1}, config={"callbacks.samples.steps": STEPS})
    picture = small_pictures([(tmp_path / "run", run)])[run.name]["interpolation"]
    with Image.open(io.BytesIO(picture.image)) as image:
        assert image.size == size


@pytest.mark.parametrize(
    "shape", [None, [1, 8], [1, 0, 8], ["1", "8", "8"], [1, 8.0, 8], {"a": 1}, [1, 7, 8], [1, 10**9, 1]]
)
def test_of_images_of_other_sides_there_is_none(tmp_path, shape):
    run = write_run(tmp_path, {"a": 1}, metrics(-1.0))
    (run / "model").mkdir()
    (run / "model" / "config.json").write_text(json.dumps({"image_shape": shape}))
    square = Image.new("L", (8 * 10 + 2, 8 * 10 + 2))
    square.save(tmp_path / "square.png")
    grid = read_grid(tmp_path / "square.png", 8, sides_of(run))
    assert (grid is None) == (shape in ([1, 7, 8], [1, 10**9, 1]))
    assert read_grid(tmp_path / "square.png", 7, (1, 1)) is None
    assert read_grid(tmp_path / "none.png", 8, (1, 1)) is None
