"""A real browser for pages: Debian's chromium, headless."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def browse(url: str, folder: Path, picture: Path) -> str:
    """Load a page, give its scripts three seconds, take a picture; gives the document as it is then."""
    chromium = shutil.which("chromium")
    assert chromium is not None, "Debian's package chromium is missing; script/bootstrap --dev installs it"
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += ["--disable-background-networking", "--no-first-run", f"--user-data-dir={folder / 'profile'}"]
    command += ["--window-size=1280,1400", "--virtual-time-budget=3000"]
    subprocess.run([*command, f"--screenshot={picture}", url], check=True, capture_output=True, timeout=120)
    done = subprocess.run([*command, "--dump-dom", url], check=True, capture_output=True, timeout=120)
    return done.stdout.decode()
