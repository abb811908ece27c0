"""Reports of runs that did take place."""

from __future__ import annotations

import pytest
from looking import WIDTHS, draw_all

from lehr.cli.main import main

SMALL = ("trainer.max_epochs=4", "kl.hold=0", "kl.warmup=1", "trainer.check_val_every_n_epoch=2", "model.hidden=[32]")
GRID = ("kl.weight=0.5,4", "seed=0,1")
MOVING = """() => [...document.images].filter((image) => image.currentSrc.startsWith('data:image/gif')).length"""


@pytest.mark.slow
def test_a_real_sweep_is_drawn_and_leads_to_its_runs(look, tmp_path):
    path = tmp_path / "sweep"
    assert main(["train", "-m", "hydra/launcher=fused", f"hydra.sweep.dir={path}", *GRID, *SMALL]) == 0
    assert main(["report", str(path), "runs=true"]) == 0
    page = look(path / "report.html")
    assert draw_all(page) >= 2
    assert page.locator("#runs-table tbody tr").count() == 4
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    page.locator("#run-0 th a").click()
    page.locator("h1", has_text="Run weight=0.5").wait_for()
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert draw_all(page) >= 4
        page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)


@pytest.mark.slow
def test_pictures_of_a_run_are_not_smoothed_and_move_for_those_alone_who_like_it(look, finished_run, tmp_path):
    file = tmp_path / "report.html"
    assert main(["report", str(finished_run), f"out={file}"]) == 0
    page = look(file)
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    rendering = "() => [...document.images].map((image) => getComputedStyle(image).imageRendering)"
    assert set(page.evaluate(rendering)) == {"pixelated"}
    assert page.evaluate(MOVING) == 1
    page = look(file, reduced_motion="reduce")
    assert page.evaluate(MOVING) == 0
    assert page.locator("picture img").bounding_box()["width"] > 8


@pytest.mark.slow
def test_a_page_that_is_final_does_not_read_itself_anew(look, sweep_page):
    assert look(sweep_page).get_attribute("body", "data-refresh") is None
    assert 'http-equiv="refresh"' not in sweep_page.read_text(encoding="utf-8")
