"""Every file of examples/ runs, does what it says, and has a place in the documentation."""

import asyncio
import contextlib
import http.client
import importlib.util
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import cascade as cs
from cascade.spec.events import RunFinished
from cascade.testing import SpySubscriber
from tests.helpers import ROOT, invoke_cascade

EXAMPLES = ROOT / "examples"


def run_example(name: str, *arguments: str, cwd: Path, typed: str = "") -> tuple[str, str]:
    """Run a file as its docstring says, and give what it wrote to stdout and to stderr."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *arguments],
        cwd=cwd,
        input=typed,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@contextlib.contextmanager
def started(*arguments: str) -> Iterator[Iterator[str]]:
    """Start `cascade` here; give the lines that it prints, and `kill -9` it at the end of the `with` block."""
    command = [sys.executable, "-W", "error", "-m", "cascade", *arguments, "--durability", "each"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield iter(process.stdout)
        finally:
            process.kill()


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a file of examples/ anew."""
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


def test_each_has_a_docstring_a_test_and_a_place_on_the_page() -> None:
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    tests = Path(__file__).read_text(encoding="utf-8") + (ROOT / "tests" / "test_docs.py").read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert path.read_text(encoding="utf-8").startswith('"""'), path
        assert f"(../examples/{path.name})" in page, path
        assert f'"{path.stem}"' in tests or f"examples/{path.name}" in tests or f".{path.stem}." in tests, path


def test_cs_check_finds_nothing_in_them(example: Any, tmp_path: Path) -> None:
    targets = [
        example("etl").flow("http://127.0.0.1", [], tmp_path),
        example("long_import").flow("2026-11-27", tmp_path),
        example("release").release(),
        example("approved_release").release(),
        example("long_lived_agent").agent(),
        example("agent").agent("Hello?", "http://127.0.0.1"),
        example("debate").debate("Why?", "http://127.0.0.1"),
        example("crew").crew("http://127.0.0.1"),
        example("chat").flow("http://127.0.0.1"),
        example("sweep").sweep,
        example("web").flow,
    ]
    assert [str(finding) for target in targets for finding in cs.check(target)] == []


class TestEtl:
    def test_a_busy_api_is_asked_again_and_a_second_run_asks_for_nothing(self, tmp_path: Path) -> None:
        printed, said = run_example("etl", cwd=tmp_path)
        assert printed.splitlines() == ["14 rows", "North       843.50", "South       350.00"]
        assert said.count("answered 503: busy; again in 0.1 s") == 4
        again, said = run_example("etl", cwd=tmp_path)
        assert again == printed  # loading a day twice leaves it there once
        assert "503" not in said

    def test_a_day_that_is_not_there_fails_at_once(self, example: Any, tmp_path: Path) -> None:
        etl = example("etl")
        with etl.stand_ins.sales() as api, pytest.raises(cs.http.HttpStatusError, match="404"):
            cs.run(etl.flow(api, ["2026-03-xx"], tmp_path), log_level="SILENT")
        assert etl.stand_ins.asked == {"2026-03-xx": 1}


class TestNotify:
    def test_a_failure_is_told_once_after_the_last_attempt(self, tmp_path: Path) -> None:
        printed, said = run_example("notify", cwd=tmp_path)
        lines = printed.splitlines()
        assert lines[0] == "with what can be charged: 2 charged"
        assert [line for line in lines if "@finance charge could not be done" in line] == lines[2:4]
        assert lines[4].startswith("chat: run ")
        assert "ConnectionError: the bank does not answer" in lines[4]
        assert "ItemsSkipped" in said

    def test_a_chat_that_does_not_answer_harms_nothing(self, example: Any, capsys: pytest.CaptureFixture[str]) -> None:
        notify = example("notify")
        notify.webhook = "http://127.0.0.1:9"
        assert cs.run(notify.nightly("skip"), on_failure=notify.tell) == "2 charged"
        assert "HookFailed" in capsys.readouterr().err


class TestLongImport:
    def test_it_is_killed_and_goes_on(self, tmp_path: Path) -> None:
        command = [sys.executable, "-W", "error", str(EXAMPLES / "long_import.py")]
        with subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            before = []
            for line in process.stdout:  # to its end, if the program dies early
                before.append(line.strip())
                if line == "page 7\n":
                    break
            process.kill()
            assert before[-1:] == ["page 7"]
            before += process.stdout.read().splitlines()
        printed, _ = run_example("long_import", cwd=tmp_path)
        assert printed.splitlines()[-1] == "155 rows on 40 pages"
        twice = [line for line in printed.splitlines() if line in before]
        assert len(twice) <= 1  # the page that was being imported


