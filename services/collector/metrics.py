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
from common.worker import HostWorker, StatePublisher, Tenure
from services.collector.host import HostSampler, Readings
from services.collector.pace import Pace

_FIRST_GAP_S = 0.25
"""Between the first look at the counters and the first sample: long enough for honest numbers, and nobody waits."""


async def run_metrics_collector(settings: MetricsCollectorSettings) -> None:
    """Runs until it is cancelled. Raises HostIdConflictError."""
    bus = Bus(settings.redis_url, Keys(settings.namespace))
    sampler = HostSampler(Readings.of_host(settings.host_proc, settings.host_root))
    job = partial(collect_metrics, sampler=sampler, fast_s=settings.interval, slow_s=settings.idle_interval)
    try:
        await HostWorker.of(settings, bus, "metrics").run(job)
    finally:
        await bus.close()


async def collect_metrics(tenure: Tenure, sampler: HostSampler, fast_s: float, slow_s: float) -> None:
    """A tenure's job: never returns. Samples every `fast_s` while somebody watches, every `slow_s` else."""
    publisher = StatePublisher(tenure, "metrics")
    if await sampler.sample() is None:
        await asyncio.sleep(min(_FIRST_GAP_S, fast_s))
    pace = Pace(tenure, "metrics", fast_s, slow_s)
    while True:
        sampled_at = tenure.bus.clock.now_ms()
        data = await sampler.sample()
        if data is None:
            tenure.fault = "stalled unreadable"
        else:
            tenure.fault = None
            encode = partial(_encode, tenure.host, sampled_at, data)
            await publisher.publish(encode, next_within_s=pace.interval_s)
        await pace.wait()


def _encode(host: str, sampled_at: int, data: HostMetrics, version: Version) -> bytes:
    message = MetricsMessage(host=host, epoch=version.epoch, seq=version.seq, sampled_at=sampled_at, data=data)
    return message.model_dump_json().encode()
