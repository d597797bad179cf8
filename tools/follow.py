"""Say which English page a Chinese one follows: python tools/follow.py docs/zh/tutorial.md [...]

Its first line names the English page and a digest of it, which tests/test_docs.py compares. Run this when the Chinese
page says what the English one says now. With --behind it says instead, where readers see it, that it does not yet.
"""

import hashlib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "zh"
NOTICE = '!!! warning "本页落后于英文版"\n    英文版已经更新，本页还没有跟上。请以[英文版]({link})为准。\n\n'
FOLLOWS = re.compile(r"<!-- follows: (?P<page>\S+) (?P<digest>[0-9a-f]{16}) -->\n\n")


def digest(page: Path) -> str:
    """Return what tells one version of a page from another."""
    return hashlib.sha256(page.read_bytes()).hexdigest()[:16]


def english(page: Path) -> Path:
    """Return the page that a Chinese one follows."""
    return ROOT / "docs" / page.relative_to(FOLDER)


def notice(page: Path) -> str:
    """Return what a page says that is behind."""
    return NOTICE.format(link="../" * len(page.relative_to(FOLDER).parts) + str(page.relative_to(FOLDER)))


def is_in_step(page: Path) -> bool:
    """Say whether a page follows the English one as it is now, or says that it does not."""
    text = page.read_text(encoding="utf-8")
    found = FOLLOWS.match(text)
    if found is None or found["page"] != page.relative_to(FOLDER).as_posix():
        return False
    return found["digest"] == digest(english(page)) or notice(page) in text


def follow(page: Path, behind: bool = False) -> None:
    """Write the first line of a page, and its notice if it is behind."""
    text = page.read_text(encoding="utf-8")
    text = FOLLOWS.sub("", text, count=1).replace(notice(page), "")
    title, _, rest = text.partition("\n\n")
    first = f"<!-- follows: {page.relative_to(FOLDER).as_posix()} {digest(english(page))} -->\n\n"
    page.write_text(f"{first}{title}\n\n{notice(page) if behind else ''}{rest}", encoding="utf-8")


if __name__ == "__main__":
    for each in [Path(given).resolve() for given in sys.argv[1:] if given != "--behind"]:
        follow(each, "--behind" in sys.argv)
