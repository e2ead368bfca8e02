"""Wheels made of what a virtual environment holds, so that pip installs the same again without an index.

An installed distribution is its wheel unpacked, plus what pip wrote: RECORD tells the files, WHEEL the tags.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

WRITTEN_BY_PIP = ("INSTALLER", "REQUESTED", "direct_url.json")


def pack(site: Path, folder: Path) -> list[Path]:
    """A wheel in `folder` for each distribution in the site-packages folder `site`, editable ones left out."""
    found = (one for one in distributions(path=[str(site)]) if one.read_text("direct_url.json") is None)
    return [_pack(one, folder) for one in found]


def _pack(installed: Distribution, folder: Path) -> Path:
    rows = list(_rows(installed))
    about = next(row[0] for row in rows if row[0].endswith(".dist-info/WHEEL")).rpartition("/")[0]
    name = about.removesuffix(".dist-info")
    tags = re.findall(r"^Tag: (.+)-(.+)-(.+)$", installed.read_text("WHEEL") or "", re.MULTILINE)
    tag = "-".join(".".join(dict.fromkeys(part)) for part in zip(*tags, strict=True))
    wheel = folder / f"{name}-{tag}.whl"
    record = io.StringIO()
    csv.writer(record, lineterminator="\n").writerows([*rows, (f"{about}/RECORD", "", "")])
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
        for path, _, _ in rows:
            archive.write(str(installed.locate_file(path)), path)
        archive.writestr(f"{about}/RECORD", record.getvalue())
    return wheel


def _rows(installed: Distribution) -> Iterator[tuple[str, str, str]]:
    """Of RECORD what was in the wheel: no programs (pip makes them from the entry points), no compiled files."""
    for path, digest, size in csv.reader(io.StringIO(installed.read_text("RECORD") or "")):
        of_pip = path.rpartition("/")[2] in (*WRITTEN_BY_PIP, "RECORD") and ".dist-info/" in path
        if not (of_pip or path.startswith(("..", "/")) or path.endswith(".pyc")):
            yield path, digest, size
