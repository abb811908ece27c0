"""The table of the runs in a browser: sorting, filtering, unfolding, and what the metric changes."""

from __future__ import annotations

import pytest
from invented import KEYS, runs_of, sweep_of
from looking import column, draw_all, sort_by
from planted import run


@pytest.mark.slow
def test_numbers_are_sorted_by_size_and_equal_ones_keep_their_order(look, sweep_page):
    page = look(sweep_page)
    before = column(page, "run")
    assert sort_by(page, "kl.warmup") == "ascending"
    assert column(page, "kl.warmup") == ["0"] * 12 + ["10"] * 12
    assert column(page, "run") == [n for n in before if "warmup=0" in n] + [n for n in before if "warmup=10" in n]
    assert sort_by(page, "time/images_per_second") == "ascending"
    speeds = [float(text.replace(",", "")) for text in column(page, "time/images_per_second") if text]
    assert speeds == sorted(speeds)
    assert len(set(speeds)) > 3
    assert page.locator('th[aria-sort]:not([aria-sort="none"])').count() == 1


@pytest.mark.slow
def test_empty_cells_are_last_whichever_way_is_asked_for(look, sweep_page):
    page = look(sweep_page)
    for way in ("ascending", "descending"):
        assert sort_by(page, "test/elbo") == way
        cells = column(page, "test/elbo")
        assert cells[-1] == ""
        numbers = [float(text) for text in cells[:-1]]
        assert numbers == sorted(numbers, reverse=way == "descending")


@pytest.mark.slow
def test_words_are_sorted_as_words_with_numbers_in_them_by_size(look, tmp_path):
    values = ("b10", "b9", "a", "5", "40")
    runs = [run({"data": value, "seed": 0}, {"test/elbo": float(i)}) for i, value in enumerate(values)]
    page = look(sweep_of(tmp_path, runs, ("data", "seed")))
    sort_by(page, "data")
    assert column(page, "data") == ["5", "40", "a", "b9", "b10"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("kl.weight=4", lambda cells: cells["kl.weight"] == "4"),
        ("weight=0.50", lambda cells: cells["kl.weight"] == "0.5"),
        ("failed", lambda cells: cells["state"] == "failed"),
        ("elbo>-20 kl.warmup=10", lambda cells: cells["kl.warmup"] == "10" and float(cells["test/elbo"] or -99) > -20),
        ("test/rate<=15.01", lambda cells: float(cells["test/rate"] or 99) <= 15.01),
        ("seed=1 no-such-word", lambda cells: False),
    ],
)
def test_a_filter_leaves_the_rows_that_have_every_word_and_says_how_many(look, sweep_page, words, wanted):
    page = look(sweep_page)
    names = ("run", "state", *KEYS, "test/elbo", "test/rate")
    every = [dict(zip(names, cells, strict=True)) for cells in zip(*(column(page, n) for n in names), strict=True)]
    page.fill("#filter", words)
    left = [cells["run"] for cells in every if wanted(cells)]
    assert column(page, "run") == left
    assert page.locator("[role=status]").inner_text() == f"{len(left)} of 24 runs"
    page.fill("#filter", "")
    assert (len(column(page, "run")), page.locator("#filtered").inner_text()) == (24, "")


@pytest.mark.slow
def test_the_metric_changes_charts_sentences_and_the_column_and_is_kept(look, sweep_page):
    page = look(sweep_page)
    n = draw_all(page)
    charts = [page.locator(".view").nth(i).inner_html() for i in range(n)]
    sentences = page.locator("#verdict").inner_text()
    page.select_option("#choose-metric", "posterior/active_units")
    page.wait_for_function("before => document.querySelectorAll('.view')[1].innerHTML !== before", arg=charts[1])
    after = [page.locator(".view").nth(i).inner_html() for i in range(n)]
    assert all(a != b for a, b in zip(charts, after, strict=True))
    assert "active units" in page.locator("#verdict").inner_text()
    assert "active units" not in sentences
    chosen = "() => [...document.querySelectorAll('th.chosen')].map((head) => head.dataset.name)"
    assert page.evaluate(chosen) == ["posterior/active_units"]
    page.reload()
    assert page.input_value("#choose-metric") == "posterior/active_units"
    assert page.evaluate(chosen) == ["posterior/active_units"]
    assert "active units" in page.locator("#verdict").inner_text()


