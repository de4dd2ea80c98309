"""Requests of the windows of a batch are answered together, in an order that is not luck."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from studio.transcription.batching import BatchBarrier, BatchedModel


def test_members_that_have_not_left_are_answered_together() -> None:
    seen: list[list[tuple[int, int]]] = []

    def reply(requests: Sequence[tuple[int, int]]) -> list[int]:
        seen.append(list(requests))
        return [10 * member + turn for member, turn in requests]

    barrier = BatchBarrier(3, reply)

    def work(member: int) -> list[int]:
        try:
            # The last member comes first.
            time.sleep(0.02 * (2 - member))
            return [barrier.ask(member, (member, turn)) for turn in range(member + 1)]
        finally:
            barrier.leave()

    with ThreadPoolExecutor(3) as threads:
        found = [threads.submit(work, member) for member in range(3)]
        barrier.serve()
        assert [one.result() for one in found] == [[0], [10, 11], [20, 21, 22]]
    assert seen == [[(0, 0), (1, 0), (2, 0)], [(1, 1), (2, 1)], [(2, 2)]]


def test_an_error_reaches_every_member_of_its_batch_and_ends_nothing_else() -> None:
    def reply(requests: Sequence[str]) -> list[str]:
        if "bad" in requests:
            raise ValueError("one of them is bad")
        return [one.upper() for one in requests]

    barrier = BatchBarrier(2, reply)

    def work(member: int, first: str) -> str:
        try:
            with pytest.raises(ValueError, match="bad"):
                barrier.ask(member, first)
            return str(barrier.ask(member, "good"))
        finally:
            barrier.leave()

    with ThreadPoolExecutor(2) as threads:
        found = [threads.submit(work, *one) for one in enumerate(("bad", "fine"))]
        barrier.serve()
        assert [one.result() for one in found] == ["GOOD", "GOOD"]


def test_a_member_that_fails_does_not_hold_up_the_others() -> None:
    barrier = BatchBarrier(2, list)

    def fail() -> None:
        try:
            raise RuntimeError("failed")
        finally:
            barrier.leave()

    def ask() -> object:
        try:
            return barrier.ask(1, "alone")
        finally:
            barrier.leave()

    with ThreadPoolExecutor(2) as threads:
        failed, asked = threads.submit(fail), threads.submit(ask)
        barrier.serve()
        assert asked.result() == "alone"
        with pytest.raises(RuntimeError, match="failed"):
            failed.result()


class Recorder:
    """A model that notes how many windows each call has, and gives back what it gets."""

    def __init__(self, encodes_together: bool = False) -> None:
        self.encodes_together = encodes_together
        self.calls: list[tuple[str, int]] = []

    def encode(self, features: Any, to_cpu: bool = False) -> Any:
        self.calls.append(("encode", len(features)))
        return 2 * features

    def generate(
        self, features: Any, prompts: Sequence[Sequence[int]], **settings: Any
    ) -> list[float]:
        self.calls.append((f"beam {settings['beam_size']}", len(prompts)))
        return [
            float(states.sum()) + len(prompt)
            for states, prompt in zip(features, prompts, strict=True)
        ]

    def align(
        self, features: Any, start: Sequence[int], texts: Sequence[Sequence[int]], num_frames: int
    ) -> list[float]:
        self.calls.append((f"align {num_frames} frames", len(texts)))
        return []

    def max_windows(self, beam_size: int) -> int:
        return 24 // beam_size


@pytest.mark.parametrize(("together", "encoded"), [(False, [1, 1, 1, 1]), (True, [4])])
def test_windows_with_equal_settings_are_decoded_in_one_call(
    together: bool, encoded: list[int]
) -> None:
    recorder = Recorder(together)
    model = BatchedModel(recorder)
    barrier = model.barrier(4)

    def work(number: int) -> float:
        with model.member(barrier, number):
            states = model.encode(np.full((1, 1), number))
            beam_size = 1 if number == 3 else 5
            (result,) = model.generate(states, [[7] * 3], beam_size=beam_size)
        return float(result)

    with ThreadPoolExecutor(4) as threads:
        found = [threads.submit(work, number) for number in range(4)]
        barrier.serve()
    assert [one.result() for one in found] == [3.0, 5.0, 7.0, 9.0]
    encodings = [("encode", count) for count in encoded]
    assert recorder.calls == [*encodings, ("beam 1", 1), ("beam 5", 3)]


def test_a_caller_outside_of_a_batch_reaches_the_model_directly() -> None:
    recorder = Recorder()
    model = BatchedModel(recorder)
    assert model.encode(np.ones((1, 1)))[0, 0] == 2
    assert model.max_windows(5) == 4
    # faster-whisper may ask for the words of 10 ms.
    assert model.align(np.ones((1, 1)), [1], [[2]], 1) == []
    assert recorder.calls == [("encode", 1), ("align 4 frames", 1)]
