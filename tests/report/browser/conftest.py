"""Pages in the Chromium of this machine, and what of them is looked at."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]  # for looking, invented, planted

from invented import sweep_of  # noqa: E402
from looking import Look  # noqa: E402


@pytest.fixture(scope="module")  # no longer: while it is there, this thread runs a loop and asyncio.run refuses
def chromium() -> Iterator[object]:
    """A browser for all tests of a module."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"needs a browser: none of {', '.join(names)} is installed")
    is_root = hasattr(os, "getuid") and os.getuid() == 0  # whom Chromium's sandbox does not serve
    with api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=["--no-sandbox"] if is_root else [])
        yield browser
        browser.close()


@pytest.fixture
def look(chromium) -> Iterator[Look]:
    """Open a page: `look(file, width=400, color_scheme="dark")`. None may complain, nor ask for anything."""
    looking = Look(chromium)
    yield looking
    looking.close()
    assert not looking.complaints
    assert not looking.requests


@pytest.fixture(scope="session")
def sweep_page(tmp_path_factory) -> Path:
    """The report of a sweep that never took place: 24 runs, one of which has failed; two have drawn pictures."""
    return sweep_of(tmp_path_factory.mktemp("made-up"))
