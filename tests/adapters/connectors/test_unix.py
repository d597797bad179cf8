"""Messages between the processes of one user: no server, a hub that changes hands, and nobody else who hears."""

import asyncio
import json
import os
import random
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.connectors.callbacks import listen
from cascade.adapters.doors.sockets import reach
from cascade.errors import ConnectorError
from cascade.runtime import Engine
from cascade.spec.constraints import message_for, topic_for
from cascade.spec.protocols import Connector
from tests.doors import folder
from tests.runtime.limits_log import arrives
from tests.runtime.test_forks import in_child
from tests.workflows import in_loop

pytestmark = [
    pytest.mark.usefixtures("folder"),
    pytest.mark.skipif(os.name != "posix", reason="there are no Unix sockets"),
]
if os.name == "posix":
    from cascade.adapters.connectors.unix import UnixConnector

__all__ = ["folder"]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    left = [each for each in threading.enumerate() if each.name in ("cascade-link", "cascade-hub")]
    for each in left:
        each.join(5)
    assert not any(each.is_alive() for each in left)


@contextmanager
def connectors(count: int) -> "Iterator[list[UnixConnector]]":
    made = [UnixConnector() for _ in range(count)]
    try:
        yield made
    finally:
        for each in made:
            each.close()


SENDER = """
import asyncio, json, sys
from cascade.adapters.connectors.unix import UnixConnector

async def main():
    connector = UnixConnector()
    await connector.connect()
    for line in sys.stdin:
        topic, message, retain = json.loads(line)
        await connector.publish(topic, message, qos=1, retain=retain)
        print("sent", flush=True)
    await connector.disconnect()

asyncio.run(main())
"""