class TestRelease:
    @pytest.fixture
    def project(self, tmp_path: Path) -> Path:
        folder = tmp_path / "project"
        (folder / "app").mkdir(parents=True)
        (folder / "app" / "__main__.py").write_text('print("hello")\n')
        (folder / "test_app.py").write_text(
            "import unittest\n\n\nclass Test(unittest.TestCase):\n    def test_it(self):\n        assert True\n"
        )
        (folder / ".gitignore").write_text("dist/\n__pycache__/\n")
        me = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        for words in (["init", "-q"], ["add", "-A"], [*me, "commit", "-qm", "Begin"]):
            subprocess.run(["git", *words], cwd=folder, check=True)
        return folder

    def tags(self, project: Path) -> str:
        return subprocess.run(["git", "tag"], cwd=project, check=True, capture_output=True, text=True).stdout

    def test_it_builds_and_publishes_only_when_asked_to(self, project: Path, tmp_path: Path) -> None:
        arguments = ["--project", str(project), "--target", str(tmp_path), "--version", "1.2.0"]
        printed, _ = run_example("release", *arguments, cwd=tmp_path)
        assert printed.startswith("app-1.2.0.pyz ")
        assert printed.endswith("(not published)\n")
        assert self.tags(project) == ""
        assert not (tmp_path / "app-1.2.0.pyz").exists()

        printed, _ = run_example("release", *arguments, "--publish", cwd=tmp_path)
        assert printed.endswith(" v1.2.0\n")
        assert self.tags(project) == "v1.2.0\n"
        ran = subprocess.run([sys.executable, tmp_path / "app-1.2.0.pyz"], capture_output=True, text=True, check=True)
        assert ran.stdout == "hello\n"

    def test_a_failing_test_releases_nothing(self, example: Any, project: Path, tmp_path: Path) -> None:
        release = example("release")
        (project / "test_app.py").write_text("raise SystemExit('broken')\n")
        subprocess.run(["git", "-c", "user.name=me", "-c", "user.email=a@b.c", "commit", "-qam", "Break"], cwd=project)
        params = {"project": str(project), "target": str(tmp_path), "version": "2.0.0", "publish": True}
        with pytest.raises(subprocess.CalledProcessError, match="unittest") as failure:
            cs.run(release.release(), params, log_level="SILENT")
        assert any("broken" in note for note in failure.value.__notes__)
        assert self.tags(project) == ""
        assert not (project / "dist" / "app-2.0.0.pyz").exists()


class TestApprovedRelease:
    def test_it_is_killed_while_it_uploads_and_nothing_is_there_twice(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "app").mkdir()
        (tmp_path / "app" / "app.py").write_text("print('hello')\n")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("CASCADE_STATE", "runs.db")
        monkeypatch.setenv("INDEX_SECONDS", "3600")
        program = str(EXAMPLES / "approved_release.py")
        with started("run", program, "--run-id", "r", "--version", "1.2.0", "--project", "app") as lines:
            assert any("waits for" in line for line in lines)
            assert invoke_cascade("signal", "r", "approved", '{"by": "Ada"}')[0] == 0
            assert any("the index has app-1.2.0-" in line for line in lines)

        monkeypatch.setenv("INDEX_SECONDS", "0")
        code, printed, said = invoke_cascade("resume-run", "r")
        assert code == 0, said
        assert "packs" not in printed
        assert printed.splitlines()[-1].startswith("1.2.0: app-1.2.0-linux.zip (")
        assert "(was there already)" in printed
        with contextlib.closing(sqlite3.connect("build/approved_release/index.db")) as index:
            assert sorted(index.execute("SELECT file FROM uploads")) == [
                ("app-1.2.0-linux.zip",),
                ("app-1.2.0-macos.zip",),
            ]

    def test_a_no_uploads_nothing(self, example: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "app").mkdir()
        params = {"version": "1.2.0", "project": "app"}

        async def main() -> object:
            async with cs.Engine() as engine:
                run = engine.start(example("approved_release").release(), params, run_id="r")
                await engine.signal("r", "approved", {"by": "Bob", "yes": False})
                return await run

        assert asyncio.run(main()) == "1.2.0: not released"