@pytest.mark.slow
def test_a_row_unfolds_to_pictures_and_curves_and_leads_to_its_report(look, sweep_page):
    page = look(sweep_page)
    button = page.locator("#run-0 .unfold")
    assert button.get_attribute("aria-expanded") == "false"
    button.click()
    assert button.get_attribute("aria-expanded") == "true"
    detail = page.locator("#run-0 + tr.detail")
    assert detail.locator("img").count() == 2
    assert page.evaluate("() => [...document.querySelectorAll('.detail img')].every((image) => image.naturalWidth > 8)")
    detail.locator("svg path").first.wait_for()
    sort_by(page, "seed")
    sort_by(page, "seed")  # the first run is far below now, and what it was unfolded to with it
    assert page.locator("#run-0 + tr.detail").count() == 1
    detail.locator("a").click()
    assert page.locator("h1").inner_text() == "The page of a run"
    page.go_back()
    page.locator("#run-2 .unfold").click()
    assert page.locator("#run-2 + tr.detail").inner_text() == "It has drawn nothing yet."
    page.locator("#run-2 .unfold").click()
    assert page.locator("#run-2 + tr.detail").count() == 0
    page.locator("#run-23 .unfold").click()
    assert "the loss is NaN" in page.locator("#run-23 + tr.detail").inner_text()


@pytest.mark.slow
def test_an_address_and_a_thumbnail_unfold_a_row(look, sweep_page):
    name = runs_of()[1].name
    page = look(sweep_page, fragment=f"#unfold={name}")
    assert page.locator("tr.chosen").get_attribute("id") == "run-1"
    assert page.locator("#run-1 + tr.detail img").count() == 2
    assert page.evaluate("() => document.activeElement.closest('tr').id") == "run-1"
    page.locator(f'.thumbnail[data-name="{runs_of()[0].name}"]').click()
    assert page.locator("tr.chosen").get_attribute("id") == "run-0"


@pytest.mark.slow
def test_pictures_across_the_grid_are_of_the_kind_that_is_chosen(look, sweep_page):
    page = look(sweep_page)
    image = page.locator(".thumbnail img").first
    before = image.get_attribute("src")
    page.select_option("#choose-pictures", "prior")
    assert image.get_attribute("alt").startswith("prior of weight=")
    assert image.get_attribute("src").startswith("data:image/")
    assert before.startswith("data:image/")
    page.reload()
    assert page.input_value("#choose-pictures") == "prior"
    assert image.get_attribute("alt").startswith("prior of weight=")


@pytest.mark.slow
def test_what_is_looked_at_survives_that_a_page_reads_itself_anew(look, tmp_path):
    file = sweep_of(tmp_path, refresh=3600)
    page = look(file)
    slow = page.context.new_cdp_session(page)  # where the browser has begun to scroll before the page's script runs
    slow.send("Emulation.setCPUThrottlingRate", {"rate": 6})
    assert page.get_attribute("body", "data-refresh") == "3600"
    page.select_option("#choose-metric", "test/rate")
    sort_by(page, "test/rate")
    page.fill("#filter", "seed=0")
    page.locator("#run-0 .unfold").click()
    page.evaluate("scrollTo(0, 1500)")
    order = column(page, "run")
    page.wait_for_function("document.querySelectorAll('.view.live').length >= 5")
    height = page.evaluate("scrollY")
    assert height > 500
    page.reload()
    assert (page.input_value("#choose-metric"), page.input_value("#filter")) == ("test/rate", "seed=0")
    assert column(page, "run") == order
    assert page.locator("#run-0 + tr.detail").count() == 1
    page.wait_for_function("document.querySelectorAll('.view.live').length >= 5")
    page.wait_for_timeout(300)  # for what would still move
    assert abs(page.evaluate("scrollY") - height) < 2


@pytest.mark.slow
def test_a_page_of_two_thousand_runs_stays_usable(look, tmp_path):
    page = look.blank()
    file = sweep_of(tmp_path, runs_of(seeds=250))
    page.goto(file.as_uri(), wait_until="commit")
    page.locator(".view svg").first.wait_for()
    page.wait_for_load_state()
    for _ in range(4):
        sort_by(page, "test/elbo")
    assert page.locator("#runs-table tbody tr:visible").count() == 300
    assert column(page, "test/elbo")[0] == max(column(page, "test/elbo")[:-1], key=float)
    page.fill("#filter", "seed=7")
    assert len(column(page, "run")) == page.locator("#runs-table tbody tr:visible").count() == 8
    page.fill("#filter", "")
    page.get_by_role("button", name="Show all 2,000 runs").click()
    assert page.locator("#runs-table tbody tr:visible").count() == 2000
