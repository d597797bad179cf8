"""The swarms of the observatory: that their checks are right, find what is planted, and give the terminal back."""

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest

from cascade.testing import VirtualClock
from observatory.swarms import bottleneck, fireflies, life, memory
from observatory.swarms.__main__ import main
from observatory.swarms.golden import Code, Golden, Grid, judged, next_generation
from observatory.swarms.mailbox import Mailbox, neighbours
from observatory.swarms.picture import ENTER, LEAVE, encoded, shrunk
from observatory.swarms.recording import MOST_FRAMES, Recording
from observatory.swarms.show import Show
from tests.helpers import ROOT
from tests.pictures import tool


def unseen() -> Show:
    return Show(life.palette())


def live(options: life.Options, seed: Grid | None = None) -> life.Outcome:
    return VirtualClock().run(life.run(options, unseen(), seed))


def glow(options: fireflies.Options) -> fireflies.Outcome:
    return VirtualClock().run(fireflies.run(options, unseen()))


def test_a_mailbox_gives_all_that_came_and_nothing_when_nothing_comes_in_time() -> None:
    async def read() -> list[tuple[float, list[str]]]:
        box, clock = Mailbox[str](), asyncio.get_running_loop().time
        for text in "ab":
            asyncio.get_running_loop().call_later(2, box.put, text)
        asyncio.get_running_loop().call_later(20, box.put, "c")
        return [(clock(), await box.take(5)) for _ in range(4)] + [(clock(), box.take_nowait())]

    assert VirtualClock().run(read()) == [(0, ["a", "b"]), (2, []), (7, []), (12, []), (17, [])]


def test_everyone_has_eight_neighbours_who_have_them_too() -> None:
    around = {at: neighbours(at, 4, 3) for at in range(12)}
    assert sorted(around[0]) == [1, 3, 4, 5, 7, 8, 9, 11]
    assert all(len({at, *found}) == 9 and all(at in around[each] for each in found) for at, found in around.items())


# --- the golden model


def grid(*rows: str) -> Grid:
    return np.array([[int(cell == "#") for cell in row] for row in rows], np.uint8)


def by_hand(cells: Grid) -> Grid:
    """Conway's rule, cell by cell."""
    rows, columns = cells.shape
    flat = cells.ravel()
    around = [sum(int(flat[each]) for each in neighbours(at, columns, rows)) for at in range(flat.size)]
    found = [int(count == 3 or (count == 2 and alive)) for count, alive in zip(around, flat, strict=True)]
    return np.array(found, np.uint8).reshape(rows, columns)


def test_the_golden_model_is_conways_rule() -> None:
    draw = np.random.default_rng(7)
    for rows, columns in ((3, 3), (3, 8), (12, 7)):
        cells: Grid = (draw.random((rows, columns)) < 0.4).astype(np.uint8)
        assert (next_generation(cells) == by_hand(cells)).all()


def test_a_glider_comes_back_to_where_it_was() -> None:
    glider = grid(".#......", "..#.....", "###.....", *["........"] * 5)
    moved = glider
    for _ in range(4):
        moved = next_generation(moved)
    assert (moved == np.roll(glider, (1, 1), (0, 1))).all()


def test_a_code_says_what_a_cell_is_and_what_is_wrong_with_it() -> None:
    reported, by_step, by_seed = grid(".#.#.#.#"), grid(".##..#.#"), grid(".##.#.#.")
    # Cells: right twice; a wrong step twice; drift four times.
    assert judged(reported, by_step, by_seed).tolist() == [
        [
            *(Code.DEAD, Code.ALIVE, Code.DEAD_BY_A_WRONG_STEP, Code.ALIVE_BY_A_WRONG_STEP),
            *(Code.DEAD_BY_DRIFT, Code.ALIVE_BY_DRIFT, Code.DEAD_BY_DRIFT, Code.ALIVE_BY_DRIFT),
        ]
    ]


