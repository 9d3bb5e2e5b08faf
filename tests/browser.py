"""Headless Chromium for tests of pages; they skip where it or its driver is missing."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NEEDS_BROWSER

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser."""
    program = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if program is None or importlib.util.find_spec("playwright") is None:
        pytest.skip(NEEDS_BROWSER)
    driver = importlib.import_module("playwright.sync_api")  # in a group of its own, so type checkers do without it
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A page that is open, and what went wrong on it."""

    def __init__(self, browser: Any, path: Path, **context: Any) -> None:
        self.complaints: list[str] = []
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, **context)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        self.page.on("request", self._note)
        self.address = path.resolve().as_uri()
        self.page.goto(self.address)
        self.page.wait_for_load_state("networkidle")

    def _note(self, request: Any) -> None:
        if request.url != self.address and not request.url.startswith("data:"):
            self.complaints.append(f"request: {request.url}")

    def faults(self) -> list[str]:
        """What axe-core finds that shuts people out."""
        package = importlib.util.find_spec("axe_playwright_python")
        assert package and package.origin
        self.page.evaluate(Path(package.origin).with_name("axe.min.js").read_text(encoding="utf-8"))
        violations = self.page.evaluate("axe.run()")["violations"]
        return [
            f"{rule['id']}: {rule['help']}: {[node['target'] for node in rule['nodes']][:3]}"
            for rule in violations
            if rule["impact"] in ("serious", "critical")
        ]
