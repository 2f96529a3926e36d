"""Which containers Fleetcast lets alone. One rule, for what is shown (the containers collector) and for what is refused
(the executor). Pure: what it judges by is found out in whereabouts.py and by Docker.

Let alone are: what carries the label `fleetcast.protect=true`, which Fleetcast's own image does; the process' own
container; the Redis that it talks to; and by settings, what has a forbidden label, or none of the allowed ones.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any

from common.errors import MalformedError

PROTECT_LABEL = "fleetcast.protect"

_EVERY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104 - nothing listens here


@dataclass(frozen=True)
class Facts:
    """What an engine says of a container, as far as protection goes."""

    id: str
    labels: Mapping[str, str]
    addresses: frozenset[str]
    """Its own, in its networks. None of one that is stopped, or that uses its host's network or another container's."""
    published: frozenset[tuple[str, int]]
    """Host address (`""`, `0.0.0.0` and `::` are every one) and host port, of TCP."""


@dataclass(frozen=True)
class Endpoint:
    """An address at which the bus is reached."""

    address: str
    port: int
    is_local: bool
    """It is this machine's: loopback, or of one of its interfaces."""


class Protection:
    """The rule as it stands at a time.

    A container is the Redis that Fleetcast talks to if the bus is reached at one of the container's own addresses,
    whatever the port, or at a port of this machine that the container publishes. So the engine is taken to be this
    machine's. By its address nobody can recognise a Redis that uses its host's network or another container's, that is
    reached over a Unix socket or through a proxy, or that a process in a container reaches by an address of its host:
    the label is for those.
    """

    def __init__(
        self, *, allow: str = "", forbid: str = "", own_id: str | None = None, bus: frozenset[Endpoint] = frozenset()
    ) -> None:
        """`allow` and `forbid` are selectors as ProtectionSettings has them; with no `allow`, all is allowed that is
        not forbidden. `own_id`: of the container that this process runs in, None where it runs in none."""
        self.bus = bus
        self._allow = tuple(_selectors(allow))
        self._forbid = tuple(_selectors(forbid))
        self._own_id = own_id
        self._bus_addresses = frozenset(endpoint.address for endpoint in bus)
        self._bus_published = frozenset(
            (address, endpoint.port)
            for endpoint in bus
            if endpoint.is_local
            for address in (endpoint.address, *_EVERY_ADDRESS)
        )

    def reason(self, facts: Facts) -> str | None:
        """Why the container is let alone, fit for a user: `it ...`. None where it may be acted on.

        A label is named as the setting has it, never with its own value, which may be a secret.
        """
        if facts.labels.get(PROTECT_LABEL, "").strip().lower() == "true":
            return f"it carries {PROTECT_LABEL}=true"
        if facts.id == self._own_id:
            return "it is Fleetcast's own container"
        if self._is_bus(facts):
            return "it is the Redis that Fleetcast talks to"
        for selector in self._forbid:
            if selector.fits(facts.labels):
                return f"it is forbidden on this host by its label {selector.text} (FLEETCAST_FORBID_LABELS)"
        if self._allow and not any(selector.fits(facts.labels) for selector in self._allow):
            return "it has none of the labels that this host allows (FLEETCAST_ALLOW_LABELS)"
        return None

    def _is_bus(self, facts: Facts) -> bool:
        return not (self._bus_addresses.isdisjoint(facts.addresses) and self._bus_published.isdisjoint(facts.published))


def facts_of_listed(entry: object) -> Facts:
    """From an entry of `GET /containers/json`. Whatever cannot be read there is taken as not said."""
    said = _object(entry)
    ports = said.get("Ports")
    return Facts(
        id=_text(said.get("Id")),
        labels={name: value for name, value in _object(said.get("Labels")).items() if isinstance(value, str)},
        addresses=_addresses(said),
        published=frozenset(
            (canonical_address(_text(port.get("IP"))), port["PublicPort"])
            for port in map(_object, ports if isinstance(ports, list) else ())
            if port.get("Type", "tcp") == "tcp" and isinstance(port.get("PublicPort"), int)
        ),
    )


def facts_of_inspected(inspected: Mapping[str, Any]) -> Facts:
    """From `GET /containers/{id}/json`. Raises MalformedError where its labels cannot be read: then nobody knows
    whether it is protected. Whatever else cannot be read is taken as not said."""
    config = inspected.get("Config")
    labels = config.get("Labels", {}) if isinstance(config, Mapping) else ...
    labels = {} if labels is None else labels
    if not isinstance(labels, Mapping) or not all(isinstance(value, str) for value in labels.values()):
        raise MalformedError("container", "its labels cannot be read")
    return Facts(
        id=_text(inspected.get("Id")),
        labels=labels,
        addresses=_addresses(inspected),
        published=frozenset(_published(_object(inspected.get("NetworkSettings")).get("Ports"))),
    )


@lru_cache(maxsize=4096)
def canonical_address(address: str) -> str:
    """The one spelling by which IP addresses are compared: `0:0::1` and `::1` are the same, and so are an IPv4 address
    and its mapping into IPv6. What is no address stays as it is."""
    try:
        ip = ip_address(address.partition("%")[0])  # without the interface of a link-local one
    except ValueError:
        return address
    return str((isinstance(ip, IPv6Address) and ip.ipv4_mapped) or ip)


class _Selector:
    """LABEL or LABEL=VALUE, where `*` fits anything."""

    def __init__(self, text: str) -> None:
        self.text = text
        label, names_value, value = text.partition("=")
        self._label_fits = _pattern(label)
        self._value_fits = _pattern(value if names_value else "*")

    def fits(self, labels: Mapping[str, str]) -> bool:
        return any(self._label_fits(label) and self._value_fits(value) for label, value in labels.items())


def _selectors(setting: str) -> Iterator[_Selector]:
    return (_Selector(text) for text in (part.strip() for part in setting.split(",")) if text)


def _pattern(pattern: str) -> Callable[[str], object]:
    """Truthy for what fits; in linear time, for whoever makes an image writes its labels."""
    if "*" not in pattern:
        return pattern.__eq__
    return re.compile(translate(re.sub(r"[?[]", r"[\g<0>]", pattern))).match


def _addresses(container: Mapping[str, Any]) -> frozenset[str]:
    networks = _object(_object(container.get("NetworkSettings")).get("Networks"))
    said = (_object(network).get(name) for network in networks.values() for name in ("IPAddress", "GlobalIPv6Address"))
    return frozenset(canonical_address(address) for address in said if address and isinstance(address, str))


def _published(ports: object) -> Iterator[tuple[str, int]]:
    """`{"6379/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}], "80/tcp": null}`"""
    for container_port, bindings in _object(ports).items():
        if str(container_port).endswith("/tcp") and isinstance(bindings, list):
            for binding in map(_object, bindings):
                if re.fullmatch(r"[0-9]{1,5}", port := _text(binding.get("HostPort"))):
                    yield canonical_address(_text(binding.get("HostIp"))), int(port)


def _object(said: object) -> Mapping[str, Any]:
    return said if isinstance(said, Mapping) else {}


def _text(said: object) -> str:
    return said if isinstance(said, str) else ""
