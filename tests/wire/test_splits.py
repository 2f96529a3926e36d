"""Whatever a client sends, and wherever its bytes are cut: the answers are those of each message alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.edges import RunningEdge
from tests.wire.frames import BINARY, CLOSE, PING, PONG, RSV1, Event, Pong, close_frame, deflated, fragments, frame
from tests.wire.raw import DEFLATE, Client, parsed, ping, websocket

pytestmark = pytest.mark.asyncio(loop_scope="package")

MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

Answers = tuple[list[str], list[bytes]]
"""To messages, and to pings: in which order these two come is not laid down."""


@dataclass(frozen=True)
class Sent:
    """Something that a client sends, and what has to come back."""

    frames: tuple[bytes, ...]
    says: tuple[str, ...] = ()
    pongs: tuple[bytes, ...] = ()

    @property
    def wire(self) -> bytes:
        return b"".join(self.frames)


@dataclass(frozen=True)
class Ending:
    """The last thing that a client sends, and the codes of a close that may come back."""

    wire: bytes
    codes: frozenset[int | None]


NOT_UTF8 = Ending(frame(b"\xc3\x28"), frozenset({1007}))

masks = st.binary(min_size=4, max_size=4)
control_payloads = st.binary(max_size=125)


def interleaved(frames: Sequence[bytes], controls: Sequence[tuple[int, bytes]]) -> tuple[bytes, ...]:
    """Control frames in front of, between and behind the frames of a message."""
    mixed = list(frames)
    for number, (place, control) in enumerate(controls):
        mixed.insert(min(place, len(frames)) + number, control)
    return tuple(mixed)


@st.composite
def messages(draw: st.DrawFn, makes: Callable[[bytes], bytes] = lambda payload: payload, rsv: int = 0) -> Sent:
    """A message in any number of frames, perhaps with control frames between them. `makes`: the payload on the wire."""
    kind = draw(st.sampled_from(["ping", "nonsense", "binary"]))
    if kind == "ping":
        nonce = draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=128))
        payload, opcode, says = ping(nonce), 0x1, f"heartbeat {nonce}"
    elif kind == "nonsense":
        text = draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
        payload, opcode, says = f"no JSON: {text}".encode(), 0x1, "error invalid-message"
    else:
        payload, opcode, says = draw(st.binary(max_size=300)), BINARY, "error invalid-message"
    on_wire = makes(payload)
    cuts = draw(st.lists(st.integers(0, len(on_wire)), max_size=4))
    frames = fragments(on_wire, *cuts, opcode=opcode, rsv=rsv, mask=draw(masks))
    controls, pongs = [], []
    for place in sorted(draw(st.lists(st.integers(0, len(frames)), max_size=2))):
        control = draw(control_payloads)
        is_ping = draw(st.booleans())
        controls.append((place, frame(control, PING if is_ping else PONG, mask=draw(masks))))
        if is_ping:
            pongs.append(control)
    return Sent(interleaved(frames, controls), (says,), tuple(pongs))


pings = st.builds(
    lambda payload, mask: Sent((frame(payload, PING, mask=mask),), (), (payload,)), control_payloads, masks
)
pongs = st.builds(lambda payload, mask: Sent((frame(payload, PONG, mask=mask),)), control_payloads, masks)
plain = st.one_of(messages(), messages(), pings, pongs)
mixed = st.one_of(messages(), messages(deflated, RSV1), pings)

endings = st.one_of(
    st.builds(
        lambda code, reason: Ending(close_frame(code, reason), frozenset({code})),
        st.sampled_from([1000, 1001, 3000, 4999]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    ),
    st.sampled_from(
        [
            Ending(close_frame(), frozenset({None})),
            Ending(close_frame(1005), frozenset({1002})),
            Ending(frame(b"", 0x3), frozenset({1002})),
            Ending(frame(b"not masked", mask=None), frozenset({1002})),
            Ending(frame(b"a", CLOSE), frozenset({1002})),
            NOT_UTF8,
            Ending(frame(b"x" * 65_537), frozenset({1009})),
        ]
    ),
)


def pieces(wire: bytes, cuts: Sequence[float] | None) -> list[bytes]:
    """Cut at these places, from 0 to 1, or behind every byte."""
    if cuts is None:
        return [bytes((byte,)) for byte in wire]
    edges = [0, *sorted(int(cut * len(wire)) for cut in cuts), len(wire)]
    return [piece for start, end in pairwise(edges) if (piece := wire[start:end])]


cuts = st.one_of(st.none(), st.lists(st.floats(0, 1), max_size=12))


def answers(events: Sequence[Event]) -> Answers:
    said: list[str] = []
    for event in events:
        if not isinstance(event, Pong):
            message = parsed(event)
            said.append(f"{message['type']} {message.get('code', message.get('nonce'))}")
    return said, [event.payload for event in events if isinstance(event, Pong)]


def expected(sent: Sequence[Sent]) -> Answers:
    return [says for one in sent for says in one.says], [payload for one in sent for payload in one.pongs]


async def exchange(client: Client, sent: Sequence[Sent], cuts: Sequence[float] | None) -> Answers:
    """Sends it all, cut so, and a last message behind it that shows the end of the answers."""
    end = frame(ping("the end"))
    await client.tcp.send_in_pieces([*pieces(b"".join(one.wire for one in sent), cuts), end])
    return answers(await client.answers_to_ping("the end"))


@given(sent=st.lists(plain, max_size=8), cuts=cuts)
@MANY
async def test_messages_cut_anywhere_are_answered_as_if_sent_whole(
    edge: RunningEdge, sent: list[Sent], cuts: list[float] | None
) -> None:
    async with websocket(edge) as whole:
        assert await exchange(whole, sent, []) == expected(sent)
    async with websocket(edge) as cut:
        assert await exchange(cut, sent, cuts) == expected(sent)


@given(sent=st.lists(mixed, max_size=8), cuts=cuts)
@MANY
async def test_compressed_messages_cut_anywhere_are_answered_as_if_sent_whole(
    edge: RunningEdge, sent: list[Sent], cuts: list[float] | None
) -> None:
    async with websocket(edge, DEFLATE) as whole:
        assert await exchange(whole, sent, []) == expected(sent)
    async with websocket(edge, DEFLATE) as cut:
        assert await exchange(cut, sent, cuts) == expected(sent)


@given(sent=st.lists(plain, max_size=5), ending=endings, after=st.lists(plain | endings, max_size=3), cuts=cuts)
@example(sent=[], ending=NOT_UTF8, after=[Ending(close_frame(1000), frozenset({1000}))], cuts=[])
@MANY
async def test_an_end_cut_anywhere_comes_behind_the_answers_to_all_before_it(
    edge: RunningEdge, sent: list[Sent], ending: Ending, after: list[Sent | Ending], cuts: list[float] | None
) -> None:
    """What comes after the end is not answered, whether it comes with it or later."""
    wire = b"".join(one.wire for one in [*sent, ending, *after])
    codes = set(ending.codes)
    if ending == NOT_UTF8:  # where another reason to close comes in the same read, that one may be told
        codes.update(*(one.codes for one in after if isinstance(one, Ending)))
    for places in ([], cuts if len(wire) < 2_000 else [0.2, 0.4, 0.99]):
        async with websocket(edge) as client:
            await client.tcp.send_in_pieces(pieces(wire, places))
            events, close = await client.closing()
            assert close.code in codes
            said, pongs = answers(events)
            said_expected, pongs_expected = expected(sent)
            assert said == said_expected
            # Pings that come in the same read as the end may be answered still.
            assert pongs[: len(pongs_expected)] == pongs_expected
