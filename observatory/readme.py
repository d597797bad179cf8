"""Puts what a command printed into both READMEs, between the comments that name the command."""

import re
from pathlib import Path

__all__ = ["PAGES", "ROOT", "put"]

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "README.zh-CN.md")


def put(command: str, printed: str, root: Path = ROOT) -> None:
    """Replace the command's block in each page.

    Raises:
        ValueError: a page has no such block, or several.
    """
    begin, end = f"<!-- output of: {command} -->\n", "<!-- end of output -->"
    block = f"{begin}```\n{printed.strip()}\n```\n{end}"
    pattern = re.escape(begin) + ".*?" + re.escape(end)
    for name in PAGES:
        page = root / name
        text, found = re.subn(pattern, lambda _: block, page.read_text(encoding="utf-8"), flags=re.S)
        if found != 1:
            raise ValueError(f"{name} has {found} blocks for the output of {command}; it needs one")
        page.write_text(text, encoding="utf-8")
