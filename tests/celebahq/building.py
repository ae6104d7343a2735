"""Builds for the tests, as a person starts them."""

import subprocess
import sys

NO_NETWORKS = ["--jpeg-model", "none", "--sr-model", "none"]


def build(*options):
    command = [sys.executable, "-m", "celebahq", "build", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)
