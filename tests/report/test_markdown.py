"""A report as Markdown."""

from __future__ import annotations

from made_up_sweeps import close, draw, metrics, write_run

from lehr.report.gather import gather
from lehr.report.markdown import write_markdown
from lehr.report.sweep import sweep_document


def test_markdown_has_no_heading_with_nothing_below_it(tmp_path):
    for weight in (1, 4):
        draw(write_run(tmp_path, {"kl.weight": weight}, metrics(-20.0 - weight)))
    document = sweep_document(gather([close(tmp_path, ["kl.weight"])], tmp_path))
    assert "pictures" in [section.name for section in document.sections]
    write_markdown(document, tmp_path / "report.md", tmp_path / "report")
    lines = (tmp_path / "report.md").read_text().split("\n")
    written = [line for line in lines if line]
    heads = [i for i, line in enumerate(written) if line.startswith("## ")]
    assert len(heads) > 2
    assert not [written[i] for i in heads if i + 1 in (*heads, len(written))]
