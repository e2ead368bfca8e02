"""Dashboard and alert rules against what the elements really export."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CONFIGS = Path(__file__).parents[3] / "configs"
DOCS = CONFIGS.parent / "docs"
NAME = re.compile(r"\b((?:mrfc|mrfp|kms)_[a-z0-9_]+)(?:\{([^}]*)\})?")
LABEL = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")

Operator = Any  # of conftest.py, which tests cannot import


@pytest.fixture(scope="module")
def exported(operator: Operator) -> dict[str, set[str]]:
    """Every sample of all three elements after a call, with its labels; those that never happened yet have none."""
    ue = operator.dial_in(0.1)
    assert ue.wait(30) == 0
    found: dict[str, set[str]] = {}
    ports = operator.lab.ports
    for port in (ports.http, ports.mrfp_http, ports.kms):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        for line in text.splitlines():
            if line.startswith("# TYPE"):
                _, _, name, kind = line.split()
                suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
                for suffix in suffixes:
                    found.setdefault(name + suffix, set())
            elif not line.startswith("#"):
                sample = re.match(r"([a-z0-9_]+)(?:\{(.*)\})? ", line)
                assert sample is not None, line
                found.setdefault(sample[1], set()).update(re.findall(r'([a-z_]+)="', sample[2] or ""))
    return found


def expressions() -> Iterator[str]:
    dashboard = json.loads((CONFIGS / "grafana" / "ims-floor-control.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"]
    rules = (CONFIGS / "prometheus" / "alerts.yml").read_text()
    yield from re.findall(r"expr: (?:\|\n)?(.*?)\n        (?:for|labels):", rules, re.DOTALL)


def test_every_name_and_label_is_exported(exported: dict[str, set[str]]) -> None:
    used = set()
    for expression in expressions():
        for name, selector in NAME.findall(expression):
            assert name in exported, f"{name} is exported by no element"
            used.add(name)
            if exported[name]:
                assert set(LABEL.findall(selector)) <= exported[name] | {"instance"}, expression
    assert len(used) > 25


def test_the_metrics_page_names_them_all(exported: dict[str, set[str]]) -> None:
    told = set(re.findall(r"`((?:mrfc|mrfp|kms)_[a-z0-9_]+)`", (DOCS / "metrics.md").read_text()))
    families = {
        re.sub(r"_(bucket|sum|count)$", "", name) for name in exported if not name.endswith("_created")
    }
    families = {name for name in families if "_process_" not in name}
    assert families - told == set()
    assert told - families == set()


def test_panels_do_not_overlap() -> None:
    dashboard = json.loads((CONFIGS / "grafana" / "ims-floor-control.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (column, line)
            for column in range(place["x"], place["x"] + place["w"])
            for line in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(column for column, _ in cells) < 24
        taken |= cells
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("check", [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]])
def test_prometheus_reads_the_rules_and_they_tell_the_stories(check: list[str]) -> None:
    promtool = shutil.which("promtool")
    assert promtool is not None, "Debian's package prometheus is missing; script/bootstrap --dev installs it"
    done = subprocess.run(
        [promtool, *check], cwd=CONFIGS / "prometheus", check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_point_to_places_that_exist() -> None:
    rules = (CONFIGS / "prometheus" / "alerts.yml").read_text()
    for file, anchor in re.findall(r"docs/([a-z-]+\.md)(?:#([a-z0-9-]+))?", rules):
        text = (DOCS / file).read_text()
        headings = {
            re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
            for line in text.splitlines()
            if line.startswith("#")
        }
        assert not anchor or anchor in headings, f"{file}#{anchor}"
