"""How tests look at a page: everything that it complains of and asks for is written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WIDTHS = (400, 700, 1000, 1280, 1600)


class Look:
    """Opens pages in contexts of their own.

    Attributes:
        complaints: errors of scripts, and what was written to the console.
        requests: what pages asked for, other than themselves.
    """

    def __init__(self, browser: Any) -> None:
        self.browser = browser
        self.contexts: list[Any] = []
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def __call__(self, file: Path, width: int = 1280, height: int = 900, fragment: str = "", **context: Any) -> Any:
        """The page of this file, once it is loaded; `context` as of Playwright's `new_context`."""
        page = self.blank(width, height, **context)
        page.goto(file.resolve().as_uri() + fragment)
        return page

    def blank(self, width: int = 1280, height: int = 900, **context: Any) -> Any:
        """A page that nothing is in yet."""
        opened = self.browser.new_context(viewport={"width": width, "height": height}, **context)
        opened.set_default_timeout(60_000)
        self.contexts.append(opened)
        page = opened.new_page()
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._asked)
        return page

    def _asked(self, request: Any) -> None:
        if not request.url.startswith(("data:", "blob:")) and not request.is_navigation_request():
            self.requests.append(request.url[:200])

    def close(self) -> None:
        for context in self.contexts:
            context.close()


def script(name: str) -> str:
    """The function in this file, which lies here."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def draw_all(page: Any) -> int:
    """Scroll through the page until every chart that can be drawn answers to the pointer; how many there are."""
    places = page.locator(".view:has(svg)")
    for i in range(places.count()):
        places.nth(i).evaluate("place => place.scrollIntoView()")  # at once, while others above are drawn
        page.wait_for_function("i => document.querySelectorAll('.view:has(svg)')[i].classList.contains('live')", arg=i)
    return places.count()


def column(page: Any, name: str, rows: str = "tbody tr[data-run]:not([hidden])") -> list[str]:
    """What the rows of the table have in a column, from top to bottom."""
    return page.evaluate(
        """([name, rows]) => {
          const heads = [...document.querySelectorAll('#runs-table thead th')].map((head) => head.dataset.name);
          const place = heads.indexOf(name), found = [...document.querySelectorAll(`#runs-table ${rows}`)];
          return found.map((row) => row.cells[place].textContent.trim());
        }""",
        [name, rows],
    )  # fmt: skip


def sort_by(page: Any, name: str) -> str:
    """Choose the heading of a column; what its `aria-sort` is then."""
    head = page.locator(f'#runs-table thead th[data-name="{name}"]')
    head.locator("button").press("Enter")  # a pointer may miss it while charts above are drawn
    return head.get_attribute("aria-sort")
