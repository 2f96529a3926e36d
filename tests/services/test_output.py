"""Lines of a terminal: how they are cut, and that nobody waits for the terminal."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.output import LineSplitter, Output
from tests.support import eventually_sync


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_lines_are_the_same_however_the_bytes_arrive(chunks: list[bytes]) -> None:
    whole, parts = LineSplitter(), LineSplitter()
    expected = whole.feed(b"".join(chunks)) + whole.rest()
    assert [line for chunk in chunks for line in parts.feed(chunk)] + parts.rest() == expected


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=30), max_size=8), st.integers(1, 20))
def test_a_line_is_printable_and_no_longer_than_its_bound(chunks: list[str], max_chars: int) -> None:
    splitter = LineSplitter(max_chars)
    lines = [line for chunk in chunks for line in splitter.feed(chunk.encode())] + splitter.rest()
    assert all(line.isprintable() and len(line) <= max_chars + 1 for line in lines)


def test_a_line_of_exactly_the_bound_is_whole_and_a_longer_one_is_marked() -> None:
    assert LineSplitter(3).feed("äöü\näöüx\n".encode()) == ["äöü", "äöü…"]


def test_a_line_without_end_takes_no_memory_without_end() -> None:
    splitter = LineSplitter(10)
    for _ in range(1000):
        assert splitter.feed(b"x" * 1000) == []
    assert len(splitter._kept) < 100
    assert splitter.feed(b"\nnext\n") == ["x" * 10 + "…", "next"]


def test_what_the_terminal_does_not_take_is_dropped_and_counted() -> None:
    reading, writing = os.pipe()
    try:
        with Output(out=writing, max_waiting_lines=10) as output:
            while not output.dropped:
                output.say("x" * 1000)
            for _ in range(4):
                output.say("lost")
            read = b""

            def has_room() -> bool:
                nonlocal read
                read += os.read(reading, 1 << 16)
                output.say("again")
                return b"again" in read

            eventually_sync(has_room)
            assert b"(5 lines are missing here" in read
            assert b"lost" not in read
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.timeout(30)  # and not for ever
def test_leaving_does_not_wait_for_a_terminal_that_takes_nothing() -> None:
    reading, writing = os.pipe()
    try:
        with Output(out=writing, max_waiting_lines=10) as output:
            while output.dropped < 100:
                output.say("x" * 1000)
    finally:
        os.close(reading)  # the writer's thread gets EPIPE and ends
        output._writer.join(2)
        os.close(writing)


def test_a_terminal_that_was_made_non_blocking_gets_everything() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    read = b""
    try:
        with Output(out=writing) as output:
            for number in range(1000):
                output.say(f"{number} {'x' * 200}")
            while b"\n999 " not in read:
                read += os.read(reading, 1 << 16)
        assert read.count(b"\n") >= 999
    finally:
        os.close(reading)
        os.close(writing)
