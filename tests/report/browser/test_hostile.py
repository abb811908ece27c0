"""Names, values, errors and labels that want to be more than text."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from invented import runs_of, sweep_of
from looking import draw_all, script, sort_by
from planted import ELBO

from lehr.report.document import Chart, Document, Paragraph, Picture, RunsTable, Section, Table
from lehr.report.page import page as written
from lehr.report.vega import data, field

HOSTILE = (
    "<script>window.__hacked = 1</script>",
    "</script><script>window.__hacked = 2</script><!-- <script>",
    '"><img src=x onerror="window.__hacked = 3">',
    "' onmouseover='window.__hacked = 4' x='",
    "javascript:window.__hacked=5",
    "line\u2028and\u2029paragraph \x00\x1f\ufffe",
    "{{ 7 * 7 }} ${window.__hacked = 6} `window.__hacked = 7`",
    "\u202eright to left, and a combining \u0301\u0301\u0301 \U0001f600",
    "long " * 1000,
    "unbroken" * 625,
    "constructor",
    "__proto__",
)


def assert_is_text(page) -> None:
    page.wait_for_timeout(200)  # for what an error of loading would set off
    assert (
        page.evaluate(
            "'__hacked' in window || document.querySelectorAll('[onerror], [onmouseover], img[src=x]').length"
        )
        == 0
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.slow
def test_a_hostile_sweep_is_text(look, tmp_path):
    words = [text[:255] for text in HOSTILE]  # no file has a longer name
    keys = ("data", '<img src=x onerror="window.__hacked=8">', "seed")
    runs = [
        replace(
            one,
            name=f"{words[i % 12]}-{i}",
            swept={keys[0]: words[i % 12], keys[1]: words[(i + i // 12) % 12], "seed": i // 12},
            state="failed" if i in (3, 8) else "done",
            error=words[i % 12] if i in (3, 8) else None,
            metrics={} if i in (3, 8) else {ELBO: -i, "test/rate": 1 + i, "test/distortion": 9.0, HOSTILE[2]: 1.0},
        )
        for i, one in enumerate(runs_of())
    ]  # fmt: skip
    file = sweep_of(tmp_path, runs, keys)
    for width in (1280, 400):
        page = look(file, width=width)
        assert draw_all(page) >= 2
        assert page.get_by_text("This chart cannot be drawn.").count() == 0
        for i in (0, 1, 3, 5, 8):
            page.locator(f"#run-{i} .unfold").click()
        page.locator("tr.detail svg").first.wait_for()
        for place in page.locator(".view.live .mark-symbol path").all()[:3]:
            place.hover(force=True)
        sort_by(page, "data")
        page.fill("#filter", "data=<script>window.__hacked")
        page.fill("#filter", "")
        assert_is_text(page)
        names = page.evaluate(
            "() => [...document.querySelectorAll('tr[data-run] > th')].map((cell) => cell.textContent.trim())"
        )
        assert {name for name in names if name.startswith("<script>")} == {one.name for one in runs[::12]}


def document() -> Document:
    """Every kind of part with hostile text wherever text may stand."""
    picture = Picture("x", b"\x89PNG of nothing", HOSTILE[2])
    rows = [{"x": i, "y": i, "name": text} for i, text in enumerate(text[:255] for text in HOSTILE)]
    encoding = {"x": field("x:Q", title=HOSTILE[0]), "y": field("name:N", title=HOSTILE[2]), "tooltip": field("name")}
    charts = [
        Chart(
            "good", HOSTILE[1], {"data": data(rows), "mark": "point", "encoding": encoding, "width": 300}, HOSTILE[3]
        ),
        Chart("also", "good", {"data": data(rows), "mark": "bar", "encoding": {"x": field("x:Q")}, "width": 300}),
    ]
    table = RunsTable((HOSTILE[2],), ((HOSTILE[0], HOSTILE[1]),), tuple(("done", h, h) for h in HOSTILE), HOSTILE)
    parts = (
        *(Paragraph(text) for text in HOSTILE), Table(HOSTILE, (HOSTILE,), caption=HOSTILE[1]), *charts, picture, table,
    )  # fmt: skip
    runs = [{"name": text, "state": text, "error": text, "pictures": {text: picture}} for text in HOSTILE]
    section = Section("all", HOSTILE[1], parts)
    metrics = ((HOSTILE[2], HOSTILE[0]), (HOSTILE[0], HOSTILE[2]))
    return Document(HOSTILE[1], HOSTILE[2], (Paragraph(HOSTILE[0]),), (section,), metrics, {"runs": runs})


@pytest.mark.slow
def test_hostile_text_in_every_part_is_text(look, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(written(document()), encoding="utf-8")
    page = look(file)
    assert draw_all(page) == 2
    for button in page.locator(".unfold").all():
        button.click()
    page.select_option("#choose-metric", HOSTILE[0])
    assert_is_text(page)
    assert page.locator("h1").inner_text() == HOSTILE[1]


@pytest.mark.slow
def test_the_page_forbids_itself_every_request(look, tmp_path):
    file = tmp_path / "report.html"
    planted = '<img src="https://example.com/x.png"><script src="https://example.com/x.js"></script></body>'
    file.write_text(written(document()).replace("</body>", planted), encoding="utf-8")
    page = look(file)
    page.evaluate("fetch('https://example.com/data').catch(() => 0)")
    refused = [text for text in look.complaints if "Content Security Policy" in text]
    assert len(refused) >= 3
    look.complaints.clear()
    look.requests.clear()  # that were tried


@pytest.mark.slow
@pytest.mark.parametrize("broken", [{"mark": "no such mark"}, {"layer": 7}, None])
def test_a_chart_that_cannot_be_drawn_stops_no_other(look, tmp_path, broken):
    file = tmp_path / "report.html"
    file.write_text(written(document()), encoding="utf-8")
    page = look.blank()
    spoil = script("spoil.js").replace("BROKEN", json.dumps(broken))
    page.add_init_script(f"({spoil})()")
    page.goto(file.as_uri())
    page.locator("#also").scroll_into_view_if_needed()
    page.locator("#also .view.live").wait_for()
    assert page.evaluate("window.spoilt") == 1
    assert page.locator("#good .view > svg").count() == 1  # the still picture stays
    assert page.locator("#good .view.live").count() == 0
    assert [text for text in look.complaints if "chart good" not in text] == []
    look.complaints.clear()
