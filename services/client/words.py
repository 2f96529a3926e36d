"""Hosts, containers, events and numbers in words for a terminal. Pure."""

from common.models import Container, HostMetrics
from common.protocol import EventMessage, HostStatus, Link
from services.client.fleet import is_off


def describe_links(status: HostStatus) -> tuple[str, str]:
    """A host's links in words (`live`, `gone: silent`, `containers gone: docker-unreachable`; `off` for one that may
    be), and their style."""
    if is_off(status):
        return "off", "bright_black"
    links = {"metrics": status.links.metrics, "containers": status.links.containers, "executor": status.links.executor}
    broken = {name: link for name, link in links.items() if link.state != "live"}
    if not broken:
        return "live", "green"
    if len(broken) == len(links) and len(set(broken.values())) == 1:
        return _describe_link(status.links.metrics), "red"
    return ", ".join(f"{name} {_describe_link(link)}" for name, link in broken.items()), "yellow"


def _describe_link(link: Link) -> str:
    return f"{link.state}: {link.reason}" if link.reason else link.state


def describe_state(container: Container) -> str:
    """`running`, `running, unhealthy`, `exited (137, out of memory)`."""
    if container.state in ("exited", "dead"):
        return _describe_end(container.state, container.exit_code, container.oom_killed)
    return _with_health(container.state, container.health)


def describe_event(event: EventMessage) -> str:
    """`running → exited (137, out of memory)`, `new, created`, `running, unhealthy`, `removed`."""
    if event.to is None:
        return "removed"
    state = _with_health(_describe_end(event.to, event.exit_code, event.oom_killed), event.health)
    if event.from_ is None:
        return f"new, {state}"
    return state if event.from_ == event.to else f"{event.from_} → {state}"


def describe_cause(event: EventMessage) -> str:
    """`by ops (restart)`; empty where it was none of our actions."""
    return "" if event.cause == "docker" else f"by {event.cause.actor} ({event.cause.action})"


def _describe_end(state: str, exit_code: int | None, oom_killed: bool | None) -> str:
    reasons = [] if exit_code is None else [str(exit_code)]
    reasons += ["out of memory"] if oom_killed else []
    return f"{state} ({', '.join(reasons)})" if reasons else state


def _with_health(state: str, health: str | None) -> str:
    if health == "starting":
        return f"{state}, health: starting"
    return f"{state}, {health}" if health else state


def network_totals(data: HostMetrics) -> tuple[float, float]:
    """Bytes per second in and out, of the interfaces that lead off the machine: what passes a bridge is counted there
    already."""
    inner = ("lo", "veth", "docker", "br-", "virbr")
    outer = [item for item in data.network if not item.interface.startswith(inner)] or data.network
    return sum(item.rx_bytes_per_sec for item in outer), sum(item.tx_bytes_per_sec for item in outer)


def format_bytes(count: float) -> str:
    """Three digits and a unit: `0 B`, `1.5 KiB`, `31.3 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def format_age(seconds: float) -> str:
    """`0 s`, `59 s`, `12 min`, `3 h`, `2 d`."""
    for unit, length, limit in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 48 * 3600)):
        if seconds < limit:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds // 86400:.0f} d"
