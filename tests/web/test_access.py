"""Everybody can use it: axe finds nothing to complain of on any screen, in either theme.

axe-core comes with axe-playwright-python and is put into the page by DevTools, which no policy of a
page stops: the page keeps its own policy (Trusted Types, no eval), and is judged under it.
"""

from __future__ import annotations

from importlib import resources

import pytest
from playwright.async_api import Page

from tests.test_demo import given, settings  # noqa: F401
from tests.web.conftest import Visit
from tests.web.screens import House, everywhere, home  # noqa: F401

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
JUDGE = """async (tags) => {
  const found = await axe.run(document, {
    runOnly: tags, resultTypes: ["violations"], rules: { "target-size": { enabled: true } },
  });
  return found.violations.flatMap(({ id, nodes }) => nodes.map((node) =>
    `${id}: ${node.target.join(" ")}: ${node.html.slice(0, 160)}: ${node.failureSummary}`));
}"""

pytestmark = [pytest.mark.timeout(900), pytest.mark.long]


async def judged(page: Page, _: str) -> list[str]:
    """What axe finds wrong on the page as it is now."""
    if not await page.evaluate("() => Boolean(window.axe)"):
        await page.evaluate(AXE)
    found: list[str] = await page.evaluate(JUDGE, TAGS)
    return found


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_axe_finds_nothing_on_any_screen(
    theme: str,
    home: House,  # noqa: F811
    visit: Visit,
) -> None:
    await everywhere(visit, home, judged, color_scheme=theme)
