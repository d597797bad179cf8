"""The READMEs: their image is of the program that stands there, and the two say the same."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT

pytest.importorskip("rich")

DRAW = """
import sys
sys.path.insert(0, "tools")
import draw_readme
sys.stdout.write(draw_readme.image_of(sys.argv[1]))
"""
PAGES = {"README.md": "readme.svg", "README.zh-CN.md": "readme.zh.svg"}


def standing(image: str) -> list[str]:
    """What is written in an image, but for the look at the display, which depends on the moment, and for times."""
    texts = re.findall(r"<text(?! class=.live).*?</text>", image)
    return [re.sub(r"\d+\.\d+ s\b|(?<=\by=)\".*?\"", "", each) for each in texts]


@pytest.mark.parametrize("page", PAGES)
def test_the_image_is_of_the_program_that_stands_there(page: str) -> None:
    drawn = subprocess.run(
        [sys.executable, "-c", DRAW, page], cwd=ROOT, capture_output=True, text=True, timeout=50, check=True
    ).stdout
    kept = (ROOT / "docs" / "assets" / PAGES[page]).read_text(encoding="utf-8")
    text = (ROOT / page).read_text(encoding="utf-8")
    assert f"](docs/assets/{PAGES[page]})" in text
    assert standing(drawn) == standing(kept), "python tools/draw_readme.py draws it anew"
    assert "temperature#1 " in "".join(re.findall(r'<text class="live".*', kept))


def test_the_two_have_the_same_parts() -> None:
    one, other = ((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    for pattern in (r"^#+ ", r"^```python$", r"^\| ", r"^- ", r"\]\((docs/(?!assets)[^)]*)\)", r"^<!-- .*"):
        found = [re.findall(pattern, text.replace("](docs/zh/", "](docs/"), re.M) for text in (one, other)]
        assert found[0] == found[1], pattern


def test_every_file_that_is_linked_is_there() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text(encoding="utf-8")):
            assert Path(ROOT, link).exists(), f"{page}: {link}"
