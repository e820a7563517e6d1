"""Files that are written aside and renamed: what all their writers share."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def usual_mode(*paths: Path) -> None:
    """Give files of one folder the permissions that a new file has here (0644 under the usual
    umask).

    safetensors, like other writers that go through a temporary file of their own, leaves files that
    only their owner can read (0600).
    """
    if not paths:
        return
    # the umask can be asked only by setting it, for all threads at once: a new file tells it too
    probe = paths[0].with_name(f".mode.{os.getpid()}.{threading.get_ident()}")
    try:
        with probe.open("x"):
            mode = probe.stat().st_mode & 0o777
    finally:
        probe.unlink(missing_ok=True)
    for path in paths:
        path.chmod(mode)
