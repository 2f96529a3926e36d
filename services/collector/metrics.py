"""The metrics collector: samples this host on a steady clock and publishes, for as long as it holds the host's lease.

Independent of the containers collector. A sample that does not reach Redis is gone: the next one supersedes it.
"""

import asyncio

from common.bus import Bus
from common.host_id import read_host_id
from common.keys import Keys
from common.protocol import MetricsMessage
from common.settings import MetricsCollectorSettings
from common.tenure import StatePublisher, Tenure
from common.worker import HostWorker
from services.collector.history import MetricsHistory
from services.collector.host import HostSampler, Readings
from services.collector.messages import encoder
from services.collector.pace import Pace
from services.collector.processes import OLDEST_BASELINE_S, ProcessesReading, ProcessSampler, collect_processes

_GAP_S = 0.25
"""Between two looks at the counters, at least: long enough for honest numbers, and nobody waits."""


async def run_metrics_collector(settings: MetricsCollectorSettings) -> None:
    """Runs until it is cancelled. Raises HostIdConflictError and SettingsError."""
    settings = settings.model_copy(update={"host_id": read_host_id(settings)})
    bus = Bus(settings.redis_url, Keys(settings.namespace))
    sampler = HostSampler(Readings.of_host(settings.host_proc, settings.host_root))
    oldest_s = max(OLDEST_BASELINE_S, 2 * settings.interval)
    processes = ProcessSampler(ProcessesReading(settings.host_proc, oldest_s))
    fast_s, slow_s = settings.interval, settings.idle_interval

    async def job(tenure: Tenure) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(collect_metrics(tenure, sampler, fast_s, slow_s), name="host metrics")
            tasks.create_task(collect_processes(tenure, processes, fast_s), name="processes")

    try:
        await HostWorker.of(settings, bus, "metrics", interval_s=settings.interval).run(job)
    finally:
        await bus.close()


async def collect_metrics(tenure: Tenure, sampler: HostSampler, fast_s: float, slow_s: float) -> None:
    """A tenure's job: never returns. Samples every `fast_s` while somebody watches, every `slow_s` else."""
    publisher = StatePublisher(tenure, "metrics")
    history = MetricsHistory()
    gap_s = min(_GAP_S, fast_s / 2)
    now_s = asyncio.get_running_loop().time
    if await sampler.sample() is None:
        await asyncio.sleep(gap_s)
    pace = Pace(tenure, "metrics", fast_s, slow_s)
    while True:
        began_s = now_s()
        sampled_at = tenure.bus.clock.now_ms()
        data = await sampler.sample()
        if data is None:
            tenure.fault = "stalled unreadable"
        else:
            tenure.fault = None
            encode = encoder(MetricsMessage, tenure.host, sampled_at, data)
            points = history.points(sampled_at, data, pace.interval_s)
            await publisher.publish(encode, points, next_within_s=pace.interval_s)
        await pace.wait()
        if (early_s := began_s + gap_s - now_s()) > 0:  # a wake-up may come right after a sample
            await asyncio.sleep(early_s)
