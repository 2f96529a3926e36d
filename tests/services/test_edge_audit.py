"""A page of the audit against the simplest thing that could be right: sort everything, then cut."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.actions import EntryId
from common.models import ActionRecord
from services.edge.audit import MAX_READ, Answer, Chunk, Page, wanted
from tests.samples import ID_A, ID_B

Streams = Mapping[str, Sequence[tuple[EntryId, str]]]
"""Host → (id, actor) of its entries, newest first."""


def record(host: str, entry_id: EntryId, actor: str = "ann") -> ActionRecord:
    return ActionRecord(
        request_id=f"{host}/{entry_id[0]}-{entry_id[1]}",
        host=host,
        container_id=ID_A,
        name="web",
        action="stop",
        actor=actor,
        deadline=1,
        status="succeeded",
        at=1,
    )


class Fleet:
    """Streams that answer as Redis does, and count."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self.reads: Counter[str] = Counter()
        self.entries_read = 0
        self.rounds = 0

    def read(self, page: Page) -> Answer:
        """Until the page is there."""
        while chunks := page.chunks():
            self.rounds += 1
            assert len({chunk.host for chunk in chunks}) == len(chunks)
            assert 0 < sum(chunk.at_most for chunk in chunks) <= 1000
            for chunk in chunks:
                page.take(chunk, self._entries(chunk))
        return page.answer()

    def _entries(self, chunk: Chunk) -> list[tuple[EntryId, ActionRecord | None]]:
        older = [(entry_id, actor) for entry_id, actor in self._streams[chunk.host] if entry_id < chunk.before]
        found = older[: chunk.at_most]
        self.reads[chunk.host] += 1
        self.entries_read += len(found)
        return [
            (entry_id, None if actor == "rubbish" else record(chunk.host, entry_id, actor)) for entry_id, actor in found
        ]


def all_sorted(streams: Streams, wants: Callable[[ActionRecord], bool]) -> list[str]:
    entries = [
        (-ms, host, -seq, record(host, (ms, seq), actor))
        for host, stream in streams.items()
        for (ms, seq), actor in stream
        if actor != "rubbish"
    ]
    return [entry.request_id for *_, entry in sorted(entries, key=lambda entry: entry[:3]) if wants(entry)]


def ms_of(entry: ActionRecord) -> int:
    return int(entry.request_id.partition("/")[2].partition("-")[0])


entry_ids = st.tuples(st.integers(1, 12), st.integers(0, 5))
actors = st.sampled_from(["ann", "bob", "rubbish"])
streams_of_hosts = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d", "e"]),
    st.dictionaries(entry_ids, actors, max_size=25).map(lambda stream: sorted(stream.items(), reverse=True)),
)
wantings = st.sampled_from([None, "ann", "nobody"]).map(lambda actor: wanted(actor, None))


@given(streams_of_hosts, wantings, st.integers(1, 20))
def test_pages_have_every_entry_once_newest_first_and_end_with_a_whole_millisecond(
    streams: Streams, wants: Callable[[ActionRecord], bool], limit: int
) -> None:
    expected = all_sorted(streams, wants)
    shown: list[str] = []
    before: int | None = None
    while True:
        entries, older, is_cut = Fleet(streams).read(Page(streams, limit, before, wants))
        shown += [entry.request_id for entry in entries]
        assert not is_cut
        assert len({ms_of(entry) for entry in entries[limit - 1 :]}) <= 1, "longer than it had to be"
        if older is None:
            break
        assert len(entries) >= limit
        assert older == ms_of(entries[-1])
        assert before is None or older < before
        before = older
    assert shown == expected


