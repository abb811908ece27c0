"""In a notebook: the tour runs, a mistake shows no traceback, and an interrupted cell leaves a run to go on with."""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tour(tmp_path_factory):
    from notebook import TOUR, executed

    folder = tmp_path_factory.mktemp("tour")
    return nbformat.read(TOUR, as_version=4), executed(TOUR, folder), folder


def kinds(cell) -> list[str]:
    return sorted({kind for output in cell.get("outputs", ()) for kind in output.get("data", {})})


def test_each_cell_shows_what_the_committed_notebook_shows(tour):
    committed, now, folder = tour
    assert [cell.source for cell in now.cells] == [cell.source for cell in committed.cells]
    assert [kinds(cell) for cell in now.cells] == [kinds(cell) for cell in committed.cells]
    assert sum("text/html" in kinds(cell) for cell in now.cells) >= 5
    assert sorted(path.name for path in (folder / "runs").iterdir()) == ["first", "weights"]


def test_the_figures_are_drawn(tour):
    from notebook import figures

    found = figures(tour[1])
    assert sorted(found) == ["annealing", "rate_distortion"]
    for png in found.values():
        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
        assert min(pixels.shape) > 200
        assert 0.01 < (pixels < 200).mean() < 0.5


def test_a_mistake_is_lines_without_a_traceback_and_an_interrupted_cell_is_gone_on_with(tmp_path):
    from nbclient import NotebookClient

    keys = "{'kl.hold': 0, 'kl.warmup': 1, 'trainer.max_epochs': %d, 'evaluate': 'none'}"
    sources = [
        "import lehr",
        "lehr.train(**{'kl.weigth': 1, 'model.latent_dim': 0})",
        f"lehr.train(dir='run', **{keys % 100_000})",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    client = NotebookClient(notebook, timeout=120, allow_errors=True, resources={"metadata": {"path": str(tmp_path)}})

    async def run() -> None:
        async with client.async_setup_kernel():
            for index in (0, 1):
                await client.async_execute_cell(notebook.cells[index], index)
            running = asyncio.ensure_future(client.async_execute_cell(notebook.cells[2], 2))
            while not (tmp_path / "run" / "history.jsonl").exists():  # written by the first steps
                await asyncio.sleep(0.2)
            await asyncio.sleep(1.0)
            await client.km.interrupt_kernel()
            await running

    asyncio.run(run())
    mistake, stopped = (next(o for o in notebook.cells[i].outputs if o.output_type == "error") for i in (1, 2))
    assert mistake.traceback == [
        "ConfigError: kl.weigth: unknown key; did you mean kl.weight?",
        "ConfigError: model.latent_dim=0: must be greater than 0",
    ]
    assert stopped.traceback == ["Stopped: go on with lehr.train(resume='run')"]
    from lehr.run.directory import RunDirectory

    directory = RunDirectory(tmp_path / "run")
    assert directory.state() == "interrupted"
    assert directory.last_checkpoint.exists()
