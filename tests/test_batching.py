"""Threads that ask at the same time are answered together."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest


def test_those_that_have_not_left_are_answered_together() -> None:
    seen: list[list[tuple[int, int]]] = []

    def reply(requests: Sequence[tuple[int, int]]) -> list[int]:
        seen.append(sorted(requests))
        return [10 * member + turn for member, turn in requests]

    group = Gathering(3, reply)

    def work(member: int) -> list[int]:
        try:
            return [group.ask((member, turn)) for turn in range(member + 1)]
        finally:
            group.leave()

    with ThreadPoolExecutor(3) as threads:
        found = [threads.submit(work, member) for member in range(3)]
        group.serve()
        assert [one.result() for one in found] == [[0], [10, 11], [20, 21, 22]]
    assert seen == [[(0, 0), (1, 0), (2, 0)], [(1, 1), (2, 1)], [(2, 2)]]


def test_an_error_reaches_all_that_asked_and_ends_nothing_else() -> None:
    def reply(requests: Sequence[str]) -> list[str]:
        if "bad" in requests:
            raise ValueError("one of them is bad")
        return [one.upper() for one in requests]

    group = Gathering(2, reply)

    def work(first: str) -> str:
        try:
            with pytest.raises(ValueError, match="bad"):
                group.ask(first)
            return str(group.ask("good"))
        finally:
            group.leave()

    with ThreadPoolExecutor(2) as threads:
        found = [threads.submit(work, first) for first in ("bad", "fine")]
        group.serve()
        assert [one.result() for one in found] == ["GOOD", "GOOD"]


def test_a_member_that_fails_leaves_the_others_to_themselves() -> None:
    group = Gathering(2, list)

    def fail() -> None:
        try:
            raise RuntimeError("failed")
        finally:
            group.leave()

    def ask() -> object:
        try:
            return group.ask("alone")
        finally:
            group.leave()

    with ThreadPoolExecutor(2) as threads:
        failed, asked = threads.submit(fail), threads.submit(ask)
        group.serve()
        assert asked.result() == "alone"
        with pytest.raises(RuntimeError, match="failed"):
            failed.result()
