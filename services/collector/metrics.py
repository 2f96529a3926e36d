"""The metrics collector: samples this host on a steady clock and publishes, for as long as it holds the host's lease.

Independent of the containers collector. A sample that does not reach Redis is gone: the next one supersedes it.
"""

import asyncio
from functools import partial

from common.bus import Bus
from common.envelope import Version
from common.keys import Keys
from common.models import HostMetrics
from common.protocol import MetricsMessage
from common.settings import MetricsCollectorSettings
from common.worker import OVERDUE_S, HostWorker, StatePublisher, Tenure
from services.collector.host import HostSampler, Readings
from services.collector.ticks import Ticks

_FIRST_GAP_S = 0.25
"""Between the first look at the counters and the first sample: long enough for honest numbers, and nobody waits."""


async def run_metrics_collector(settings: MetricsCollectorSettings) -> None:
    """Runs until it is cancelled. Raises HostIdConflictError."""
    bus = Bus(settings.redis_url, Keys(settings.namespace))
    worker = HostWorker(
        bus,
        settings.host_id,
        "metrics",
        instance=settings.instance,
        overdue_s=max(OVERDUE_S, 3 * settings.interval),
        run_dir=settings.run_dir,
    )
    sampler = HostSampler(Readings.of_host(settings.host_proc, settings.host_root))
    try:
        await worker.run(partial(collect_metrics, sampler=sampler, interval_s=settings.interval))
    finally:
        await bus.close()


async def collect_metrics(tenure: Tenure, sampler: HostSampler, interval_s: float) -> None:
    """A tenure's job: never returns."""
    publisher = StatePublisher(tenure, "metrics")
    if await sampler.sample() is None:
        await asyncio.sleep(min(_FIRST_GAP_S, interval_s))
    ticks = Ticks(interval_s)
    while True:
        sampled_at = tenure.bus.clock.now_ms()
        data = await sampler.sample()
        if data is None:
            tenure.fault = "stalled unreadable"
        else:
            tenure.fault = None
            await publisher.publish(partial(_encode, tenure.host, sampled_at, data))
        await ticks.wait()


def _encode(host: str, sampled_at: int, data: HostMetrics, version: Version) -> bytes:
    message = MetricsMessage(host=host, epoch=version.epoch, seq=version.seq, sampled_at=sampled_at, data=data)
    return message.model_dump_json().encode()
