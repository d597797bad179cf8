"""The queues of a store in Redis: what is read and written of them, in transactions that are tried again.

What is claimed was looked at after it was watched, so two servers that claim at once get it once: the later one begins
anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from operator import attrgetter
from typing import Any

from cascade.adapters.state.queues import (
    UNFINISHED,
    after_crash,
    claimed_from,
    enqueued_again,
    room_for,
    waits,
)
from cascade.adapters.state.redis_rows import Found, Keys, digest_of
from cascade.spec.state import Claimed, RunRecord, Wanted

__all__ = ["claim", "enqueue", "listen"]

AT_ONCE = 1000
"""So many runs become due in one transaction."""
PAUSE = 1.0
"""So many seconds until a connection that was lost is made anew."""
LOOK = 0.5
"""So often who listens looks whether it is to end."""


def enqueue(store: Any, keys: Keys, pipe: Any, record: RunRecord, dedupe: str | None) -> RunRecord:
    """Put a run into its queue; return what is known of it then, and have servers woken if something was written."""
    same = b"" if dedupe is None else digest_of(f"{record.target}\0{dedupe}")
    pipe.watch(keys.run(record.run_id))
    if same:
        pipe.watch(keys.same(same))
        ids = [each.decode() for each in store.client.smembers(keys.same(same))]
        if ids:
            pipe.watch(*map(keys.run, ids))
        found = [each for each in store.found(ids) if each.dedupe == same and each.record.status in UNFINISHED]
        if found:
            oldest: RunRecord = min(found, key=attrgetter("number")).record
            return oldest
    known: Found | None = next(iter(store.found([record.run_id])), None)
    if known is None:
        new = Found(record, store.client.incr(keys.number), 0, 0, same)
    else:
        again = enqueued_again(known.record, record, store.now())
        if again is known.record:
            return again
        new = known._replace(record=again, dedupe=same)
    pipe.multi()
    keys.write(pipe, known, new)
    pipe.zadd(keys.runs, {record.run_id: new.record.created})
    if known is not None and known.dedupe and known.dedupe != same:
        pipe.srem(keys.same(known.dedupe), record.run_id)
    if same:
        pipe.sadd(keys.same(same), record.run_id)
    pipe.publish(keys.channel(new.record.queue), b"!")
    return new.record


def claim(store: Any, keys: Keys, pipe: Any, wanted: Wanted) -> Claimed:
    """Reserve runs for a server."""
    client, now = store.client, store.now()
    queues = (wanted.queue, "") if wanted.is_thorough else (wanted.queue,)
    if wanted.concurrency is not None:
        pipe.watch(keys.owned(wanted.queue))
    left_ids = [each.decode() for queue in queues for each in client.smembers(keys.owned(queue))]
    going = client.scard(keys.owned(wanted.queue))
    reads = client.pipeline(transaction=False)
    for queue in queues:
        for target in wanted.targets:
            reads.zrange(keys.waiting(queue, target, True), 0, max(wanted.most - 1, 0))
            reads.zrangebyscore(keys.waiting(queue, target, False), "-inf", now, 0, AT_ONCE)
    ids = [member.decode().partition(":")[2] for members in reads.execute() for member in members]
    seen = [*dict.fromkeys([*(left_ids if wanted.is_thorough else ()), *ids])]
    if seen:
        pipe.watch(*map(keys.run, seen))
    found = {each.record.run_id: each for each in store.found(seen)}
    records = [each.record for each in sorted(found.values(), key=attrgetter("number"))]
    owned = [each for each in records if each.owner is not None and each.queue in queues]
    left = after_crash(sorted(owned, key=lambda each: each.queue == ""), wanted, now) if wanted.is_thorough else []
    room = room_for(wanted, going, left)
    ready = [each for each in records if waits(each) and each.due <= now and each.target in wanted.targets]
    ready = [each for each in ready if each.queue in queues]
    ready.sort(key=lambda each: (each.queue != "", -each.priority))
    chosen = [*left, *ready][:room]
    claimed = [claimed_from(each, wanted, now) for each in chosen]
    taken = {each.run_id for each in chosen}
    late = [each for each in ready if each.due > 0.0 and each.run_id not in taken]
    pipe.multi()
    for record in [*claimed, *(each._replace(due=0.0) for each in late)]:
        known = found[record.run_id]
        keys.write(pipe, known, known._replace(record=record))
    return Claimed(claimed, None)


def wait_of(store: Any, keys: Keys, wanted: Wanted) -> float | None:
    """Return in how many seconds the next run of a queue is due; None: none waits for its time."""
    reads = store.client.pipeline(transaction=False)
    for target in wanted.targets:
        reads.zrange(keys.waiting(wanted.queue, target, False), 0, 0, withscores=True)
    dues = [score for found in reads.execute() for _, score in found]
    return min(dues) - store.now() if dues else None


def listen(connect: Callable[[], Any], channel: str, wake: Callable[[], None]) -> Callable[[], None]:
    """Call something whenever a run was enqueued there, from a thread with a connection of its own; return its end."""
    is_over = threading.Event()

    def hear() -> None:
        while not is_over.is_set():
            with suppress(Exception), connect() as client, client.pubsub() as ears:  # if it is away, it is asked again
                ears.subscribe(channel)
                while not is_over.is_set():
                    message = ears.get_message(timeout=LOOK)
                    if message is not None:  # as soon as it listens, too, as something may have come before
                        wake()
            if is_over.wait(PAUSE):
                return

    thread = threading.Thread(target=hear, name="cascade-wake", daemon=True)
    thread.start()

    def end() -> None:
        is_over.set()
        thread.join()

    return end
