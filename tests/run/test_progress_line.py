"""Progress: a line on a terminal, a bar in a notebook, neither in a file."""

from __future__ import annotations

import io
import sys

import pytest

from lehr.run import progress_line
from lehr.run.progress_line import ProgressLine

CELL = """
from lehr.run.progress_line import ProgressLine
with ProgressLine("training", 4, keep=True) as line:
    assert line.is_live
    line.show(3, "loss 1.5 & more")
    line.say("a line that stays")
with ProgressLine("unseen", 2, shown=False) as line:
    assert not line.is_live
"""


@pytest.mark.slow
def test_in_a_notebook_it_is_a_notebook_s_bar(monkeypatch):
    """In a kernel of Jupyter's, as a browser would get it."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    for name in ("ipykernel", "ipywidgets"):
        pytest.importorskip(name)
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    nbclient.NotebookClient(notebook, timeout=100, kernel_name="python3").execute()
    outputs = notebook.cells[0].outputs
    (bar,) = [output for output in outputs if "application/vnd.jupyter.widget-view+json" in output.get("data", {})]
    assert [output["text"] for output in outputs if output.output_type == "stream"] == ["a line that stays\n"]
    widgets = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"].values()
    states = [widget["state"] for widget in widgets]
    (shown,) = [state for state in states if state["_model_name"] == "FloatProgressModel"]
    assert (shown["value"], shown["max"], shown["bar_style"]) == (3, 4, "danger")  # it was left before its end
    texts = "".join(str(state.get("value")) for state in states if state["_model_name"] == "HTMLModel")
    texts = texts.replace("\u2007", " ")  # spaces as wide as digits
    assert texts.startswith("training  75%")
    assert "loss 1.5 &amp; more" in texts
    assert bar


class KernelStream(io.StringIO):
    pass


KernelStream.__module__ = "ipykernel.iostream"


def test_without_widgets_or_with_a_file_there_are_lines_only(monkeypatch, capsys):
    with ProgressLine("training", 4) as line:
        assert not line.is_live
        line.show(2, "x")
        line.advance()
        line.say("said")
    assert capsys.readouterr().err == "said\n"
    monkeypatch.setattr(progress_line, "find_spec", lambda name: None)
    stream = KernelStream()
    monkeypatch.setattr(sys, "stderr", stream)
    with ProgressLine("training", 4) as line:
        assert not line.is_live
        line.say("said")
    assert stream.getvalue() == "said\n"
