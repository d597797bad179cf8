"""The documentation site: every page has its place, and nothing is fetched from elsewhere."""

import importlib.util
import re
from pathlib import Path

import pytest

from tests.helpers import ROOT

SPEC = importlib.util.spec_from_file_location("check_site", ROOT / "tools" / "check_site.py")
assert SPEC is not None
assert SPEC.loader is not None
check_site = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(check_site)


def test_every_page_has_a_place_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = re.findall(r"(?:^|[ ])([\w/-]+(?:\.md|/))$", navigation, re.M)
    assert len(named) == len(set(named))
    folders = tuple(each for each in named if each.endswith("/"))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if not page.startswith(folders)} == set(named) - set(folders) - {"index.md"}


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://example.org/a.js"></script>',
        '<script src="//example.org/a.js"></script>',
        '<link rel="stylesheet" href="https://example.org/a.css">',
        '<link rel="preconnect" href="https://example.org">',
        '<img src="http://example.org/a.png">',
        '<img srcset="a.png 1x, https://example.org/a.png 2x">',
        '<div style="background: url(https://example.org/a.png)"></div>',
        "<style>@import 'https://example.org/a.css'; b { color: red }</style>",
        '<svg><image href="https://example.org/a.png"/></svg>',
        '<svg><use xlink:href="https://example.org/a.svg#b"/></svg>',
        '<iframe src="https://example.org/"></iframe>',
    ],
)
def test_what_a_page_fetches_from_elsewhere_is_found(
    page: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.html").write_text(f"<p>Here it is: {page} there.</p>", encoding="utf-8")
    assert check_site.main(tmp_path) == 1
    assert "page.html fetches" in capsys.readouterr().out


def test_links_and_what_the_site_has_itself_are_fine(tmp_path: Path) -> None:
    page = """<a href="https://example.org">there</a> <link rel="canonical" href="https://example.org/page.html">
    <img src="a.png"><img src="data:image/png;base64,AAAA"><script src="/a.js"></script>"""
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    (tmp_path / "a.css").write_text("a { background: url(data:image/png;base64,AAAA) }", encoding="utf-8")
    assert check_site.main(tmp_path) == 0


def test_a_style_sheet_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("@font-face { src: url('https://example.org/a.woff2') }", encoding="utf-8")
    assert check_site.main(tmp_path) == 1


def test_no_site_is_no_success(tmp_path: Path) -> None:
    assert check_site.main(tmp_path) == 1
