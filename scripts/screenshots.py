"""Pictures of reports for the README: the upper part of each page, 1,280 pixels wide, by the Chromium of this machine.

python scripts/screenshots.py outputs/sweeps/NAME/report.html docs/report_sweep.png
python scripts/screenshots.py outputs/NAME/report.html docs/report_run.png
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

WIDTH = 1280


def screenshot(report: Path, height: int, scheme: str) -> bytes:
    """The upper part of this page as PNG, its charts drawn."""
    browser_file = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser_file is None:
        raise SystemExit("there is no Chromium: none of chromium, chromium-browser and google-chrome is installed")
    with sync_playwright() as started:
        options = ["--no-sandbox"] if os.getuid() == 0 else []
        browser = started.chromium.launch(executable_path=browser_file, args=options)
        page = browser.new_page(viewport={"width": WIDTH, "height": height}, color_scheme=scheme)
        page.goto(report.resolve().as_uri())
        page.locator(".view.live").first.wait_for()
        page.wait_for_timeout(1000)  # for the other charts near the window
        picture = page.screenshot()
        browser.close()
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--height", type=int, default=1000, help="pixels of the page that are shown")
    parser.add_argument("--scheme", choices=("light", "dark"), default="light")
    values = parser.parse_args()
    picture = Image.open(io.BytesIO(screenshot(values.report, values.height, values.scheme))).convert("RGB")
    picture.save(values.out, optimize=True)
    print(f"{values.out}: {values.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
