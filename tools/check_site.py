"""Fails when the built site would fetch something from elsewhere. Links that a reader may follow are no fetches."""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

ELSEWHERE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:)?//", re.I)
STYLES = re.compile(r"""(?:url\(|@import)\s*["']?([^"')\s;]+)""", re.I)
NO_FETCH = {"canonical", "next", "prev", "alternate", "license", "author"}  # rel of <link> that is only told


class Fetches(HTMLParser):
    """Collects what a page fetches by itself: everything but the targets of <a> and <form>."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at each attribute that names something to load."""
        given = {name: value or "" for name, value in attrs}
        self.in_style = tag == "style"
        for name in ("src", "poster", "data", "xlink:href"):
            self.found.append(given.get(name, ""))
        if tag in ("image", "use") or (tag == "link" and given.get("rel") not in NO_FETCH):
            self.found.append(given.get("href", ""))
        self.found += [part.split()[0] for part in given.get("srcset", "").split(",") if part.strip()]
        self.found += STYLES.findall(given.get("style", ""))

    def handle_endtag(self, tag: str) -> None:
        """A style sheet ends."""
        self.in_style = False

    def handle_data(self, data: str) -> None:
        """Look into style sheets within the page."""
        if self.in_style:
            self.found += STYLES.findall(data)


def fetched_from_elsewhere(path: Path) -> list[str]:
    """The addresses outside of the site that a page, picture or style sheet loads."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".css":
        found = STYLES.findall(text)
    else:
        page = Fetches()
        page.feed(text)
        found = page.found
    return sorted({each for each in found if ELSEWHERE.match(each) and not each.startswith("data:")})


def main(site: Path) -> int:
    """Print what is fetched from elsewhere, and by which page."""
    files = [path for path in sorted(site.rglob("*")) if path.suffix in (".html", ".css", ".svg")]
    wrong = [f"{path.relative_to(site)} fetches {each}" for path in files for each in fetched_from_elsewhere(path)]
    print("\n".join(wrong or [f"{len(files)} pages, pictures and style sheets fetch nothing from elsewhere."]))
    return bool(wrong) or not files


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
