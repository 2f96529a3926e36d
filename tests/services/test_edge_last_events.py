"""The last events of a fleet: nothing is missed, although of most hosts only a few are read."""

from hypothesis import given
from hypothesis import strategies as st

from services.edge.last_events import READ_AT_FIRST, Read, Seen, newest, to_read_on


def events(*times: int) -> list[Seen]:
    return [Seen(at, b"%d" % at) for at in times]


def test_the_newest_are_told_oldest_first_and_those_of_one_moment_in_their_order() -> None:
    assert newest([Seen(2, b"c"), Seen(1, b"a"), Seen(2, b"d"), Seen(0, b"-"), Seen(1, b"b")], 4) == [
        Seen(1, b"a"),
        Seen(1, b"b"),
        Seen(2, b"c"),
        Seen(2, b"d"),
    ]


def test_a_host_whose_few_are_not_all_among_the_last_is_left_alone() -> None:
    found = {"busy": Read(2, events(8, 9)), "quiet": Read(2, events(1, 10)), "new": Read(1, events(11))}
    assert to_read_on(found, 4) == ["busy"]


def test_entries_that_cannot_be_read_hide_no_others() -> None:
    assert to_read_on({"a": Read(2, []), "b": Read(0, [])}, 3) == ["a"]


hosts = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3), st.lists(st.integers(0, 40), max_size=12).map(sorted)
)


@given(hosts, st.integers(1, 15))
def test_nothing_is_missed(fleet: dict[str, list[int]], limit: int) -> None:
    of_all = {host: events(*times) for host, times in fleet.items()}
    few = {host: Read(len(told[-READ_AT_FIRST:]), told[-READ_AT_FIRST:]) for host, told in of_all.items()}
    more = {host: Read(len(of_all[host]), of_all[host]) for host in to_read_on(few, limit)}
    found = newest((event for read in (few | more).values() for event in read.events), limit)
    every = newest((event for told in of_all.values() for event in told), limit)
    assert [event.at for event in found] == [event.at for event in every]
