"""What the roster says of a fleet's workers."""

from common.bus import Bus
from common.keys import Worker


async def faults(bus: Bus, worker: Worker) -> dict[str, str]:
    """Host → what keeps its worker from its job, of those that have a fault."""
    about = (await bus.read_roster()).about[worker]
    return {host: said.fault for host, said in about.items() if said.fault is not None}