def test_a_planted_block_is_a_wrong_step_once_and_drift_ever_after() -> None:
    cells = np.zeros((12, 12), np.uint8)
    golden = Golden(cells)
    assert not golden.judge(cells).any()
    cells = cells.copy()
    cells[4:6, 4:6] = 1
    assert set(golden.judge(cells)[4:6, 4:6].flat) == {Code.ALIVE_BY_A_WRONG_STEP}
    cells = next_generation(cells)
    assert set(golden.judge(cells)[4:6, 4:6].flat) == {Code.ALIVE_BY_DRIFT}
    assert (golden.wrong_steps, golden.drifted) == (4, 8)


# --- life


def test_every_cell_of_every_generation_is_right() -> None:
    outcome = live(life.Options(side=16, generations=12))
    assert outcome.faults == []
    assert outcome.judged == 16 * 16 * 13
    assert len(outcome.population) == 13


@pytest.mark.parametrize("pace", [0.0, 0.05])
def test_a_blinker_blinks(pace: float) -> None:
    seed = grid("......", "..#...", "..#...", "..#...", "......", "......")
    outcome = live(life.Options(side=6, generations=5, pace=pace), seed)
    assert (outcome.population, outcome.faults) == ([3] * 6, [])


def test_a_planted_wrong_rule_is_one_wrong_step_and_then_drift() -> None:
    codes: list[Grid] = []
    show = unseen()
    show.frame = lambda cells, status, value: codes.append(cells)  # type: ignore[method-assign]
    options = life.Options(side=16, generations=8, plant="rule", plant_at=5)
    outcome = VirtualClock().run(life.run(options, show))
    wrong = [int(np.isin(each, [Code.ALIVE_BY_A_WRONG_STEP, Code.DEAD_BY_A_WRONG_STEP]).sum()) for each in codes]
    assert wrong == [0, 0, 0, 0, 0, 1, 0, 0, 0]
    assert codes[5][8, 8] in (Code.ALIVE_BY_A_WRONG_STEP, Code.DEAD_BY_A_WRONG_STEP)
    assert outcome.wrong_steps == 1
    assert outcome.drifted >= 1
    assert outcome.faults[0] == "Cells that did not follow from the generation before: 1."


def test_a_lost_message_is_told_by_who_misses_it() -> None:
    outcome = live(life.Options(side=12, generations=9, plant="message", plant_at=4))
    assert outcome.faults[0] == (
        "A message was lost: the cell at (6, 6) heard 7 of its 8 neighbours in generation 4, and no more within 10 "
        "seconds."
    )
    assert outcome.judged < 12 * 12 * 10
    assert outcome.wrong_steps == 0


# --- fireflies


def test_the_order_is_1_where_all_agree_and_0_where_they_are_spread() -> None:
    assert fireflies.order(np.full(50, 0.3)) == pytest.approx(1)
    assert fireflies.order(np.arange(50) / 50) == pytest.approx(0)
    assert fireflies.order(np.array([0.3, 0.3, np.nan, np.nan])) == pytest.approx(0.5)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_fireflies_are_in_step_within_ten_periods_and_no_signal_is_lost(seed: int) -> None:
    outcome = glow(fireflies.Options(side=12, seed=seed))
    assert outcome.faults == []
    assert outcome.in_step_after is not None
    assert outcome.in_step_after <= 10
    assert outcome.heard + outcome.deaf_to <= 8 * outcome.flashes


def test_fireflies_that_are_not_nudged_stay_apart() -> None:
    outcome = glow(fireflies.Options(side=12, nudge=0.0, duration=25.0))
    assert outcome.in_step_after is None
    assert outcome.faults == ["In none of its periods was R 0.95 in the mean, within 25 s."]


def test_a_swarm_is_the_same_each_time_by_its_seed() -> None:
    found = [glow(fireflies.Options(side=8, seed=seed)) for seed in (5, 5, 6)]
    assert found[0].flashes == found[1].flashes
    assert found[0].orders == pytest.approx(found[1].orders)
    assert found[0].orders != pytest.approx(found[2].orders)


