"""Says once that something is away, and once that it is back, however many tasks run into it."""

import logging
import time


class Outage:
    """One dependency's absences (`Redis at ...`, `Docker at ...`), as one warning and one line of return each."""

    def __init__(self, what: str, logger: logging.Logger) -> None:
        self._what = what
        self._logger = logger
        self._since: float | None = None

    @property
    def ongoing(self) -> bool:
        return self._since is not None

    def note(self, reason: str) -> None:
        """It failed just now."""
        if self._since is None:
            self._since = time.monotonic()
            self._logger.warning("%s is not available (%s): waiting for it", self._what, reason)

    def over(self) -> None:
        """It worked just now."""
        if self._since is not None:
            self._logger.info("%s is back after %.1f s", self._what, time.monotonic() - self._since)
            self._since = None
