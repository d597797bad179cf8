"""Build and release a Python program: tests and checks side by side, then an archive, then a tag.

    python examples/release.py --project PATH --version 1.2.0              # builds and stops there
    python examples/release.py --project PATH --version 1.2.0 --publish    # publishes and tags, too

    pip install 'cascade-py[cli]'

Every step is a command. The first that fails ends the others, children and all, and nothing is published. Publishing
is tried again; the tag comes last, so a tag means that all went well.
"""

import hashlib
import sys
from pathlib import Path

import cascade as cs


@cs.task
def place_for(project: str, version: str) -> Path:
    path = Path(project).resolve() / "dist" / f"app-{version}.pyz"
    path.parent.mkdir(exist_ok=True)
    return path


@cs.task
def checksum(path: Path) -> str:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".sha256").write_text(f"{digest}  {path.name}\n")
    return digest


@cs.task
def tag_of(version: str) -> str:
    return f"v{version}"


@cs.task
def told(path: Path, digest: str, end: str) -> str:
    return f"{path.name} {digest[:12]} {end}"


def release() -> cs.LazyResult[str]:
    project = cs.Param("project", default=".", description="the program's folder: a git repository with app/ and tests")
    version = cs.Param("version", type=str)
    target = cs.Param("target", default="releases", description="the folder to publish into")

    def step(name: str, *words: object) -> cs.LazyResult[object]:
        return cs.shell(list(words), cwd=project).named(name)

    clean = step("clean", "git", "diff", "--exit-code", "--stat", "HEAD")
    tests = step("tests", sys.executable, "-m", "unittest", "discover", "-q").with_timeout(600)
    compiles = step("compiles", sys.executable, "-m", "compileall", "-q", "app")

    path = place_for(project, version)
    build = step("build", sys.executable, "-m", "zipapp", "app", "-o", path).after(clean, tests, compiles)
    digest = checksum(path).after(build)

    upload = step("upload", "cp", path, target).after(digest).with_retry(max_attempts=3, delay=1.0)
    tag = tag_of(version).after(step("tag", "git", "tag", tag_of(version)).after(upload))
    publish = cs.Param("publish", default=False, description="publish and tag as well")
    return told(path, digest, cs.Router(publish, {True: tag, False: "(not published)"}))


if __name__ == "__main__":
    cs.cli(release())
