"""Pickles in a store that others can write to: signed for their place, and not read without that."""

from collections.abc import Callable

import pytest

from cascade.adapters.state.codec import decode, encode
from cascade.adapters.state.memory import MemoryBackend
from cascade.adapters.state.signed import SignedBackend
from cascade.errors import StateError
from cascade.testing import STATE_CHECKS, check_state_backend
from tests.adapters.state.kept import Plain
from tests.adapters.state.runs import commit, run, step


class Shared(MemoryBackend):
    identity = "this store"


VALUE = Plain(5)
PICKLE = encode(VALUE)


def opened(secret: str = "key", inner: Shared | None = None) -> SignedBackend:
    store = SignedBackend(inner or Shared(), secret)
    store.open()
    return store


def read(store: SignedBackend, key: str = "a", run_id: str = "run") -> object:
    (value,) = [each.value for each in store.steps(run_id) if each.key == key]
    return decode(value)


@pytest.mark.parametrize("check", STATE_CHECKS)
def test_it_does_what_a_store_must(check: str) -> None:
    kept: dict[str, SignedBackend] = {}
    check_state_backend(lambda name: kept.setdefault(name, opened()), check)


def test_what_is_pickled_comes_back_and_is_signed_in_the_store() -> None:
    inner = Shared()
    store = opened(inner=inner)
    store.create(run()._replace(params=PICKLE))
    store.commit([commit(1, step("a", PICKLE), step("b", encode([1])))])
    store.send("run", "go", PICKLE, None)
    record = store.find("run")
    assert record is not None
    assert [decode(record.params), read(store), decode(store.signals("run")[0].value)] == [VALUE] * 3
    kept = inner.find("run")
    assert kept is not None
    found = [kept.params, inner.signals("run")[0].value, *(each.value for each in inner.steps("run"))]
    assert [value[:2] for value in found] == [b"s1", b"s1", b"s1", b"j1"]


def planted(inner: Shared, store: SignedBackend) -> None:
    inner.commit([commit(2, step("a", PICKLE))])


def of_another_key(inner: Shared, store: SignedBackend) -> None:
    opened("other", inner).commit([commit(2, step("a", PICKLE))])


def of_another_step(inner: Shared, store: SignedBackend) -> None:
    (value,) = [each.value for each in inner.steps("run")]
    inner.commit([commit(2, step("a", value), step("b", value))])


def of_another_run(inner: Shared, store: SignedBackend) -> None:
    store.create(run("other"))
    store.commit([commit(1, step("a", encode(Plain(6))), run_id="other")])
    (value,) = [each.value for each in inner.steps("other")]
    inner.commit([commit(2, step("a", value))])


def of_another_store(inner: Shared, store: SignedBackend) -> None:
    there = Shared()
    there.identity = "another store"
    other = opened(inner=there)
    other.create(run())
    other.commit([commit(1, step("a", PICKLE))])
    (value,) = [each.value for each in there.steps("run")]
    inner.commit([commit(2, step("a", value))])


def changed(inner: Shared, store: SignedBackend) -> None:
    (value,) = [each.value for each in inner.steps("run")]
    inner.commit([commit(2, step("a", value[:-1] + bytes([value[-1] ^ 1])))])


def a_message(inner: Shared, store: SignedBackend) -> None:
    store.send("run", "go", PICKLE, None)
    inner.commit([commit(2, step("a", inner.signals("run")[0].value))])


@pytest.mark.parametrize(
    "attack", [planted, of_another_key, of_another_step, of_another_run, of_another_store, changed, a_message]
)
def test_what_was_not_signed_for_its_place_is_not_read(attack: Callable[[Shared, SignedBackend], None]) -> None:
    inner = Shared()
    store = opened(inner=inner)
    store.create(run())
    store.commit([commit(1, step("a", PICKLE))])
    attack(inner, store)
    bad = "b" if attack is of_another_step else "a"
    with pytest.raises(StateError, match="is not read: it is a pickle that"):
        read(store, bad)


def test_without_a_secret_nothing_signed_is_read() -> None:
    inner = Shared()
    store = opened(inner=inner)
    store.create(run())
    store.commit([commit(1, step("a", PICKLE))])
    bare = opened("", inner)
    assert not bare.may_pickle
    with pytest.raises(StateError, match="it is a signed pickle, and CASCADE_SECRET is not set here"):
        read(bare)


def test_the_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CASCADE_SECRET", raising=False)
    assert not SignedBackend(Shared()).may_pickle
    monkeypatch.setenv("CASCADE_SECRET", "long and random")
    assert SignedBackend(Shared()).may_pickle
