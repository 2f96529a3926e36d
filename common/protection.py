"""Which containers nobody may act on through Fleetcast. One rule, for what is shown and for what is refused. Pure."""

from collections.abc import Mapping

PROTECT_LABEL = "fleetcast.protect"


def is_protected(labels: Mapping[str, object]) -> bool:
    """Whether the label says `true`, in whatever case."""
    return str(labels.get(PROTECT_LABEL, "")).strip().lower() == "true"
