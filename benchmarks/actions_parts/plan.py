"""What is asked for in a run of chaos: lanes of steps, each begun when the one before it has ended. Pure but for the
dice it is given.

Half of the containers have one lane, with steps that fit each other: a stop is followed by a start, a pause by an
unpause. The others have two lanes of two clients, which do nothing but restart, so that actions wait for each other.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from common.models import ActionKey, ActionVerb
from common.protocol import ContainerAction

SHORT_S = 2
"""The deadline of steps that an outage makes late."""

LONG_S = 60
"""The deadline of the others: longer than an outage usually takes."""

_SEQUENCES: Sequence[tuple[ActionVerb, ...]] = (
    ("restart",),
    ("restart",),
    ("restart",),
    ("stop", "start"),
    ("pause", "unpause"),
    ("kill", "start"),
)


@dataclass(frozen=True)
class Step:
    """One action that a client asks for."""

    request_id: str
    container_id: str
    verb: ActionVerb
    expires_in_sec: int
    twice: bool = False
    """A second client asks for the same at the same time, at the other edge."""

    def key(self, host: str) -> ActionKey:
        return ActionKey(host, self.request_id)

    def message(self, host: str) -> ContainerAction:
        return ContainerAction(
            type="container-action",
            request_id=self.request_id,
            host=host,
            container_id=self.container_id,
            action=self.verb,
            expires_in_sec=self.expires_in_sec,
        )


@dataclass(frozen=True)
class Lane:
    """Steps of one client for one container, one after the other."""

    client: int
    steps: tuple[Step, ...]


def plan(container_ids: Sequence[str], actions: int, clients: int, dice: random.Random) -> list[Lane]:
    """Lanes with so many steps in all, for clients from 0 on."""
    makers: list[tuple[str, Iterator[ActionVerb]]] = []
    for number, container_id in enumerate(container_ids):
        if number % 2:
            makers.append((container_id, _fitting(dice)))
        else:
            makers += [(container_id, _restarts()), (container_id, _restarts())]
    # A container's share is the same whether it has one lane or two.
    weights = [2 if number % 2 else 1 for number in range(len(container_ids)) for _ in range(1 if number % 2 else 2)]
    lengths = _shares(actions, weights)
    numbers = iter(range(actions))
    return [
        Lane(lane % clients, tuple(_step(next(numbers), id, verb, dice) for verb in islice(verbs, length)))
        for lane, ((id, verbs), length) in enumerate(zip(makers, lengths, strict=True))
    ]


def _step(number: int, container_id: str, verb: ActionVerb, dice: random.Random) -> Step:
    # Only a restart may expire soon: the step after a stop or a pause counts on it.
    short = verb == "restart" and dice.random() < 0.15
    twice = dice.random() < 0.1
    return Step(f"chaos-{number:05}", container_id, verb, SHORT_S if short else LONG_S, twice)


def _restarts() -> Iterator[ActionVerb]:
    while True:
        yield "restart"


def _fitting(dice: random.Random) -> Iterator[ActionVerb]:
    while True:
        yield from dice.choice(_SEQUENCES)


def _shares(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in whole parts by weight; what does not divide goes to the first ones."""
    shares = [total * weight // sum(weights) for weight in weights]
    for number in range(total - sum(shares)):
        shares[number] += 1
    return shares
