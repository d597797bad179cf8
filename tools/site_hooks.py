"""What the site has beyond docs/: a first page out of README.md, and a page for each file in examples/."""

import ast
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put every page of a folder into the navigation where that names the folder."""
    pages = {"decisions/": sorted((ROOT / "docs" / "decisions").glob("*.md")), "examples/": examples()}
    for section in config.nav or []:
        for title, items in section.items():
            if isinstance(items, list):
                section[title] = [each for item in items for each in _expanded(item, pages)]
    return config


def _expanded(item: object, pages: dict[str, list[Path]]) -> list[object]:
    if isinstance(item, str) and item in pages:
        return [{_title(path): f"{item}{path.stem}.md"} for path in pages[item]]
    if isinstance(item, dict):
        return [
            {
                title: _expanded(each, pages) if isinstance(each, str) and each in pages else each
                for title, each in item.items()
            }
        ]
    return [item]


def _title(path: Path) -> str:
    return path.name if path.suffix == ".py" else path.read_text(encoding="utf-8").partition("\n")[0].strip("# ")


def examples() -> list[Path]:
    """The files of examples/."""
    return sorted((ROOT / "examples").glob("*.py"))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that docs/ does not have as files."""
    files.append(File.generated(config, "index.md", content=front_page()))
    for path in examples():
        files.append(File.generated(config, f"examples/{path.stem}.md", content=example_page(path)))
    return files


def front_page() -> str:
    """README.md without what is for those who work on it, the links leading into the site."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Working on it\n")[0]
    text = re.sub(r"The pages below are also a site, .*?\n\n", "", text, flags=re.S)
    text = text.replace("[中文](README.zh-CN.md)\n\n", "")
    text = re.sub(r"\]\(docs/decisions/?\)", "](decisions/the-ticker.md)", text)
    text = text.replace("](docs/", "](").replace("](examples/", "](../examples/")
    return text


def example_page(path: Path) -> str:
    """The docstring as text, and the code below it."""
    source = path.read_text(encoding="utf-8")
    module = ast.parse(source)
    code = "".join(source.splitlines(keepends=True)[module.body[0].end_lineno :]).lstrip("\n")
    return f"# {path.name}\n\n{ast.get_docstring(module)}\n\n```python\n{code}```\n"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to files of examples/ to their pages, and put the figures where they belong."""
    up = posixpath.dirname(page.file.src_uri)
    markdown = re.sub(
        r"\]\((?:\.\./)+examples/(\w+)\.py\)",
        lambda match: f"]({posixpath.relpath(f'examples/{match[1]}.md', up or '.')})",
        markdown,
    )
    return markdown
