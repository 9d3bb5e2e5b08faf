"""Screenshots of a report, light and dark: `python docs/figures/report.py REPORT.html FOLDER`; needs a browser."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SIZE = (1240, 1400)
WIDTH = 1240
"""Pixels of the pictures."""


def save(screenshot: bytes, path: Path) -> None:
    """As WebP."""
    picture = Image.open(io.BytesIO(screenshot)).convert("RGB")
    picture.thumbnail((WIDTH, 2 * WIDTH))
    picture.save(path, "WEBP", quality=82, method=6)


def main(report: Path, folder: Path) -> None:
    """The head and the pictures in light mode, the errors of a picture in dark mode."""
    program = next(path for name in PROGRAMS if (path := shutil.which(name)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            context = browser.new_context(viewport={"width": SIZE[0], "height": SIZE[1]}, color_scheme=scheme)
            page = context.new_page()
            page.goto(report.resolve().as_uri())
            page.wait_for_selector("#segments button")
            if scheme == "light":
                save(page.screenshot(), folder / "report.webp")
                continue
            page.locator("#slider").fill("255")
            page.locator("#slider").blur()
            save(page.locator("#viewer").screenshot(), folder / "report_errors.webp")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