class TestLongLivedAgent:
    def test_it_is_killed_and_goes_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("CASCADE_STATE", "runs.db")
        program = str(EXAMPLES / "long_lived_agent.py")
        with started("run", program, "--run-id", "oslo", "--pause", "0.01") as lines:
            assert any("May it cost 334?" in line for line in lines)
        assert invoke_cascade("signal", "oslo", "most", "so be it")[0] == 0  # that is no number
        assert invoke_cascade("signal", "oslo", "most", "340")[0] == 0
        code, printed, said = invoke_cascade("resume-run", "oslo")
        assert code == 0, said
        assert "day 2: " not in printed.partition("booked")[0]
        assert "booked for 334 on day 4, notes: ('day 2: 405', " in printed
        assert [booking.read_text() for booking in Path("build/long_lived_agent").iterdir()] == ["334\n"]

    def test_it_remembers_a_little_and_asks_once(self, example: Any) -> None:
        agent = example("long_lived_agent")
        memory = agent.Memory(320)
        for day in range(20):
            memory = memory.noting(f"day {day}")
        assert memory.notes == ("day 15", "day 16", "day 17", "day 18", "day 19")
        assert agent.model(memory, 340) == "doubt"
        assert agent.doubt.func(memory, 340, 330).data["memory"].asked == 340
        assert agent.model(agent.Memory(330, asked=340), 340) == "rest"


class TestAgent:
    def test_it_asks_before_money_moves(self, tmp_path: Path) -> None:
        printed, _ = run_example("agent", cwd=tmp_path, typed="y\n")
        question, _, answer = printed.partition("[y/n] ")
        assert question == 'May I call refund with {"order": 17, "amount": 30.0}? '
        assert answer == "About your order: 30.00 refunded for order 17.\n"

    def test_a_no_goes_back_to_the_model(self, tmp_path: Path) -> None:
        printed, _ = run_example("agent", cwd=tmp_path, typed="n\n")
        assert printed.endswith("About your order: the shop did not agree.\n")

    def test_it_stops_at_its_budget(self, example: Any) -> None:
        agent = example("agent")
        with agent.stand_ins.model() as url:
            answer = cs.run(agent.agent("Refund me.", f"{url}/v1"), {"budget": 40}, log_level="SILENT")
        assert answer == "I have used 50 of 40 tokens and stop here."

    def test_a_wrong_call_of_a_tool_is_told_to_the_model(self, example: Any) -> None:
        agent = example("agent")
        talk = agent.Talk(())
        jump = agent.act.func(talk, agent.stand_ins.call("find_order", customer="nobody"))
        assert jump.target_key == "think"
        assert jump.data["talk"].messages[0]["content"] == "error: LookupError('nobody has no order')"


class TestDebate:
    def test_each_hears_what_all_have_said_before(self, tmp_path: Path) -> None:
        printed, _ = run_example("debate", cwd=tmp_path)
        lines = printed.splitlines()
        assert [line.partition(":")[0] for line in lines[:-1]] == ["chair", *["Ada", "Bob", "Eve"] * 2]
        assert lines[3] == "Eve: (You doubt both) After 3 I say: city close its centre to cars?"
        assert lines[-1] == "(510 tokens)"

    def test_whoever_has_spent_its_budget_says_so_and_the_others_go_on(self, example: Any) -> None:
        debate = example("debate")
        with debate.stand_ins.people() as url:
            said = cs.run(debate.debate("Why?", f"{url}/v1"), {"budget": 65}, log_level="SILENT")
        assert said.count("tokens and leave it at that.") == 2
        assert "Ada: (You are for it) After 4 I say" in said


class TestCrew:
    def test_the_model_calls_several_tools_at_once_and_hears_of_what_failed(self, tmp_path: Path) -> None:
        printed, _ = run_example("crew", cwd=tmp_path)
        asked, _, answer = printed.partition("\n")
        assert asked == "3 calls at 16 in all: wait for a yes"
        assert answer.startswith("snow; sun; error: BudgetError(")
        assert "budget of a cost of 6; spent so far: 1 step and a cost of 8" in answer

    def test_without_a_yes_nothing_is_called(self, example: Any) -> None:
        crew = example("crew")

        async def main() -> str:
            with crew.stand_ins.tools() as url:
                async with cs.Engine() as engine:
                    run = engine.start(crew.crew(f"{url}/v1"), run_id="crew")
                    await engine.signal("crew", "approved", False)
                    return str(await run)

        assert asyncio.run(main()) == "I know nothing."