# --- a bottleneck, and memory


def test_a_limit_is_full_while_somebody_waits_and_passes_all_alike() -> None:
    options = bottleneck.Options(agents=60, places=5, duration=6.0)
    outcome = VirtualClock().run(bottleneck.run(options, Show(bottleneck.palette())))
    assert outcome.faults == []
    assert outcome.most == 5
    assert outcome.blocked >= sum(outcome.works)


def test_a_limit_that_does_not_hold_is_not_used_or_is_not_fair_is_told_of() -> None:
    outcome = bottleneck.Outcome(bottleneck.Options(), works=[1, 7], blocked=3, most=21, mean=12.0)
    bottleneck.judge(outcome)
    assert outcome.faults == [
        "21 worked at once, where 20 may.",
        "Only 12.0 of 20 places were taken while somebody waited.",
        "One worked 1 times, another one 7 times.",
    ]


def test_what_comes_when_all_have_begun_is_growth() -> None:
    outcome = memory.measure(memory.Options(agents=50, generations=40))
    assert outcome.faults == []
    outcome.samples = [10.0, 20, 30, 40, 50, 60, 75, 70]
    assert outcome.grown == 15
    assert "15.0 MB more" in str(outcome)


# --- pictures


def test_cells_of_one_colour_are_painted_at_once() -> None:
    cells = life.palette()[grid("##.")]
    assert encoded(cells) == b"\x1b[48;2;236;239;244m    \x1b[48;2;26;28;36m  \x1b[0m\x1b[K"


def test_a_picture_shrinks_to_what_there_is_room_for() -> None:
    cells = np.zeros((4, 6, 3), np.uint8)
    cells[:2, :2] = 200
    assert shrunk(cells, 4, 6) is cells
    assert shrunk(cells, 3, 9)[..., 0].tolist() == [[200, 0, 0], [0, 0, 0]]
    assert shrunk(cells, 1, 80).shape == (1, 2, 3)


