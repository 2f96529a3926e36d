"""Logs and counters. Every bound and every skipped input has a counter here, under its Prometheus name.

The workers of one edge keep their numbers together in files of one directory, so that each of them can tell those of
all: Prometheus' multi-process mode.
"""

import logging
import os
import sys
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, generate_latest, start_http_server, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from common.settings import EdgeSettings

LOG_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
WORKER_LOG_FORMAT = "%(asctime)s %(levelname)-7s [{worker}] %(name)s: %(message)s"

_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
_WORKER = EdgeSettings.variable("worker_number")


def share_metrics(directory: Path, name: str) -> None:
    """From here on this process' metrics are made in `directory`, under a name that no other living process has.

    Not under its process id, as the library would have it: every worker that dies would then leave its files behind. So
    the one that takes its place goes on with them, and counts on.
    """
    os.environ[_DIRECTORY] = str(directory)
    values.ValueClass = values.MultiProcessValue(lambda: name)  # type: ignore[no-untyped-call]


_is_worker = bool(os.environ.get(_WORKER) and os.environ.get(_DIRECTORY))
if _is_worker:  # a metric stays where it was made, and the next lines make some: this cannot wait for the settings
    share_metrics(Path(os.environ[_DIRECTORY]), os.environ[_WORKER])

malformed = Counter(
    "fleetcast_malformed_total", "Inputs from Redis that were skipped because they do not parse", ["what"]
)
bus_reconnects = Counter("fleetcast_bus_reconnects_total", "Subscriber connections given up", ["cause"])
unpublished = Counter("fleetcast_unpublished_total", "Samples that did not reach Redis", ["kind"])
unreplicated = Counter(
    "fleetcast_unreplicated_total", "Steps of actions that no replica had confirmed in time: a fail-over may undo them"
)
task_restarts = Counter("fleetcast_task_restarts_total", "Attempts of a supervised task that failed", ["task"])
lease_held = Gauge("fleetcast_lease_held", "1 while this process is the live worker of its kind", ["worker"])


def configure_logging(level: str, service: str, worker: int | None = None) -> None:
    """One line a record on standard error; libraries speak from WARNING up. `worker`: which of several says it."""
    line = LOG_FORMAT if worker is None else WORKER_LOG_FORMAT.format(worker=worker)
    logging.basicConfig(level=logging.WARNING, format=line, stream=sys.stderr, force=True)
    for ours in ("common", "services", service):
        logging.getLogger(ours).setLevel(level.upper())


def serve_metrics(port: int) -> None:
    """Prometheus metrics of a worker on loopback; 0 serves none."""
    if port:
        start_http_server(port, addr="127.0.0.1")


def metrics_text() -> bytes:
    """What Prometheus reads: the metrics of this process, or of all workers where it is one of several."""
    registry = REGISTRY
    if _is_worker:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def forget_live_metrics(name: str) -> None:
    """What is true only of a living process (its clients, say) is true no more of this one."""
    mark_process_dead(name)  # type: ignore[no-untyped-call]
