"""Pictures of the page for README and docs, of the real thing: `make screenshots`.

The first incident runs with all its bugs; before it ends a real browser looks at it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from tests.e2e._browser import Looking, chromium
from zombiewatch.session import Session, run_lab

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FloatRect

    from zombiewatch.child import Sidecar

FOLDER: Final = Path(__file__).parent.parent / "docs/images"

_AT_S: Final = 42.0
"""So long after its beginning the lab shows most."""


def shoot(browser: Browser, sidecar: Sidecar) -> None:
    """Take all pictures of what *sidecar* shows now."""
    url = sidecar.urls["http"]
    zombies = [
        one
        for one in sidecar.findings()["findings"]
        if one["detector"] == "zombie_task" and one["verdict"] == "confirmed"
    ]
    incident = max(sidecar.incidents(), key=lambda one: len(one["chain"]))
    views = {
        "overview": "/",
        "incident": f"/incidents/{incident['id']}",
        "zombie": f"/findings/{zombies[0]['id']}",
        "timeouts": "/timeouts",
        "sources": "/sources",
    }
    for name, view in views.items():
        seen = Looking(browser, url)
        seen.go(view)
        seen.page.screenshot(path=FOLDER / f"{name}.png", clip=_clip(seen))
        seen.close()
    for name, how in (("dark", {"dark": True}), ("narrow", {"narrow": True})):
        seen = Looking(browser, url, **how)
        seen.go("/")
        seen.page.screenshot(path=FOLDER / f"overview-{name}.png")
        seen.close()
    seen = Looking(browser, url)
    seen.go(f"/tasks/{zombies[0]['task']}")
    seen.page.locator("svg.tl").first.screenshot(path=FOLDER / "timeline.png")
    seen.close()


def _clip(seen: Looking) -> FloatRect:
    """Return the upper part of the page, no longer than what is there."""
    high = seen.page.evaluate("document.documentElement.scrollHeight")
    return {"x": 0, "y": 0, "width": 1280, "height": min(float(high), 900.0)}


def main() -> int:
    """Run the lab, and take the pictures; return the exit status."""
    FOLDER.mkdir(exist_ok=True)
    taken: list[float] = []

    def look(gone: float, sidecar: Sidecar) -> None:
        if gone > _AT_S and not taken:
            taken.append(gone)
            with chromium() as browser:
                shoot(browser, sidecar)

    status = run_lab(Session(lab="bruin", console=Console(stderr=True), each_second=look))
    sys.stdout.write("\n".join(str(one) for one in sorted(FOLDER.glob("*.png"))) + "\n")
    return status or not taken


if __name__ == "__main__":
    sys.exit(main())
