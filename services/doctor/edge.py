"""Asks an edge on this machine whether it is ready."""

import httpx

from common.settings import DoctorSettings
from services.doctor.finding import Finding

_WITHIN_S = 3.0


async def check_edge(settings: DoctorSettings) -> Finding:
    url = f"http://127.0.0.1:{settings.port}"
    try:
        async with httpx.AsyncClient(timeout=_WITHIN_S, trust_env=False) as http:
            answer = await http.get(f"{url}/readyz")
    except httpx.ConnectError:
        return Finding("edge", "note", f"none on this machine's port {settings.port}")
    except httpx.HTTPError as error:
        return Finding(
            "edge",
            "failed",
            f"what listens on port {settings.port} does not answer ({str(error) or type(error).__name__})",
            "look at its log; --port names another one",
        )
    words = " ".join(answer.text.split())[:200]
    if answer.status_code == httpx.codes.OK:
        return Finding("edge", "ok", f"the one at {url} is ready")
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return Finding("edge", "failed", f"the one at {url} is not ready: {words}", "see what is said of redis here")
    return Finding("edge", "note", f"port {settings.port} is somebody else's: no edge answers like that")
