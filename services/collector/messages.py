"""A state as the message that clients get. Pure."""

from collections.abc import Callable

from common.envelope import Version
from common.models import WireModel


def encoder(message: Callable[..., WireModel], host: str, sampled_at: int, data: object) -> Callable[[Version], bytes]:
    """For StatePublisher. `message`: the kind's own, of `data` as it was at that time."""

    def encode(version: Version) -> bytes:
        made = message(host=host, epoch=version.epoch, seq=version.seq, sampled_at=sampled_at, data=data)
        return made.model_dump_json().encode()

    return encode
