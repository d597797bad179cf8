"""Runs kept in a Redis server, for the processes of many hosts.

Each change is one transaction of Redis (MULTI), of runs that were watched before they were looked at: who looked too
early begins anew, and the epoch is compared with what stands there in the very moment. Time is the server's. What a
crash of the server may lose is up to how it writes its log (AOF), so a server that keeps none is refused, and so is one
that forgets what it has no room for.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from cascade.adapters.state import redis_queues
from cascade.adapters.state.forks import leave_to_parent, note_closed, note_open
from cascade.adapters.state.redis_promises import check_log, check_memory
from cascade.adapters.state.redis_rows import (
    FIELDS,
    Found,
    Keys,
    packed_signal,
    packed_step,
    signal_from,
    step_from,
)
from cascade.adapters.state.rows import Pending
from cascade.adapters.state.rules import (
    advances,
    check_free,
    check_sendable,
    check_takeable,
    no_such_run,
    taken_from,
)
from cascade.errors import MissingExtraError, StateError
from cascade.spec.shown import without_passwords
from cascade.spec.state import Claimed, Commit, Owner, RunRecord, SignalRecord, StepRecord, Wanted

__all__ = ["RedisBackend"]

T = TypeVar("T")
VERSION = 2
AT_ONCE = 1000
"""So many runs or steps are read at once."""
WAITS = {"socket_connect_timeout": 5.0, "socket_timeout": 15.0}
"""So many seconds a server that does not answer is waited for: for less time than a lease, all in all."""
PASSING = ("MISCONF", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "BUSY")
"""What a server says that may say something else soon, beside what the client knows: its disk is full, and the like."""
SYNCED = 10_000
"""So many milliseconds a commit may take to be on the disk."""


class RedisBackend:
    """Keeps runs in a Redis server; any number of processes and hosts may use it.

    Others may write to it as well, so what is pickled is to be signed: use it by its URL, or as
    `SignedBackend(RedisBackend(url))` (`cascade.adapters.state.signed`).

    Args:
        url: `redis://user:password@host:6379/0`, or `rediss://` for TLS; `?prefix=name` keeps several stores apart
            that share a database ("cascade" by default), all else is redis-py's.
        durability: "each" for what waits for the disk.

    Raises:
        MissingExtraError: redis is not installed.
    """

    def __init__(self, url: str, durability: str = "group") -> None:
        try:
            import redis
        except ImportError as error:
            raise MissingExtraError(
                "a store in Redis needs the package 'redis', which is not installed: pip install cascade-py[redis]",
                name="redis",
            ) from error
        self._redis = redis
        self.url = url
        self.durability = durability
        parts = urlsplit(url)
        given = dict(parse_qsl(parts.query))
        self.keys = Keys(given.pop("prefix", "cascade"))
        self._place = urlunsplit(parts._replace(query=urlencode(given)))
        self.client: Any = None
        self._users = 0
        self._was_there = self._syncs = False
        self._lock = threading.RLock()
        self.identity = ""
        """What tells this store from others, whatever address it is reached by."""

    def __repr__(self) -> str:
        return f"RedisBackend({without_passwords(self.url)!r})"

    # --- opening, closing, and transactions

    def open(self) -> None:
        """Be ready.

        Raises:
            StateError: the server is not reached, or refuses; it cannot keep what is promised; the store is of a newer
                schema.
        """
        with self._lock, self._errors():
            if self.client is None:
                self._connect()
            self._users += 1

    def close(self) -> None:
        """Let go of the connections, once all that opened it do."""
        with self._lock:
            self._users = max(0, self._users - 1)
            if not self._users and self.client is not None:
                note_closed(self)
                self.client.close()
                self.client = None

    def inherited(self) -> None:
        """Leave the connections to the parent, in a process that was forked; some of its own are made when needed."""
        if self.client is not None:
            leave_to_parent(self.client)
        self.client, self._lock = None, threading.RLock()

    def strengthen(self) -> None:
        """Promise what "each" does from now on."""
        with self._asking():
            if self.durability != "each":
                self._syncs = check_log(self.client, without_passwords(self.url), "each")
                self.durability = "each"

    def _made(self) -> Any:
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        try:
            return self._redis.Redis.from_url(self._place, retry=Retry(NoBackoff(), 0), protocol=2, **WAITS)
        except (ValueError, TypeError) as error:
            raise StateError(f"{without_passwords(self.url)} is no address of a store: {error}") from error

    def _connect(self) -> None:
        client = self._made()
        try:
            try:
                client.ping()
            except TypeError as error:
                raise StateError(f"{without_passwords(self.url)} is no address of a store: {error}") from error
            except (self._redis.ConnectionError, self._redis.TimeoutError, self._redis.AuthenticationError) as error:
                if self._was_there:
                    raise
                raise StateError(
                    f"the store {without_passwords(self.url)} is not reached: {error}; start the server, or give "
                    "another host, port, user or password"
                ) from error
            where = without_passwords(self.url)
            check_memory(client, where)
            self._syncs = check_log(client, where, self.durability)
            client.hsetnx(self.keys.store, "id", os.urandom(16).hex())
            client.hsetnx(self.keys.store, "version", VERSION)
            version, identity = client.hmget(self.keys.store, "version", "id")
            if int(version) > VERSION:
                raise StateError(
                    f"the store {where} was written by a newer Cascade (schema {int(version)}, this one knows "
                    f"{VERSION}); use that one"
                )
        except BaseException:
            client.close()
            raise
        self.identity, self.client, self._was_there = identity.decode(), client, True
        note_open(self)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        with self._lock, self._errors():
            if not self._users:
                raise StateError(f"the store {without_passwords(self.url)} is not open")
            if self.client is None:
                self._connect()
            yield

    def _transact(self, act: Callable[[Any], T]) -> T:
        """Do something in one transaction: anew, where somebody else was faster.

        Args:
            act: watches what it looks at, looks, and says `multi()` before it writes.
        """
        with self._asking():
            pause = 0.0005
            while True:
                with self.client.pipeline() as pipe:
                    try:
                        value = act(pipe)
                        if pipe.command_stack:
                            pipe.execute()
                            self._sync()
                        return value
                    except self._redis.WatchError:
                        time.sleep(pause * random.random())
                        pause = min(2 * pause, 0.05)

    def _sync(self) -> None:
        if self.durability == "each" and self._syncs:
            done = self.client.execute_command("WAITAOF", 1, 0, SYNCED)
            if not done[0]:
                raise TimeoutError(f"the disk of the Redis server took longer than {SYNCED / 1000:g} s")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise what goes wrong for good as StateError; whatever else may pass when it is tried again."""
        try:
            yield
        except (self._redis.AuthenticationError, self._redis.ResponseError, self._redis.DataError) as error:
            kinds = self._redis.ReadOnlyError, self._redis.OutOfMemoryError
            if isinstance(error, kinds) or str(error).startswith(PASSING):
                raise
            raise StateError(f"the store {without_passwords(self.url)} cannot be used: {error}") from error
        except UnicodeEncodeError as error:
            where = without_passwords(self.url)
            raise StateError(f"the store {where} keeps no names with half a character in them: {error}") from error

    def found(self, run_ids: Sequence[str]) -> list[Found]:
        """Return the runs that are there, of these."""
        runs: list[Found] = []
        for at in range(0, len(run_ids), AT_ONCE):
            some = run_ids[at : at + AT_ONCE]
            reads = self.client.pipeline(transaction=False)
            for run_id in some:
                reads.hmget(self.keys.run(run_id), FIELDS)
            rows = zip(some, reads.execute(), strict=True)
            runs += [each for run_id, row in rows if (each := Found.read(run_id, row)) is not None]
        return runs

    def _watched(self, pipe: Any, run_id: str) -> Found | None:
        pipe.watch(self.keys.run(run_id))
        return next(iter(self.found([run_id])), None)

    # --- runs

    def find(self, run_id: str) -> RunRecord | None:
        """Return what is known of a run, None if nothing is."""
        with self._asking():
            return next((each.record for each in self.found([run_id])), None)

    def create(self, record: RunRecord) -> bool:
        """Keep a new run, with its owner and epoch 1 if it has one; False if there is one of that id already."""

        def act(pipe: Any) -> bool:
            if self._watched(pipe, record.run_id) is not None:
                return False
            made = record if record.owner is None else record._replace(epoch=1, beat=self._now())
            number = self.client.incr(self.keys.number)
            pipe.multi()
            self.keys.write(pipe, None, Found(made, number, 0, 0, b""))
            pipe.zadd(self.keys.runs, {record.run_id: record.created})
            return True

        return self._transact(act)

    def take(self, run_id: str, epoch: int, owner: Owner, params: bytes, fingerprint: bytes) -> RunRecord:
        """Make a run that is not alive ours: Running, with the next epoch and what is given; return it.

        Raises:
            RunBusyError: its owner is alive, or it was taken since it was looked at.
            StateError: there is no such run.
        """

        def act(pipe: Any) -> RunRecord:
            known = self._watched(pipe, run_id)
            if known is None:
                raise no_such_run(run_id)
            now = self._now()
            check_takeable(known.record, epoch, now)
            taken = taken_from(known.record, owner, now, params, fingerprint)
            pipe.multi()
            self.keys.write(pipe, known, known._replace(record=taken, committed=0))
            return taken

        return self._transact(act)

    def beat(self, runs: Iterable[tuple[str, int]]) -> list[str]:
        """Give a sign of life for runs, each with its epoch; return the ids of those that had another one."""
        several = [*runs]

        def act(pipe: Any) -> list[str]:
            known = self._watch_all(pipe, [run_id for run_id, _ in several])
            now = self._now()
            pipe.multi()
            for run_id, epoch in several:
                found = known.get(run_id)
                if found is not None and found.record.epoch == epoch:
                    self.keys.write(pipe, found, found._replace(record=found.record._replace(beat=now)))
            return [run_id for run_id, epoch in several if run_id not in known or known[run_id].record.epoch != epoch]

        return self._transact(act) if several else []

    def _watch_all(self, pipe: Any, run_ids: Sequence[str]) -> dict[str, Found]:
        unique = [*dict.fromkeys(run_ids)]
        pipe.watch(*map(self.keys.run, unique))
        return {each.record.run_id: each for each in self.found(unique)}

    def runs(
        self, status: str | None = None, target: str | None = None, since: float | None = None, limit: int | None = None
    ) -> list[RunRecord]:
        """Return the runs that there are, the latest first, without their params and fingerprints."""
        with self._asking():
            least = "-inf" if since is None else since
            ids = [each.decode() for each in self.client.zrangebyscore(self.keys.runs, least, "+inf")]
            found = [each for each in self.found(ids) if status in (None, each.record.status)]
        found = [each for each in found if target in (None, each.record.target)]
        found.sort(key=lambda each: (-each.record.created, -each.number))
        return [each.record._replace(params=b"", fingerprint=b"") for each in found[:limit]]

    def forget(self, run_id: str, epoch: int | None = None) -> bool:
        """Drop all that is kept of a run that is not alive; False if there was none.

        Raises:
            RunBusyError: it is alive.
        """

        def act(pipe: Any) -> bool:
            known = self._watched(pipe, run_id)
            if known is None or epoch not in (None, known.record.epoch):
                return False
            check_free(known.record, self._now())
            pipe.multi()
            self.keys.remove(pipe, known)
            return True

        return self._transact(act)

    # --- queues

    def enqueue(self, record: RunRecord, dedupe: str | None = None) -> RunRecord:
        """Put a run into its queue; return what is known of it then, or the unfinished one of the same `dedupe`."""
        return self._transact(lambda pipe: redis_queues.enqueue(self, self.keys, pipe, record, dedupe))

    def claim(self, wanted: Wanted) -> Claimed:
        """Reserve runs that wait for a server: of the highest priority first, of these those that were there first."""
        claimed = self._transact(lambda pipe: redis_queues.claim(self, self.keys, pipe, wanted))
        with self._asking():
            return claimed._replace(wait=redis_queues.wait_of(self, self.keys, wanted))

    def listen(self, queue: str, wake: Callable[[], None]) -> Callable[[], None]:
        """Call something whenever a run was enqueued, from a thread; return what ends that."""
        return redis_queues.listen(self._made, self.keys.channel(queue), wake)

    # --- steps

    def commit(self, commits: Sequence[Commit]) -> list[str]:
        """Make all commits durable in one transaction; return the ids of the runs that had another epoch."""

        def act(pipe: Any) -> list[str]:
            lost: dict[str, None] = {}
            known = self._watch_all(pipe, [each.run_id for each in commits])
            runs = {run_id: Pending(0, each.record.epoch, each.committed, False) for run_id, each in known.items()}
            for each in commits:
                run = runs.get(each.run_id)
                if run is None or run.epoch != each.epoch:
                    lost[each.run_id] = None
                elif each.number > run.committed:
                    run.add(each)
            changed = {run_id: run for run_id, run in runs.items() if run.is_changed}
            unseen = {run_id: self._is_unseen(pipe, run_id, run) for run_id, run in changed.items()}
            now = self._now() if changed else 0.0
            pipe.multi()
            for run_id, run in changed.items():
                self._write(pipe, known[run_id], run, now, unseen[run_id])
            return list(lost)

        return self._transact(act) if commits else []

    def _is_unseen(self, pipe: Any, run_id: str, run: Pending) -> bool:
        """Say whether there is a message that a run that is parked does not know of."""
        if run.seen is None:
            return False
        place = self.keys.of(run_id, "signals")
        pipe.watch(place)
        return int(self.client.llen(place)) > run.seen

    def _write(self, pipe: Any, known: Found, run: Pending, now: float, is_unseen: bool) -> None:
        record, last = known.record, known.last
        steps, order = self.keys.of(record.run_id, "steps"), self.keys.of(record.run_id, "order")
        if run.dropped:
            pipe.hdel(steps, *run.dropped)
            pipe.zrem(order, *run.dropped)
        if run.steps:
            pipe.hset(steps, mapping={key: packed_step(step) for key, step in run.steps.items()})
            pipe.zadd(order, {key: last + at for at, key in enumerate(run.steps, 1)}, nx=True)
            last += len(run.steps)
        if run.taken:
            pipe.hset(self.keys.of(record.run_id, "taken"), mapping=dict(run.taken))
        takeovers = 0 if advances(run.steps.values()) else record.takeovers
        record = record._replace(beat=now, takeovers=takeovers)
        if run.end is not None:
            status: Any = run.end[0]
            owner = None if run.end[1] else record.owner
            due = 0.0 if is_unseen else run.due
            record = record._replace(status=status, owner=owner, error=run.end[2], updated=now, due=due)
        self.keys.write(pipe, known, known._replace(record=record, committed=run.committed, last=last))

    def steps(self, run_id: str) -> Iterator[StepRecord]:
        """Give all steps of a run, in the order in which they were first written."""
        with self._asking():
            keys = self.client.zrange(self.keys.of(run_id, "order"), 0, -1)
        for at in range(0, len(keys), AT_ONCE):
            some = keys[at : at + AT_ONCE]
            with self._asking():
                found = self.client.hmget(self.keys.of(run_id, "steps"), some)
            yield from (step_from(key, data) for key, data in zip(some, found, strict=True) if data is not None)

    # --- messages

    def send(self, run_id: str, name: str, value: bytes, id: str | None) -> None:
        """Keep a message for a run; one with an `id` that is there already counts once.

        Raises:
            StateError: there is no such run, it has ended, or it has 10,000 messages that nobody took.
        """
        signals, taken, ids = (self.keys.of(run_id, part) for part in ("signals", "taken", "ids"))

        def act(pipe: Any) -> None:
            known = self._watched(pipe, run_id)
            if known is None:
                raise no_such_run(run_id)
            pipe.watch(signals, ids)
            if id is not None and self.client.sismember(ids, id):
                return
            waiting = self.client.llen(signals) - self.client.hlen(taken)
            check_sendable(run_id, known.record.status, waiting)
            pipe.multi()
            pipe.rpush(signals, packed_signal(name, value))
            if id is not None:
                pipe.sadd(ids, id)
            if known.record.status == "Parked":
                self.keys.write(pipe, known, known._replace(record=known.record._replace(due=0.0)))
                pipe.publish(self.keys.channel(known.record.queue), b"!")

        self._transact(act)

    def signals(self, run_id: str, after: int = 0) -> list[SignalRecord]:
        """Return the messages to a run with numbers above `after`, in order."""
        with self._asking():
            found = self.client.lrange(self.keys.of(run_id, "signals"), after, -1)
            taken = self.client.hgetall(self.keys.of(run_id, "taken")) if found else {}
        several = enumerate(found, after + 1)
        return [signal_from(number, data, taken.get(b"%d" % number)) for number, data in several]

    def now(self) -> float:
        """Return the server's time."""
        with self._asking():
            return self._now()

    def _now(self) -> float:
        seconds, microseconds = self.client.time()
        return float(seconds + microseconds / 1e6)
