"""What hatchling does before it packs the Python package: it has the dashboard built (dashboard/build.py).

A build that fails leaves a package without the dashboard, which says so and why; where FLEETCAST_REQUIRE_DASHBOARD=1,
it ends the packing.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class DashboardHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        done = subprocess.run([sys.executable, str(Path(self.root, "dashboard", "build.py"))], check=False)
        if done.returncode != 0:
            if os.environ.get("FLEETCAST_REQUIRE_DASHBOARD") == "1":
                raise RuntimeError("the dashboard could not be built: the lines above say why")
            self.app.display_warning("packed without the dashboard; everything else is there")
