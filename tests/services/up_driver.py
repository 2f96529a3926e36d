"""Runs `fleetcast up` with other parts than the real ones.

up_driver.py '{"settings": ..., "limits": ..., "parts": ...}'; `parts` maps a part's name to the Python source that it
runs; an `edge` stands for a ready edge on each port.
"""

import asyncio
import json
import sys

from common.settings import UpSettings
from services.local import Limits, Part, fleetcast_parts, run_up

READY_EDGE = """
import os, socket
listener = socket.create_server(("127.0.0.1", int(os.environ["FLEETCAST_PORT"])))
while True:
    client, _ = listener.accept()
    client.recv(4096)
    client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
    client.close()
"""


def main() -> int:
    wanted = json.loads(sys.argv[1])
    sources = wanted["parts"]

    def parts(settings: UpSettings, redis_url: str) -> list[Part]:
        environments = {part.name: part.environment for part in fleetcast_parts(settings, redis_url)}
        if "edge" in sources:
            edge = sources.pop("edge") or READY_EDGE
            sources.update({name: edge for name in environments if name.startswith("edge-")})
        return [
            Part(name, (sys.executable, "-c", source, name), environments.get(name, environments["metrics"]))
            for name, source in sources.items()
        ]

    settings = UpSettings.load(wanted["settings"], {})
    return asyncio.run(run_up(settings, parts, Limits(**wanted["limits"])))


if __name__ == "__main__":
    sys.exit(main())