class Terminal:
    """A swarm at a pseudo-terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self.child, self.file = pty.fork()
        if self.child == 0:  # pragma: no cover
            os.chdir(ROOT)
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)  # whoever started the tests may have had them ignored
            os.execv(sys.executable, [sys.executable, "-m", "observatory.swarms", *arguments])
        self.resize(40, 100)
        self.seen = b""

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def until(self, text: bytes) -> None:
        """Read until something is to be seen, of what has not been read yet."""
        start = len(self.seen)
        while text not in self.seen[start:]:
            self.seen += os.read(self.file, 65536)

    @property
    def echoes(self) -> bool:
        """Say whether what is typed is to be seen."""
        return bool(termios.tcgetattr(self.file)[3] & termios.ECHO)

    def end(self) -> int:
        """Read to the end, and return the exit code: that of a signal is below zero."""
        try:
            while more := os.read(self.file, 65536):
                self.seen += more
        except OSError:  # the other end is closed
            pass
        assert self.echoes
        os.close(self.file)
        return os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])


WATCHED = ["life", "--visualize", "--grid-side", "12", "--generations", "100000"]


def test_a_picture_follows_the_size_of_its_terminal_and_gives_it_back_at_control_c() -> None:
    terminal = Terminal(*WATCHED)
    terminal.until(b"generation 3 ")
    assert ENTER in terminal.seen
    assert not terminal.echoes
    assert b"\x1b[48;2;236;239;244m" in terminal.seen
    whole = terminal.seen.rindex(b"\x1b[?2026h")
    assert terminal.seen[whole:].startswith(b"\x1b[?2026h\x1b[14;1H" + b" " * 38)  # in the middle
    terminal.resize(7, 40)
    terminal.until(b"\x1b[?2026h\x1b[2J\x1b[1;1H")  # a smaller picture, on an empty screen
    terminal.until(b"\x1b[?2026l")
    os.write(terminal.file, b"\x03")
    assert terminal.end() == 130
    assert terminal.seen.endswith(LEAVE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_picture_gives_its_terminal_back_when_it_is_told_to_end(number: signal.Signals) -> None:
    terminal = Terminal(*WATCHED)
    terminal.until(b"generation 1 ")
    os.kill(terminal.child, number)
    assert terminal.end() == -number
    assert terminal.seen.endswith(LEAVE)


def test_a_picture_gives_its_terminal_back_while_it_is_stopped() -> None:
    terminal = Terminal(*WATCHED)
    terminal.until(b"generation 1 ")
    os.kill(terminal.child, signal.SIGTSTP)
    os.waitpid(terminal.child, os.WUNTRACED)
    terminal.until(LEAVE)
    assert terminal.seen.endswith(LEAVE)
    os.kill(terminal.child, signal.SIGCONT)
    terminal.until(ENTER)
    os.write(terminal.file, b"\x03")
    assert terminal.end() == 130


def test_what_a_swarm_came_to_is_told_below_its_picture() -> None:
    terminal = Terminal("life", "--visualize", "--grid-side", "8", "--generations", "3", "--pace", "0")
    assert terminal.end() == 0
    assert LEAVE in terminal.seen
    assert b"256 cells judged, 0 wrong steps" in terminal.seen.rpartition(LEAVE)[2]


# --- recordings and the command


def recording(frames: int) -> Recording:
    found = Recording("<Life>", life.palette(), {0: "dead"}, "about", "share")
    for i in range(frames):
        found.add(np.full((3, 4), i % 6, np.uint8), f"frame {i} </script>", i / frames)
    return found


def test_a_recording_is_one_file_of_bounded_size() -> None:
    assert len(recording(MOST_FRAMES)) == MOST_FRAMES
    found = recording(5 * MOST_FRAMES)
    assert MOST_FRAMES // 2 < len(found) <= MOST_FRAMES
    page = found.page()
    assert not re.search(r"https?:|src=|<link|url\(", page)
    assert page.count("</script>") == 2
    assert "<title>&lt;Life&gt;</title>" in page
    with pytest.raises(ValueError, match="no frame"):
        recording(0).page()


def test_a_browser_plays_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "recording.html"
    script = "<script>setTimeout(() => { show(4); document.documentElement.dataset.told = " + (
        'element("status").textContent + brush.getImageData(1, 1, 1, 1).data.join(); }, 1500)</script></body>'
    )
    path.write_text(recording(7).page().replace("</body>", script), encoding="utf-8")
    browser = tool("chromium", "chromium-browser", "google-chrome")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*command, "--virtual-time-budget=4000", "--dump-dom", str(path)], capture_output=True, timeout=55, check=False
    )
    said = dict(re.findall(r'data-(\w+)="([^"]*)"', done.stdout.decode().partition("<head>")[0]))
    assert said == {"frames": "7", "told": "frame 4 &lt;/script&gt;255,196,0,255"}, done.stderr.decode()


def test_make_observatory_checks_both_swarms_and_finds_what_is_planted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--grid-side", "20", "--folder", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "life with a wrong rule: found" in said
    assert "life with a lost message: found" in said
    assert {each.name for each in tmp_path.iterdir()} == {"bottleneck.html", "fireflies.html", "life.html"}


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["life", "--plant", "rule"], "did not follow from the generation before"),
        (["life", "--plant", "message"], "A message was lost"),
        (["fireflies", "--nudge", "0", "--duration", "10"], "In none of its periods"),
    ],
)
def test_a_swarm_that_is_not_as_it_should_be_exits_with_1(
    arguments: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = ["--no-visualize", "--grid-side", "10"]
    assert main([*arguments, *usual, *(["--generations", "8"] if "life" in arguments else [])]) == 1
    assert fault in capsys.readouterr().out
