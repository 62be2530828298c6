"""Takes a picture of every page of the documentation, and fails if something overflows.

    pip install -e '.[docs]' playwright
    scripts/build_docs.sh SITE
    python scripts/look_at_docs.py SITE PICTURES

Each page is shown in Chromium at 1280 and 390 pixels, light and dark. Nothing may be wider than the
page, and no table or code block may be cut off: it must fit, or scroll. Playwright uses Debian's
`chromium` if it is installed, otherwise the one of `playwright install chromium`.
"""

from __future__ import annotations

import functools
import http.server
import shutil
import sys
import threading
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
# Elements that reach beyond the window although no element around them scrolls.
CUT_OFF = """
() => [...document.querySelectorAll(".md-content *")].filter((element) => {
  if (element.getBoundingClientRect().right <= innerWidth + 1 || !element.offsetParent) return false
  for (let outer = element.parentElement; outer; outer = outer.parentElement)
    if (["auto", "scroll"].includes(getComputedStyle(outer).overflowX)) return false
  return getComputedStyle(element).overflowX === "visible"
}).map((element) => `${element.tagName.toLowerCase()}: ${element.textContent.trim().slice(0, 60)}`)
"""


def problems(page: Page) -> list[str]:
    """Returns what is wider than the window."""
    found: list[str] = page.evaluate(CUT_OFF)
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        found.append("the page scrolls sideways")
    return found


def main() -> int:
    """Shows all pages; returns 1 if something overflows."""
    site, pictures = map(Path, sys.argv[1:])
    handler = functools.partial(QuietHandler, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    paths = [path.relative_to(site).parent for path in sorted(site.rglob("index.html"))]
    failed = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for width in WIDTHS:
            for scheme in SCHEMES:
                context = browser.new_context(
                    viewport={"width": width, "height": 900}, color_scheme=scheme
                )
                page = context.new_page()
                for path in paths:
                    page.goto(f"http://127.0.0.1:{server.server_port}/{path.as_posix()}/")
                    if scheme == SCHEMES[0]:
                        for problem in problems(page):
                            print(f"{path} at {width} pixels: {problem}")
                            failed = 1
                    picture = pictures / f"{width}-{scheme}" / f"{path.as_posix()}.png"
                    picture.parent.mkdir(parents=True, exist_ok=True)
                    page.screenshot(path=picture, full_page=True)
                context.close()
        browser.close()
    server.shutdown()
    return failed


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves the site without a line per request."""

    def log_message(self, *_arguments: object) -> None:
        """Writes nothing."""


if __name__ == "__main__":
    sys.exit(main())
