"""A real Chromium, and how a test looks at the page with it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from playwright.sync_api import expect, sync_playwright

from tests.needs import need

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Dialog, Page

expect.set_options(timeout=30_000)  # other things run on this machine, too

_QUIET: Final = (
    # as root there is no sandbox; and it is to speak to nobody but us
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

SHOTS: Final = Path(__file__).parents[2] / "build/screenshots"

WIDE: Final = {"width": 1280, "height": 900}
NARROW: Final = {"width": 360, "height": 740}


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a browser."""
    command = need("chromium", "apt-get install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=command, args=list(_QUIET))
        yield browser
        browser.close()


class Looking:
    """One page, and everything in it that must not be: errors, and what it asks of others."""

    def __init__(
        self, browser: Browser, url: str, *, dark: bool = False, narrow: bool = False
    ) -> None:
        self.url = url
        self.troubles: list[str] = []
        context = browser.new_context(
            viewport=NARROW if narrow else WIDE,  # type: ignore[arg-type]
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        self.page: Page = context.new_page()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("dialog", self._interrupted)
        self.page.on("request", self._asked)

    def go(self, path: str) -> Page:
        """Open *path*, and return the page."""
        self.page.goto(self.url + path)
        return self.page

    def shot(self, name: str) -> None:
        """Keep a picture of the whole page, for people to look at after the tests."""
        self.page.screenshot(path=SHOTS / f"{name}.png", full_page=True)

    def close(self) -> None:
        self.page.context.close()

    def _heard(self, message: object) -> None:
        kind, text = getattr(message, "type", ""), getattr(message, "text", "")
        if kind in {"error", "warning"}:
            self.troubles.append(f"{kind}: {text}")

    def _interrupted(self, dialog: Dialog) -> None:
        self.troubles.append(dialog.message)
        dialog.dismiss()

    def _asked(self, request: object) -> None:
        url = str(getattr(request, "url", ""))
        if not url.startswith((self.url, "data:")):
            self.troubles.append(f"asks {url}")
