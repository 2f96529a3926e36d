"""How long to wait before the next try. Pure: it neither sleeps nor reads a clock."""

import random


class Backoff:
    """Exponential delays with jitter, started afresh by a healthy run.

    Each delay is drawn from the upper half of its step, so that a fleet that lost the same server does not come back
    in the same instant, and nobody hammers it either.
    """

    def __init__(self, initial_s: float = 0.2, cap_s: float = 5.0, healthy_s: float = 10.0) -> None:
        self._initial_s = initial_s
        self._cap_s = cap_s
        self._healthy_s = healthy_s
        self._step_s = initial_s

    def next_delay(self) -> float:
        """Seconds to wait now; the step doubles up to the cap."""
        step_s = self._step_s
        self._step_s = min(step_s * 2, self._cap_s)
        return random.uniform(step_s / 2, step_s)  # noqa: S311 - jitter, not a secret

    def note_healthy(self, run_s: float) -> None:
        """Says how long the last try worked before it failed."""
        if run_s >= self._healthy_s:
            self.reset()

    def reset(self) -> None:
        self._step_s = self._initial_s
