"""Commands in real shells: what they give, how they fail, and that nothing of them is left."""

import asyncio
import os
import sys
import traceback
from pathlib import Path
from subprocess import CalledProcessError

import pytest

import cascade as cs
from cascade.providers import shell as shell_module
from cascade.providers.shell import ShellResult
from cascade.runtime import Engine
from tests.providers.servers import Tether
from tests.workflows import Tier, every_tier, in_loop, notes_of, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it needs /bin/sh")

TREE = "exec 3>{path}; sleep 1000 & sh -c 'sleep 1000; true' & echo begun >&3; wait"
"""A shell with children and a grandchild, all of which hold the tether."""


@every_tier
def test_it_gives_what_the_command_wrote(tier: Tier) -> None:
    result = run(cs.shell("echo out; echo err >&2"), tier=tier)
    assert result == ShellResult("echo out; echo err >&2", 0, "out\n", "err\n")
    assert str(result) == "out"


@every_tier
def test_its_result_feeds_other_tasks_and_its_arguments_may_be_lazy(tier: Tier) -> None:
    name = cs.task(lambda: "a b; $(exit 3)")()
    assert run(cs.task(str)(cs.shell(["printf", "%s", name])), tier=tier) == "a b; $(exit 3)"


def test_a_list_is_read_by_no_shell() -> None:
    assert run(cs.shell(["echo", "$HOME", ";", "*"])).stdout == "$HOME ; *\n"


def test_env_adds_to_the_environment_and_cwd_is_where_it_runs(tmp_path: Path) -> None:
    result = run(cs.shell('echo "$GREETING $PWD"; test -n "$PATH"', env={"GREETING": "hi"}, cwd=tmp_path))
    assert result.stdout == f"hi {tmp_path}\n"
    assert "GREETING" not in os.environ


def test_it_reads_nothing() -> None:
    assert run(cs.shell("cat")).stdout == ""


def test_much_output_and_bytes_that_are_no_text_are_fine() -> None:
    result = run(cs.shell("head -c 300000 /dev/zero | tr '\\0' x; printf '\\377'"))
    assert result.stdout == "x" * 300_000 + "\ufffd"


@every_tier
def test_a_status_other_than_0_is_a_failure(tier: Tier) -> None:
    step = cs.shell("echo so far; echo no such luck >&2; exit 3")
    with pytest.raises(CalledProcessError) as caught:
        run(step, tier=tier)
    assert (caught.value.returncode, caught.value.output, caught.value.stderr) == (3, "so far\n", "no such luck\n")
    notes = notes_of(caught.value)
    assert "stderr: no such luck" in notes
    assert any(f"{__file__}:{test_a_status_other_than_0_is_a_failure.__code__.co_firstlineno + 2}" in n for n in notes)


def test_unless_nobody_checks() -> None:
    assert run(cs.shell("exit 3", check=False)).returncode == 3


def test_a_status_can_be_tried_again(tmp_path: Path) -> None:
    step = cs.shell("echo x >> tries; test $(wc -l < tries) = 3", cwd=tmp_path).with_retry(3)
    assert run(step).returncode == 0


@pytest.mark.parametrize(
    ("command", "error"), [("  ", ValueError), ([], TypeError), (["ls", 1], TypeError), (7, TypeError)]
)
def test_what_is_no_command_is_refused(command: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"cs\.shell"):
        run(cs.shell(command))


def test_a_program_or_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run(cs.shell(["no-such-program-anywhere"]))
    with pytest.raises(FileNotFoundError):
        run(cs.shell("true", cwd=tmp_path / "nowhere"))


@every_tier
def test_when_its_time_is_up_all_of_it_is_gone(tmp_path: Path, tier: Tier) -> None:
    tether = Tether(tmp_path)

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            going = engine.start(cs.shell(TREE.format(path=tether.path), timeout=0.5))
            assert await tether.begun() == "begun\n"
            with pytest.raises(TimeoutError, match=r"took longer than 0\.5 seconds"):
                await going
            assert await tether.gone() == ""

    in_loop(main)


@every_tier
def test_cancelled_in_the_middle_all_of_it_is_gone(tmp_path: Path, tier: Tier) -> None:
    tether = Tether(tmp_path)

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            going = engine.start(cs.shell(TREE.format(path=tether.path)))
            await tether.begun()
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going
            assert await tether.gone() == ""

    in_loop(main)


def test_the_timeout_of_the_node_ends_it_too(tmp_path: Path) -> None:
    tether = Tether(tmp_path)

    async def main() -> None:
        async with Engine() as engine:
            going = engine.start(cs.shell(TREE.format(path=tether.path)).with_timeout(0.5))
            await tether.begun()
            with pytest.raises(TimeoutError):
                await going
            assert await tether.gone() == ""

    in_loop(main)


