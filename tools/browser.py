"""Where Chromium is on this machine, the system's own, and how it is started."""

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    """Return the path of Chromium, or ``None`` when there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def sandbox_options() -> list[str]:
    """Return what Chromium has to be told about its sandbox: root has none."""
    return [] if os.name == "nt" or os.geteuid() else ["--no-sandbox"]