@given(streams_of_hosts, wantings, st.integers(1, 20), st.integers(1, 12))
def test_pages_that_end_early_lose_nothing_but_what_one_millisecond_has_too_much(
    streams: Streams, wants: Callable[[ActionRecord], bool], limit: int, max_read: int
) -> None:
    shown: list[str] = []
    cut: set[int | None] = set()
    before: int | None = None
    while True:
        fleet = Fleet(streams)
        entries, older, is_cut = fleet.read(Page(streams, limit, before, wants, max_read))
        assert fleet.entries_read <= max(max_read, len(streams))
        shown += [entry.request_id for entry in entries]
        if is_cut:
            assert before is not None
            cut.add(before - 1)
        if older is None:
            break
        assert before is None or older < before, "no progress"
        before = older
    expected = all_sorted(streams, wants)
    assert [entry for entry in expected if entry in shown] == shown, "repeated, or in another order"
    missing = set(expected) - set(shown)
    assert {int(entry.partition("/")[2].partition("-")[0]) for entry in missing} <= cut


def test_a_millisecond_with_more_than_may_be_read_ends_and_is_said() -> None:
    streams = {"a": [((7, seq), "ann") for seq in range(50, 0, -1)] + [((3, 0), "ann")]}
    entries, older, is_cut = Fleet(streams).read(Page(streams, 5, None, max_read=20))
    assert (entries, older, is_cut) == ([], 8, False)
    entries, older, is_cut = Fleet(streams).read(Page(streams, 5, older, max_read=20))
    assert (len(entries), older, is_cut) == (20, 7, True)
    entries, older, is_cut = Fleet(streams).read(Page(streams, 5, older, max_read=20))
    assert ([ms_of(entry) for entry in entries], older, is_cut) == ([3], None, False)


def test_a_host_without_anything_for_the_page_is_looked_at_once() -> None:
    quiet = {f"quiet-{number:03}": [((ms, 0), "ann") for ms in range(50 + number, number, -1)] for number in range(200)}
    streams = {**quiet, "busy": [((ms, 0), "ann") for ms in range(5000, 1000, -1)]}
    fleet = Fleet(streams)
    entries, older, _ = fleet.read(Page(streams, 20))
    assert ([ms_of(entry) for entry in entries], older) == (list(range(5000, 4980, -1)), 4981)
    assert {fleet.reads[host] for host in list(quiet)[:180]} == {1}
    assert fleet.entries_read < 400


def test_a_search_that_finds_nothing_ends_early_and_goes_on_from_there() -> None:
    streams = {host: [((ms, 0), "ann") for ms in range(15_000, 0, -1)] for host in "abc"}
    fleet = Fleet(streams)
    found, older, _ = fleet.read(Page(streams, 10, None, wanted("bob", None)))
    assert found == []
    assert older is not None
    assert fleet.entries_read == MAX_READ
    assert older < 15_000 - MAX_READ / 3 + 1000, "what is read is spent on what holds the page up"
    assert fleet.rounds < 100


def test_a_fleet_larger_than_what_may_be_read_is_still_looked_at_once_a_host() -> None:
    streams = {f"host-{number}": [((number + 1, 0), "ann")] for number in range(300)}
    entries, older, _ = Fleet(streams).read(Page(streams, 1000, None, max_read=10))
    assert older is not None
    shown = len(entries)
    while older is not None:
        entries, older, _ = Fleet(streams).read(Page(streams, 1000, older, max_read=10))
        shown += len(entries)
    assert shown == 300


def test_no_hosts_have_no_audit() -> None:
    assert Fleet({}).read(Page([], 100)) == Answer([], None, False)


@pytest.mark.parametrize(
    ("actor", "container", "fits"),
    [
        (None, None, True),
        ("ann", None, True),
        ("an", None, False),
        ("Ann", None, False),
        (None, "web", True),
        (None, "we", False),
        (None, ID_A, True),
        (None, ID_A[:5], True),
        (None, ID_A[1:], False),
        (None, ID_B, False),
        ("bob", "web", False),
    ],
)
def test_an_entry_is_found_by_its_actor_and_by_its_containers_name_or_id(
    actor: str | None, container: str | None, fits: bool
) -> None:
    assert wanted(actor, container)(record("a", (1, 0))) is fits
