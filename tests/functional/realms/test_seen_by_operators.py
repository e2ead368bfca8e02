"""A cable that is pulled, as an operator sees it: on the MRFC's page and in the figures of dashboard and alerts."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab import Lab, Settings, tool

Cable = Any  # of conftest.py, which tests cannot import
SECONDS = 30.0


def read(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.05)  # processes that tell nobody


def page(lab: Lab, folder: Path, name: str) -> str:
    """The page in a browser, three seconds after it was opened; a picture of it stays in the folder."""
    chromium = shutil.which("chromium")
    assert chromium is not None, "Debian's package chromium is missing; script/bootstrap --dev installs it"
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += ["--disable-background-networking", "--no-first-run", f"--user-data-dir={folder / 'profile'}"]
    command += ["--window-size=1280,700", "--virtual-time-budget=3000", f"--screenshot={folder / name}.png"]
    url = f"http://127.0.0.1:{lab.ports.http}/"
    subprocess.run([*command, url], check=True, capture_output=True, timeout=120)
    done = subprocess.run([*command[:-1], "--dump-dom", url], check=True, capture_output=True, timeout=120)
    return done.stdout.decode()


def in_service(lab: Lab) -> bool:
    command = [tool("mrfc-ctl"), "mrfps", "--json", "--url", f"http://127.0.0.1:{lab.ports.http}"]
    [mrfp] = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    return bool(mrfp["in_service"])


def test_page_and_figures_show_it(cable: Cable, tmp_path: Path) -> None:
    realm = {"name": "access", "ipv4": "198.51.100.1", "interface": "media0", "namespace": cable.media}
    media = {
        "ipv4": None,
        "ports": None,
        "realm": [{**realm, "ports": [12_000, 12_099]}],
        "restore_after": 0.1,
    }
    with Lab(tmp_path, Settings(mrfc={"web": {"page": True}}, mrfp={"media": media})) as lab:
        lab.start()
        assert in_service(lab)
        cable.pull()
        until(lambda: not in_service(lab), "the MRFP to leave service")
        assert '<span class="down">out of service</span>' in page(lab, tmp_path, "pulled")
        assert 'mrfp_realm_in_service{realm="access"} 0.0' in read(lab.ports.mrfp_http, "/metrics")
        assert 'mrfc_mrfps{state="in_service"} 0.0' in read(lab.ports.http, "/metrics")
        cable.plug()
        until(lambda: in_service(lab), "the MRFP to come back")
        assert "out of service" not in page(lab, tmp_path, "healed")
        assert 'mrfp_realm_in_service{realm="access"} 1.0' in read(lab.ports.mrfp_http, "/metrics")
        assert 'mrfc_mrfps{state="in_service"} 1.0' in read(lab.ports.http, "/metrics")
