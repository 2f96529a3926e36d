"""What simulated hosts are and run: labels, and compose projects and their services, as the world knows them. Data
alone.

Numbers are what such a service typically takes, relative to each other: a host scales them to its own size.
"""

from dataclasses import dataclass
from random import Random

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True)
class Service:
    """One service of a compose project."""

    name: str
    image: str
    process: str
    """Its main process, as the kernel has it."""
    cpu: float
    """Share of the host's work, relative to the others'."""
    memory_bytes: int
    port: int | None = None
    """Inside the container; it is published too where `public`."""
    public: bool = False
    health_check: bool = False
    leaks: bool = False
    """Takes more and more memory, until its limit ends it."""
    job: bool = False
    """Runs once, ends with 0 and stays."""
    traffic: float = 1.0
    """Bytes over the network for its CPU, relative to others'."""
    disk: float = 0.1
    """Bytes to and from the disks for its CPU, relative to others'."""
    threads: int = 4


_WEB = Service("web", "nginx:1.27", "nginx", 1.0, 24 * MIB, port=80, public=True, traffic=6.0, threads=5)
_API = Service(
    "api", "registry.example.com/api:{tag}", "node", 3.0, 220 * MIB, port=3000, health_check=True, traffic=2.0
)
_WORKER = Service("worker", "registry.example.com/worker:{tag}", "python3", 4.0, 180 * MIB, leaks=True, threads=9)
_DB = Service("db", "postgres:17", "postgres", 2.5, 480 * MIB, port=5432, health_check=True, disk=4.0, threads=14)
_CACHE = Service("cache", "valkey/valkey:8", "valkey-server", 0.5, 90 * MIB, port=6379, traffic=3.0, threads=6)
_MIGRATE = Service("migrate", "registry.example.com/api:{tag}", "node", 0.0, 0, job=True)

PROJECTS: tuple[tuple[str, tuple[Service, ...]], ...] = (
    ("shop", (_WEB, _API, _WORKER, _DB, _CACHE, _MIGRATE)),
    (
        "blog",
        (
            _WEB,
            Service("app", "ghost:5", "node", 1.0, 160 * MIB, port=2368, health_check=True),
            Service("db", "mysql:8.4", "mysqld", 1.5, 420 * MIB, port=3306, health_check=True, disk=3.0, threads=38),
        ),
    ),
    (
        "search",
        (
            Service("engine", "opensearchproject/opensearch:2.17", "java", 5.0, 900 * MIB, port=9200, disk=2.0),
            Service("indexer", "registry.example.com/indexer:{tag}", "python3", 2.0, 140 * MIB, leaks=True, disk=1.0),
        ),
    ),
    (
        "watch",
        (
            Service("prometheus", "prom/prometheus:v3.0.1", "prometheus", 1.2, 350 * MIB, port=9090, disk=1.5),
            Service("grafana", "grafana/grafana:11.3.1", "grafana", 0.4, 130 * MIB, port=3000, public=True),
            Service("exporter", "prom/node-exporter:v1.8.2", "node_exporter", 0.1, 18 * MIB, port=9100),
        ),
    ),
    (
        "queue",
        (
            Service("broker", "rabbitmq:4.0", "beam.smp", 1.4, 190 * MIB, port=5672, health_check=True, threads=24),
            Service("consumer", "registry.example.com/consumer:{tag}", "ruby", 2.2, 150 * MIB, leaks=True),
            Service("mailer", "registry.example.com/mailer:{tag}", "ruby", 0.3, 110 * MIB),
        ),
    ),
)


def services(count: int) -> list[tuple[str, Service, int]]:
    """Project, service and number (from 1) of so many containers: whole projects first, then the same again as
    further replicas and projects of another name (`shop2`)."""
    found: list[tuple[str, Service, int]] = []
    turn = 1
    while len(found) < count:
        for project, members in PROJECTS:
            name = project if turn == 1 else f"{project}{turn}"
            for service in members:
                replicas = 2 if service.leaks or service.public else 1
                found += [(name, service, number) for number in range(1, replicas + 1)]
        turn += 1
    return found[:count]


_ENVIRONMENTS = {"prod": 6, "staging": 3, "dev": 1}
_REGIONS = {"eu-1": 4, "us-1": 3, "ap-1": 2}
"""And how many of a fleet are so, relative to each other."""


def labels_of(seed: int, host: str) -> tuple[tuple[str, str], ...]:
    """What a host of the fleet with this seed is labelled with."""
    random = Random(f"{seed} {host} labels")  # noqa: S311 - nothing secret
    [environment] = random.choices(list(_ENVIRONMENTS), list(_ENVIRONMENTS.values()))
    [region] = random.choices(list(_REGIONS), list(_REGIONS.values()))
    return ("env", environment), ("region", region)
