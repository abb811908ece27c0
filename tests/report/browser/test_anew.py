"""A page that reads itself anew while a sweep runs, and addresses within it."""

from __future__ import annotations

import pytest
from invented import KEYS, runs_of, sweep_of
from looking import column, sort_by


def unfolded(page) -> list[str]:
    return page.evaluate("[...document.querySelectorAll('tr.detail')].map((row) => row.previousElementSibling.id)")


@pytest.mark.slow
def test_a_page_waits_until_nobody_types_before_it_reads_itself_anew(look, tmp_path):
    page = look.blank()
    page.clock.install(time=0)
    page.clock.pause_at(1)  # or else the seconds of a busy machine count too
    page.goto(sweep_of(tmp_path, refresh=10).as_uri())
    page.evaluate("globalThis.mark = 1")
    page.focus("#filter")
    page.clock.run_for(9_000)
    page.keyboard.type("seed")
    page.clock.run_for(2_000)
    page.keyboard.type("=0")
    page.clock.run_for(2_500)
    assert page.evaluate("globalThis.mark") == 1
    with page.expect_navigation():
        page.clock.run_for(1_000)
    assert page.evaluate("globalThis.mark") is None
    assert page.input_value("#filter") == "seed=0"
    assert page.evaluate("document.activeElement.id") == "filter"


@pytest.mark.slow
def test_a_row_that_an_address_has_unfolded_can_be_folded_for_good(look, tmp_path):
    page = look(sweep_of(tmp_path, refresh=3600), fragment=f"#unfold={runs_of()[1].name}")
    assert unfolded(page) == ["run-1"]
    page.locator("#run-1 .unfold").press("Enter")
    page.locator("#run-3 .unfold").press("Enter")
    page.evaluate("scrollTo(0, 400)")
    page.reload()
    assert unfolded(page) == ["run-3"]
    assert page.evaluate("document.activeElement.closest('tr').id") == "run-3"  # where the keyboard was
    page.wait_for_function("Math.abs(scrollY - 400) < 2")


@pytest.mark.slow
def test_the_caret_and_a_column_by_its_name_are_where_they_were(look, tmp_path):
    page = look(sweep_of(tmp_path, keys=("kl.weight", "seed"), refresh=3600))
    assert sort_by(page, "seed") == "ascending"
    page.fill("#filter", "weight=4")
    page.evaluate("document.getElementById('filter').setSelectionRange(2, 2)")
    sweep_of(tmp_path, keys=KEYS, refresh=3600)
    page.reload()
    assert page.get_attribute('th[data-name="seed"]', "aria-sort") == "ascending"
    assert page.get_attribute('th[data-name="kl.warmup"]', "aria-sort") == "none"
    assert column(page, "seed") == sorted(column(page, "seed"))
    assert page.evaluate("document.getElementById('filter').selectionStart") == 2


@pytest.mark.slow
def test_the_same_link_leads_to_its_row_again(look, sweep_page):
    page = look(sweep_page)
    link = page.locator('#failures a[href^="#unfold="]').first
    page.locator("#failures summary").first.press("Enter")
    for _ in range(2):
        link.press("Enter")
        page.wait_for_function("document.querySelector('tr.detail') !== null")
        assert unfolded(page) == ["run-23"]
        page.locator("#run-23 .unfold").press("Enter")
        assert unfolded(page) == []