def test_what_does_not_listen_to_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell_module, "GRACE", 0.1)
    tether = Tether(tmp_path)
    stubborn = f"trap '' TERM; exec 3>{tether.path}; echo begun >&3; while true; do sleep 1000; done"

    async def main() -> None:
        async with Engine() as engine:
            going = engine.start(cs.shell(stubborn))
            await tether.begun()
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going
            assert await tether.gone() == ""

    in_loop(main)


def test_one_that_listens_may_tidy_up(tmp_path: Path) -> None:
    tether = Tether(tmp_path)
    tidy = f"exec 3>{tether.path}; trap 'echo tidied >&3; exit' TERM; echo begun >&3; sleep 1000 & wait"

    async def main() -> None:
        async with Engine() as engine:
            going = engine.start(cs.shell(tidy))
            await tether.begun()
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going
            assert await tether.gone() == "tidied\n"

    in_loop(main)


def test_cancelled_at_any_turn_of_its_start_nothing_is_left(tmp_path: Path) -> None:
    async def main() -> None:
        for turn in range(12):
            folder = tmp_path / str(turn)
            folder.mkdir()
            tether = Tether(folder)
            reader = os.open(tether.path, os.O_RDONLY | os.O_NONBLOCK)
            async with Engine() as engine:
                going = engine.start(cs.shell(TREE.format(path=tether.path)))
                for _ in range(turn):
                    await asyncio.sleep(0)
                going.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await going
            os.set_blocking(reader, True)
            assert await asyncio.to_thread(_drain, reader) in (b"", b"begun\n")

    in_loop(main)


def _drain(reader: int) -> bytes:
    with open(reader, "rb") as file:
        return file.read()


def test_what_outlives_its_shell_is_gone_as_well(tmp_path: Path) -> None:
    tether = Tether(tmp_path)
    leaves = f"exec 3>{tether.path}; sleep 1000 & echo begun >&3; exit 0"  # and the child holds stdout

    async def main() -> None:
        async with Engine() as engine:
            going = engine.start(cs.shell(leaves))
            await tether.begun()
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going
            assert await tether.gone() == ""

    in_loop(main)


def test_it_runs_where_a_loop_runs_already() -> None:
    async def cell() -> str:
        return str(cs.run(cs.shell("echo hello"), log_level="SILENT"))  # in a loop of a helper thread

    assert asyncio.run(cell()) == "hello"


def test_passwords_of_urls_are_in_no_message() -> None:
    url = "http://me:s3cret@x/"
    for command in (f"echo fatal: {url} >&2; exit 3", ["sh", "-c", 'echo "fatal: $0" >&2; exit 3', url]):
        with pytest.raises(CalledProcessError) as caught:
            run(cs.shell(command))
        told = "".join(traceback.format_exception_only(caught.value))
        assert "http://me:***@x/" in told
        assert "s3cret" not in told
    done = run(cs.shell(["echo", url]))
    assert done.command == ("echo", url)
    assert "'http://me:***@x/'" in repr(done)


@every_tier
def test_what_goes_on_in_the_background_with_the_output_is_not_waited_for(
    tier: Tier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shell_module, "LINGER", 0.05)
    done = tmp_path / "done"
    command = f"(while ! test -e {done}; do sleep 0.01; done) & echo out; echo err >&2; exit 3"
    try:
        result = run(cs.shell(command, check=False, timeout=40), tier=tier)
    finally:
        done.touch()
    assert (result.returncode, result.stdout, result.stderr) == (3, "out\n", "err\n")
    (record,) = caplog.records
    assert "send that elsewhere: 'server > server.log 2>&1 &'" in record.getMessage()


def test_what_comes_just_after_the_end_is_read(caplog: pytest.LogCaptureFixture) -> None:
    assert run(cs.shell("(sleep 0.05; echo late) & echo soon")).stdout == "soon\nlate\n"
    assert not caplog.records


def test_what_has_its_output_elsewhere_is_not_asked_for(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    done = tmp_path / "done"
    try:
        run(cs.shell(f"(while ! test -e {done}; do sleep 0.01; done) > {tmp_path}/log 2>&1 & echo on"))
    finally:
        done.touch()
    assert not caplog.records


def test_a_command_that_closes_its_output_is_waited_for() -> None:
    assert run(cs.shell("exec >&- 2>&-; sleep 0.05; exit 4", check=False)).returncode == 4
