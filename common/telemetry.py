"""Logs and counters. Every bound and every skipped input has a counter here, under its Prometheus name."""

import logging
import sys

from prometheus_client import Counter, Gauge, start_http_server

LOG_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

malformed = Counter(
    "fleetcast_malformed_total", "Inputs from Redis that were skipped because they do not parse", ["what"]
)
bus_reconnects = Counter("fleetcast_bus_reconnects_total", "Subscriber connections given up", ["cause"])
unpublished = Counter("fleetcast_unpublished_total", "Samples that did not reach Redis", ["kind"])
task_restarts = Counter("fleetcast_task_restarts_total", "Attempts of a supervised task that failed", ["task"])
lease_held = Gauge("fleetcast_lease_held", "1 while this process is the live worker of its kind", ["worker"])


def configure_logging(level: str, service: str) -> None:
    """One line a record on standard error; libraries speak from WARNING up."""
    logging.basicConfig(level=logging.WARNING, format=LOG_FORMAT, stream=sys.stderr, force=True)
    for ours in ("common", "services", service):
        logging.getLogger(ours).setLevel(level.upper())


def serve_metrics(port: int) -> None:
    """Prometheus metrics of a worker on loopback; 0 serves none."""
    if port:
        start_http_server(port, addr="127.0.0.1")
