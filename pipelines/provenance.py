"""Which code made a result."""

import subprocess
from importlib.metadata import version
from pathlib import Path


def commit() -> str:
    """The git commit of this code, with `+` when the tree is changed; the package's version where there is no git."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changes = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return version("attention-sampling")
    return head.stdout.strip() + ("+" if changes.stdout.strip() else "")
