"""A cable that is pulled, as an operator sees it: on the MRFC's page and in the figures of dashboard and alerts."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from browser import browse

from lab import Lab, Settings, tool

Cable = Any  # of conftest.py, which tests cannot import


def read(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def page(lab: Lab, folder: Path, name: str) -> str:
    """The page in a browser; a picture of it stays in the folder."""
    return browse(f"http://127.0.0.1:{lab.ports.http}/", folder, folder / f"{name}.png")


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
        lab.wait_for("the MRFP to leave service", lambda: not in_service(lab))
        assert '<span class="down">out of service</span>' in page(lab, tmp_path, "pulled")
        assert 'mrfp_realm_in_service{realm="access"} 0.0' in read(lab.ports.mrfp_http, "/metrics")
        assert 'mrfc_mrfps{state="in_service"} 0.0' in read(lab.ports.http, "/metrics")
        cable.plug()
        lab.wait_for("the MRFP to come back", lambda: in_service(lab))
        assert "out of service" not in page(lab, tmp_path, "healed")
        assert 'mrfp_realm_in_service{realm="access"} 1.0' in read(lab.ports.mrfp_http, "/metrics")
        assert 'mrfc_mrfps{state="in_service"} 1.0' in read(lab.ports.http, "/metrics")
