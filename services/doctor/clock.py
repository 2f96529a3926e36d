"""How far this machine's clock and Redis' are apart, and what that breaks. Pure."""

from services.doctor.finding import Finding

_NOTICED_MS = 10_000
_REFUSED_MS = 3_600_000
"""An executor does no order of a time this far off (services/executor/admission.py), whoever signed it."""

_ADVICE = "set the clocks of this machine and of Redis' right: timedatectl, chronyc tracking"


def judge_clock(difference_ms: float) -> Finding:
    """`difference_ms`: by how much this machine's is ahead of Redis'."""
    off_ms = abs(difference_ms)
    apart = f"this machine's is {_words(off_ms)} {'ahead of' if difference_ms > 0 else 'behind'} Redis'"
    if off_ms > _REFUSED_MS:
        return Finding("clock", "failed", f"{apart}: executors do nothing that is so far off", _ADVICE)
    if off_ms > _NOTICED_MS:
        return Finding("clock", "warning", f"{apart}: sign-in tokens begin and end at the wrong time", _ADVICE)
    return Finding("clock", "ok", apart if off_ms >= 1 else "this machine's and Redis' agree")


def _words(ms: float) -> str:
    for unit, size_ms in (("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if ms >= size_ms:
            return f"{ms / size_ms:.1f} {unit}"
    return f"{ms:.0f} ms"
