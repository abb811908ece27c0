"""Run docs/tour.ipynb in an empty directory and keep what it shows; the figures that the README has go to docs/.

python scripts/notebook.py
"""

from __future__ import annotations

import base64
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbclient import NotebookClient

TOUR = Path(__file__).parents[1] / "docs" / "tour.ipynb"
_WIDGET = "application/vnd.jupyter.widget-view+json"


def executed(path: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs, run in `folder`. Bars of progress, which live in a kernel alone, are left out.

    Raises:
        CellExecutionError: if a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = _joined(output for output in cell.outputs if _WIDGET not in output.get("data", {}))
    return notebook


def _joined(outputs: Iterable[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """The outputs with what was printed in pieces as one."""
    found: list[nbformat.NotebookNode] = []
    for output in outputs:
        if found and output.output_type == "stream" and output.get("name") == found[-1].get("name"):
            found[-1].text += output.text
        else:
            found.append(output)
    return found


def figures(notebook: nbformat.NotebookNode) -> dict[str, bytes]:
    """The PNG of each cell that has a name for its figure."""
    return {
        cell.metadata["figure"]: base64.b64decode(output["data"]["image/png"])
        for cell in notebook.cells
        if "figure" in cell.metadata
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    }


def main() -> None:
    """Run it, and write what came of it."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        notebook = executed(TOUR, Path(folder))
    print(f"{TOUR.name}: {time.perf_counter() - started:.0f} s")
    for name, png in figures(notebook).items():
        TOUR.with_name(f"{name}.png").write_bytes(png)
        print(f"{name}.png: {len(png):,} bytes")
    nbformat.write(notebook, TOUR)


if __name__ == "__main__":
    main()
