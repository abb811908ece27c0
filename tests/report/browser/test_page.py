"""A page in a browser: what it draws, at every width, in the dark, on paper, without script and by keyboard."""

from __future__ import annotations

import pytest
from looking import WIDTHS, draw_all, script

CONTRAST = script("contrast.js")
FITS = """width => document.documentElement.scrollWidth <= width
    && [...document.querySelectorAll('.view')].every((view) => view.scrollWidth - view.clientWidth <= 2)"""


@pytest.mark.slow
def test_every_chart_is_drawn_with_marks_where_its_still_picture_was(look, sweep_page):
    page = look(sweep_page)
    size = "() => [...document.querySelectorAll('.view')].map((view) => [view.clientWidth, view.clientHeight])"
    before = page.evaluate(size)
    assert draw_all(page) == len(before) >= 5
    after = page.evaluate(size)
    assert [after[i] == pytest.approx(before[i], abs=2) for i in range(len(before))] == [True] * len(before)
    marks = page.evaluate(
        """() => [...document.querySelectorAll('.view.live svg')].map((svg) =>
             svg.querySelectorAll('.role-mark path, .role-mark text, .role-mark line').length)"""
    )
    assert len(marks) == len(before)
    assert all(marks)


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_moves_while_the_page_is_read_and_its_charts_come_alive(look, sweep_page, width):
    page = look.blank(width)
    page.add_init_script(script("shifts.js"))
    page.goto(sweep_page.resolve().as_uri())
    page.wait_for_timeout(300)
    height = "document.documentElement.scrollHeight"
    before = page.evaluate(height)
    for top in range(0, before, 300):
        page.mouse.wheel(0, 300)
        page.wait_for_function(
            "y => scrollY >= Math.min(y, document.documentElement.scrollHeight - innerHeight)", arg=top
        )
        page.wait_for_timeout(100)
    assert draw_all(page) >= 5
    assert page.evaluate(height) == before
    assert page.evaluate("shifts") == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_in_dark(look, sweep_page, scheme):
    page = look(sweep_page, color_scheme=scheme)
    draw_all(page)
    page.locator("#run-0 .unfold").click()
    page.locator("#run-0 + tr.detail svg").wait_for()
    assert page.evaluate(CONTRAST) == []
    ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


@pytest.mark.slow
@pytest.mark.parametrize("scripted", [True, False])
def test_no_width_makes_the_page_scroll_sideways(look, sweep_page, scripted):
    page = look(sweep_page, java_script_enabled=scripted)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        if scripted:
            draw_all(page)
            page.wait_for_function(FITS, arg=width)  # charts follow the width once it has come to rest
        boxes = [page.locator("section").nth(i).bounding_box() for i in range(page.locator("section").count())]
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)


@pytest.mark.slow
def test_charts_fit_a_window_that_changes_while_they_are_drawn(look, sweep_page):
    page = look.blank(1280)
    page.add_init_script(script("held.js"))
    page.goto(sweep_page.resolve().as_uri())
    page.wait_for_function("typeof release === 'function'")
    page.locator("#rate_distortion").scroll_into_view_if_needed()
    page.set_viewport_size({"width": 420, "height": 900})
    page.wait_for_timeout(500)  # until the page has answered to the new width, all of which was before it drew
    page.evaluate("release()")
    draw_all(page)
    page.wait_for_function(FITS, arg=420)
    page.locator("#rate_distortion .save button").first.evaluate("button => button.click()")


@pytest.mark.slow
def test_without_script_everything_is_there_to_be_read(look, sweep_page):
    page = look(sweep_page, java_script_enabled=False)
    pictures = page.locator(".view > svg")
    assert pictures.count() == page.locator(".view").count() >= 5
    assert all(pictures.nth(i).is_visible() for i in range(pictures.count()))
    assert page.locator("#runs-table tbody tr").count() == 24
    assert page.locator("#runs-table tbody tr").last.is_visible()
    assert not any(one.is_visible() for one in page.locator("select, input, .unfold").all())
    others = page.locator("#verdict details.others")
    assert "active units" not in page.locator("#verdict").inner_text()
    others.locator("summary").click()
    assert "active units" in page.locator("#verdict").inner_text()
    assert page.locator(".thumbnail img").first.is_visible()


@pytest.mark.slow
def test_on_paper_there_are_all_charts_and_no_controls(look, sweep_page):
    page = look(sweep_page, width=700, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    charts = page.locator(".view svg")
    assert charts.count() >= 5
    assert all(charts.nth(i).is_visible() for i in range(charts.count()))
    assert not any(one.is_visible() for one in page.locator("select, input, .unfold, nav").all())
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(CONTRAST) == []
    assert page.pdf(format="A4").startswith(b"%PDF")


@pytest.mark.slow
def test_everything_is_reached_and_seen_by_keyboard(look, sweep_page):
    page = look(sweep_page)
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(script("focused.js")))
        if seen[-1]["what"] == "filter":
            break
    names = [one["what"] for one in seen]
    assert names[0] == "Skip to the report"
    assert names.index("choose-metric") < names.index("filter")
    unseen = [one for one in seen if one["outline"] == "none" or not one["inside"]]
    assert unseen == []
    while page.evaluate("document.activeElement.closest('thead th')?.dataset.name") != "kl.weight":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator('th[data-name="kl.weight"]').get_attribute("aria-sort") == "ascending"
    while page.evaluate("document.activeElement.className") != "unfold script-only":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    assert page.locator("tr.detail img").count() == 2


@pytest.mark.slow
def test_a_chart_can_be_saved_as_a_file(look, sweep_page):
    page = look(sweep_page)
    draw_all(page)
    for kind, begins in (("SVG", b"<svg"), ("PNG", b"\x89PNG")):
        with page.expect_download() as saved:
            page.locator("#rate_distortion .save button", has_text=kind).click()
        assert saved.value.suggested_filename == f"rate_distortion.{kind.lower()}"
        assert saved.value.path().read_bytes().startswith(begins)


@pytest.mark.slow
def test_who_cannot_see_is_told_the_same(look, sweep_page):
    page = look(sweep_page)
    draw_all(page)
    page.locator("#run-0 .unfold").click()
    assert page.evaluate(script("accessible.js")) == []
