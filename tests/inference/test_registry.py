"""A loaded model is shared, is never taken away from its users, and leaves memory when idle."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from studio.inference.registry import Registry
from tests.support.server import until
from tests.support.threads import no_more_threads

LONG_S = 3600.0


class Model:
    """Stands for what a loader gives; the registry never looks inside."""


class Loader:
    """Counts how often it loads; fails the first `failures` times."""

    def __init__(self, failures: int = 0, takes_s: float = 0.0) -> None:
        self.loads = 0
        self._failures = failures
        self._takes_s = takes_s

    def __call__(self) -> Model:
        self.loads += 1
        time.sleep(self._takes_s)
        if self.loads <= self._failures:
            raise OSError("the disk is slow today")
        return Model()


@pytest.fixture
def registry() -> Iterator[Registry]:
    yield Registry(LONG_S)


def test_a_model_is_loaded_once_however_many_ask(registry: Registry) -> None:
    load = Loader(takes_s=0.05)
    together = threading.Barrier(16)

    def use() -> Model:
        together.wait(timeout=30)
        with registry.lease("demucs/tiny", load) as model:
            assert registry.loaded() == ["demucs/tiny"]
            return model  # type: ignore[no-any-return]

    with ThreadPoolExecutor(16) as pool:
        models = [future.result() for future in [pool.submit(use) for _ in range(16)]]
    assert load.loads == 1
    assert all(model is models[0] for model in models)


def test_different_models_are_loaded_at_the_same_time(registry: Registry) -> None:
    """Loading one does not hold up the users of another: each loader waits for the other."""
    both = threading.Barrier(2)

    def load() -> Model:
        both.wait(timeout=30)
        return Model()

    def use(name: str) -> None:
        with registry.lease(name, load):
            pass

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(use, name) for name in ("one", "two")]:
            future.result(timeout=60)


def test_a_model_in_use_is_not_unloaded() -> None:
    registry = Registry(idle_s=0.01)
    load = Loader()
    with registry.lease("a", load) as first:
        with registry.lease("a", load):
            pass
        with registry.lease("b", Loader()):
            pass
        until(lambda: registry.loaded() == ["a"])
        with registry.lease("c", Loader()):
            assert registry.loaded() == ["a", "c"]
        with registry.lease("a", load) as again:
            assert again is first
    assert load.loads == 1


def test_an_idle_model_leaves_memory_and_comes_back() -> None:
    registry = Registry(idle_s=0.1)
    load = Loader()
    with registry.lease("a", load):
        pass
    until(lambda: registry.loaded() == [])
    with registry.lease("a", load):
        assert registry.loaded() == ["a"]
    assert load.loads == 2


def test_a_model_that_is_used_again_in_time_stays() -> None:
    idle_s = 1.0
    registry = Registry(idle_s)
    load = Loader()
    pauses = 0
    began_s = left_s = time.monotonic()
    while left_s < began_s + 1.5 * idle_s:
        with registry.lease("a", load):
            # After so long a pause, which a busy machine may make, it was rightly unloaded.
            pauses += time.monotonic() - left_s >= idle_s
            left_s = time.monotonic()
        time.sleep(0.02)
    assert 1 <= load.loads <= 1 + pauses


def test_idle_models_make_room_for_another(registry: Registry) -> None:
    for name in ("a", "b"):
        with registry.lease(name, Loader()):
            assert registry.loaded() == [name]
    assert registry.loaded() == ["b"]


def test_room_is_made_before_the_next_model_is_loaded(registry: Registry) -> None:
    seen: list[list[str]] = []

    def load() -> Model:
        seen.append(registry.loaded())
        return Model()

    with registry.lease("a", Loader()):
        pass
    with registry.lease("b", load):
        pass
    assert seen == [[]]


def test_models_in_use_stand_beside_each_other(registry: Registry) -> None:
    with ExitStack() as stack:
        for name in ("a", "b", "c"):
            stack.enter_context(registry.lease(name, Loader()))
        assert registry.loaded() == ["a", "b", "c"]


def test_a_failed_load_is_tried_again(registry: Registry) -> None:
    load = Loader(failures=2)
    for _ in range(2):
        with pytest.raises(OSError, match="slow today"), registry.lease("a", load):
            raise AssertionError("there is no model to lease")
        assert registry.loaded() == []
    with registry.lease("a", load):
        assert registry.loaded() == ["a"]
    assert load.loads == 3


def test_each_waiter_of_a_failed_load_tries_for_itself(registry: Registry) -> None:
    load = Loader(failures=1, takes_s=0.05)
    together = threading.Barrier(4)

    def use() -> bool:
        together.wait(timeout=30)
        try:
            with registry.lease("a", load):
                return True
        except OSError:
            return False

    with ThreadPoolExecutor(4) as pool:
        outcomes = [future.result() for future in [pool.submit(use) for _ in range(4)]]
    assert sorted(outcomes) == [False, True, True, True]
    assert load.loads == 2


def test_an_error_of_the_user_gives_the_model_back() -> None:
    registry = Registry(idle_s=0.05)
    with pytest.raises(ZeroDivisionError), registry.lease("a", Loader()):
        raise ZeroDivisionError
    until(lambda: registry.loaded() == [])


def test_a_user_does_not_fail_if_there_is_no_thread_for_the_idle_time(registry: Registry) -> None:
    with no_more_threads(), registry.lease("a", Loader()):
        pass
    assert registry.loaded() == ["a"]
    with registry.lease("b", Loader()):
        assert registry.loaded() == ["b"]


def test_many_uses_do_not_pile_up_threads(registry: Registry) -> None:
    before = set(threading.enumerate())
    load = Loader()
    for _ in range(50):
        with registry.lease("a", load):
            pass
    until(lambda: len(set(threading.enumerate()) - before) <= 1)


def test_leases_from_many_threads_with_little_idle_time() -> None:
    """Loading, unloading and using race for a while; nobody ever gets a model twice or none."""
    registry = Registry(idle_s=0.0)
    loaders = {name: Loader() for name in ("a", "b", "c")}

    def use(number: int) -> None:
        for turn in range(60):
            name = "abc"[(number + turn) % 3]
            with registry.lease(name, loaders[name]) as model:
                assert isinstance(model, Model)
                with registry.lease(name, loaders[name]) as same:
                    assert same is model
                assert name in registry.loaded()

    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(use, number) for number in range(6)]:
            future.result(timeout=60)
    until(lambda: registry.loaded() == [])