class Sender:
    """Another process that sends what it is told to."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SENDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def send(self, topic: str, message: Any, retain: bool = False) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps([topic, message, retain]), file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "sent\n"

    def __enter__(self) -> "Sender":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


def test_messages_go_to_all_who_listen_each_with_its_topic() -> None:
    async def main() -> None:
        with connectors(3) as (one, other, third):
            connector: Connector = one
            async with (
                other.subscribe("cell/+/state") as some,
                third.subscribe("#") as every,
                one.subscribe("x") as own,
            ):
                await connector.publish("cell/1/state", {"gen": 1})
                await connector.publish("cell/1/log", [None, 1.5, "é"], qos=2)
                await connector.publish("x", "to myself")
                topic, value, retained = await anext(some.with_topics())
                assert (topic, value, retained) == ("cell/1/state", {"gen": 1}, False)
                assert [await anext(every) for _ in range(3)] == [{"gen": 1}, [None, 1.5, "é"], "to myself"]
                assert await anext(own) == "to myself"

    in_loop(main)


def test_what_another_process_has_retained_outlives_it_until_it_is_cleared() -> None:
    with Sender() as sender:
        for n in (1, 2, 3):
            sender.send(f"a/{n}", n, retain=True)
        sender.send("a/2", {}, retain=True)

    async def main() -> None:
        with connectors(1) as (connector,):
            async with connector.subscribe("a/#") as messages:
                assert [each[:] for each in messages.ready()] == [("a/1", 1, True), ("a/3", 3, True)]
            await connector.publish("a/1", None, retain=True)
            await connector.publish("a/3", "", retain=True, qos=1)
        with connectors(1) as (later,):
            async with later.subscribe("a/#") as messages:
                assert messages.ready() == []

    in_loop(main)


def test_when_the_hub_is_killed_another_process_is_it_and_all_go_on(folder: Path) -> None:
    kept = folder / "default.messages.retained"

    async def main() -> None:
        hub = Sender()
        await asyncio.to_thread(hub.send, "kept", "before", True)
        with connectors(3) as made:
            seen: list[tuple[str, Any]] = []
            for each in made:
                await listen(each, "news/#", lambda topic, message: seen.append((topic, message)))
            await asyncio.to_thread(hub.send, "news/1", 1)
            await arrives(lambda: len(seen) == 3)
            await arrives(lambda: "before" in kept.read_text() if kept.exists() else False)
            hub.process.kill()
            await asyncio.to_thread(hub.process.communicate)
            seen.clear()
            for n, each in enumerate(made):
                await each.publish(f"news/{n}", n, qos=1)
            await arrives(lambda: {topic for topic, _ in seen} == {"news/0", "news/1", "news/2"})
            async with made[0].subscribe("kept") as messages:
                assert await anext(messages) == "before"
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

    async def alone() -> None:
        await main()
        await asyncio.sleep(0)

    in_loop(alone)


def test_a_retained_pause_of_a_process_that_is_gone_holds_from_the_first_task_on() -> None:
    with Sender() as sender:
        sender.send(topic_for("task:work", "pause"), message_for("task:work", "pause"), retain=True)
    called: list[int] = []

    @cs.task
    def work(x: int) -> int:
        called.append(x)
        return x

    async def main() -> None:
        async with Engine(connector=UnixConnector()) as engine:
            run = engine.start(work(1))
            await arrives(lambda: bool(engine.limits()))
            with Sender() as sender:
                assert called == []
                await asyncio.to_thread(sender.send, topic_for("task:work", "pause"), {}, True)
                assert await run == 1
                await asyncio.to_thread(sender.send, topic_for("global"), message_for("global", "concurrency", 2))
                await arrives(lambda: [limit.value for limit in engine.limits()] == [2])

    in_loop(main)


def test_recv_takes_messages_of_other_processes() -> None:
    async def main() -> None:
        async with Engine(connector=UnixConnector()) as engine:
            run = engine.start(cs.recv("orders/new", timeout=30))
            with Sender() as sender:
                await asyncio.to_thread(sender.send, "orders/new", {"id": 7}, True)
                assert await run == {"id": 7}

    in_loop(main)


def test_only_the_user_may_use_it(folder: Path) -> None:
    async def main() -> None:
        with connectors(1) as (connector,):
            await connector.publish("a", "secret", retain=True, qos=1)
            await arrives((folder / "default.messages.retained").exists)
            files = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in folder.iterdir()}
            assert files == {f"default.messages{end}": 0o600 for end in (".sock", ".lock", ".retained")}
            assert stat.S_IMODE(folder.lstat().st_mode) == 0o700

    in_loop(main)


def test_names_keep_connectors_apart_and_have_letters_alone() -> None:
    async def main() -> None:
        one, other = UnixConnector("one"), UnixConnector("other")
        async with one.subscribe("a") as heard, other.subscribe("a") as unheard:
            await one.publish("a", 1, qos=1)
            assert await anext(heard) == 1
            assert unheard.ready() == []
        one.close()
        other.close()

    in_loop(main)
    for wrong in ("", "../up", "a/b", "x" * 21, "é", None):
        with pytest.raises(ValueError, match="name of a UnixConnector"):
            UnixConnector(wrong)  # type: ignore[arg-type]


def test_what_cannot_be_sent_is_refused_and_the_rest_goes_on() -> None:
    async def main() -> None:
        with connectors(1) as (connector,):
            for topic, message, kind in (("a", object(), ConnectorError), ("a/+", 1, ValueError), ("", 1, ValueError)):
                with pytest.raises(kind):
                    await connector.publish(topic, message)
            with pytest.raises(ValueError, match="qos"):
                await connector.publish("a", 1, qos=3)
            with pytest.raises(ValueError, match="wildcard"):
                async with connector.subscribe("a/#/b"):
                    pass
            async with connector.subscribe("a") as messages:
                await connector.publish("a", 1)
                assert await anext(messages) == 1

    in_loop(main)


def test_hostile_lines_harm_nobody(folder: Path) -> None:
    random.seed(7)
    lines = [
        b"\xff\n",
        b"{}\n",
        b"[" * 50_000 + b"\n",
        b'{"v": 1}\n',
        b'{"v": 1, "do": "eval", "n": 1}\n',
        b"x" * 3_000_000,
    ]
    odd: list[Any] = [None, 1, "#", "a/+", "x" * 70_000, [], {}, -1, "\0"]
    for do in ("publish", "subscribe", "unsubscribe", "ping"):
        lines += [
            json.dumps(
                {"v": 1, "do": do, "n": random.choice(odd), "topic": random.choice(odd), "retain": True}
            ).encode()
            + b"\n"
            for _ in range(30)
        ]

    def attack() -> None:
        for line in lines:
            raw, _ = reach(str(folder / "default.messages.sock"))
            with raw:
                try:
                    raw.sendall(line)
                    raw.settimeout(0.01)
                    raw.recv(100)
                except OSError:
                    pass

    async def main() -> None:
        with connectors(2) as (one, other):
            async with one.subscribe("a") as messages:
                await asyncio.to_thread(attack)
                await other.publish("a", "still here", qos=1)
                assert await anext(messages) == "still here"

    in_loop(main)


def test_a_folder_that_is_not_safe_and_a_file_of_nonsense(folder: Path, tmp_path: Path) -> None:
    async def refused() -> None:
        with connectors(1) as (connector,), pytest.raises(ConnectorError):
            await connector.connect()

    async def main() -> None:
        with connectors(1) as (connector,):
            await connector.connect()
            async with connector.subscribe("#") as messages:
                assert messages.ready() == []

    folder.symlink_to(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cascade.adapters.connectors.unix.PATIENCE", 0.1)
        in_loop(refused)
    folder.unlink()
    folder.mkdir(mode=0o700)
    for nonsense in ("{", "[1]", '{"a/+": 1, "": 2}'):
        (folder / "default.messages.retained").write_text(nonsense, encoding="utf-8")
        in_loop(main)


def test_what_is_closed_ends_and_can_be_used_again() -> None:
    async def main() -> None:
        with connectors(1) as (connector,):
            async with connector.subscribe("a") as messages:
                connector.close()
                assert [each async for each in messages] == []
            await connector.connect()
            await connector.connect()
            await connector.disconnect()
            async with connector.subscribe("a") as messages:
                await connector.publish("a", 1)
                assert await anext(messages) == 1
            await connector.disconnect()

    in_loop(main)


def test_a_forked_child_connects_for_itself() -> None:
    async def main() -> None:
        with connectors(1) as (connector,):
            async with connector.subscribe("a") as messages:
                await connector.connect()

                def child() -> None:
                    async def send() -> None:
                        await connector.publish("a", os.getpid(), qos=1)
                        await connector.disconnect()

                    thread = threading.Thread(target=asyncio.run, args=(send(),))
                    thread.start()
                    thread.join()

                assert in_child(child) == 0
                assert isinstance(await anext(messages), int)
                await connector.publish("a", "and the parent goes on")
                assert await anext(messages) == "and the parent goes on"

    in_loop(main)