class TestChat:
    def test_a_page_gets_the_words_as_they_come(self, example: Any) -> None:
        """By hand what a server does; `TestWeb` has a real one."""
        chat = example("chat")
        state: dict[str, Any] = {}
        sent: list[dict[str, Any]] = []

        async def main() -> None:
            up, down = asyncio.Event(), asyncio.Event()
            told = iter(["lifespan.startup", "lifespan.shutdown"])

            async def receive() -> dict[str, str]:
                kind = next(told)
                if kind == "lifespan.shutdown":
                    await down.wait()
                return {"type": kind}

            async def begun(message: dict[str, Any]) -> None:
                up.set()

            async def send(message: dict[str, Any]) -> None:
                sent.append(message)

            life = asyncio.create_task(chat.app({"type": "lifespan", "state": state}, receive, begun))
            await up.wait()
            asked = {"path": "/ask", "query_string": b"question=How+are+you%3F"}
            for scope in (asked, {"path": "/"}, {"path": "/else"}):
                await chat.app({"type": "http", "state": state, **scope}, receive, send)
            down.set()
            await life

        asyncio.run(main())
        assert [each["status"] for each in sent if "status" in each] == [200, 200, 404]
        words = [each["body"] for each in sent if each.get("more_body")]
        assert words[:3] == [b"(I ", b"am ", b"a "]
        assert b"".join(words) == b"(I am a stand-in) After 1 I say: How are you? "


class TestSweep:
    def test_the_table_marks_the_best_and_shows_what_diverged(self, tmp_path: Path) -> None:
        printed, _ = run_example("sweep", "--epochs", "5", "--log-level", "SILENT", cwd=tmp_path)
        lines = printed.splitlines()
        assert lines[0].split() == ["rate", "penalty", "error"]
        assert len(lines) == 13
        assert [line.split()[0] for line in lines if "diverged" in line] == ["3.0"] * 3
        assert printed.count("<- best") == 1


class TestWeb:
    @pytest.fixture
    def served(self, example: Any) -> Iterator[tuple[int, cs.Engine]]:
        """The app behind a real server, in a thread: its port and its engine."""
        import uvicorn

        web = example("web")
        config = uvicorn.Config(web.app, port=0, log_level="warning", ws="none", lifespan="on")
        server = uvicorn.Server(config)
        up = threading.Event()

        async def serve() -> None:
            asyncio.get_running_loop().create_task(watch())
            await server.serve()

        async def watch() -> None:
            while not server.started:
                await asyncio.sleep(0.001)
            up.set()

        thread = threading.Thread(target=asyncio.run, args=(serve(),))
        thread.start()
        try:
            assert up.wait(20)
            yield server.servers[0].sockets[0].getsockname()[1], server.lifespan.state["engine"]
        finally:
            server.should_exit = True
            thread.join(20)

    def get(self, port: int, path: str) -> tuple[int, Any]:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def test_the_cheapest_of_those_that_answer(self, served: tuple[int, cs.Engine]) -> None:
        port, _ = served
        body = {"carrier": "Redline", "price": 19.75, "offers": 2}  # Heron is slow, and Swift is down
        assert self.get(port, "/offer?to=Oslo&kilos=3") == (200, body)
        assert self.get(port, "/offer?to=Oslo&kilos=3&customer=ada") == (200, body | {"price": 17.78})

    def test_a_bad_request(self, served: tuple[int, cs.Engine]) -> None:
        port, _ = served
        assert self.get(port, "/")[0] == 404
        status, body = self.get(port, "/offer?to=Oslo&kilos=three")
        assert status == 400
        assert "kilos=<number>" in body["error"]

    def test_a_client_that_goes_away_cancels_its_run(self, served: tuple[int, cs.Engine]) -> None:
        port, engine = served
        begun, ended = threading.Event(), threading.Event()
        spy = SpySubscriber(engine.bus)
        engine.bus.subscribe(cs.Event, lambda event: begun.set())
        engine.bus.subscribe(RunFinished, lambda event: ended.set())
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/offer?to=Oslo&kilos=3")
        assert begun.wait(20)
        connection.close()
        assert ended.wait(20)
        assert [event.status for event in spy.events_of_type(RunFinished)] == ["Cancelled"]
