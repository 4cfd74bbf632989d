"""What a machine without Docker, Kubernetes or Pulumi needs to run this project: `python3 -m tools.devstack COMMAND`.

Runs before the virtual environment exists, so it uses the standard library alone.
"""

from tools.devstack.errors import DevstackError
from tools.devstack.paths import Paths
from tools.devstack.variables import environment

__all__ = ["DevstackError", "Paths", "environment"]
