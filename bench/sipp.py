"""Calls from sipp, and what became of them."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCENARIO = Path(__file__).with_name("dial_in.xml")
STAND = Path(__file__).with_name("dial_in_and_stay.xml")


@dataclass(frozen=True, slots=True)
class Calls:
    """Result of a run: calls that went well and that did not, retransmissions of sipp, mean ms to the 200."""

    succeeded: int
    failed: int
    retransmissions: int
    answer_ms: float

    @property
    def clean(self) -> bool:
        """Every call at the first attempt."""
        return self.failed == 0 and self.retransmissions == 0


def write_transfers(path: Path, transfers: Sequence[str]) -> None:
    """The file with one TRANSFER_INIT for each call."""
    path.write_text("SEQUENTIAL\n" + "\n".join(transfers) + "\n", encoding="ascii")


def call(
    target: str,
    conference: str,
    rate: int,
    transfers: Path,
    count: int,
    folder: Path,
    scenario: Path = SCENARIO,
    at_once: int = 0,
) -> Calls:
    """Make `count` calls, `rate` a second, no more than `at_once` at a time (0: as many as there are).

    Raises RuntimeError when sipp itself fails.
    """
    statistics = folder / "sipp.csv"
    statistics.unlink(missing_ok=True)
    command = ["sipp", target, "-i", "127.0.0.1", "-sf", str(scenario), "-inf", str(transfers)]
    command += [
        "-key",
        "conference",
        conference,
        "-r",
        str(rate),
        "-m",
        str(count),
        "-l",
        str(at_once or count),
    ]
    command += ["-nostdin", "-trace_stat", "-stf", str(statistics), "-fd", "1", "-recv_timeout", "40000"]
    done = subprocess.run(command, check=False, capture_output=True, cwd=folder)
    if done.returncode not in (0, 1):  # 1: a call failed
        raise RuntimeError(
            f"sipp ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}"
        )
    with statistics.open(encoding="ascii") as lines:
        last = list(csv.DictReader(lines, delimiter=";"))[-1]
    return Calls(
        succeeded=int(last["SuccessfulCall(C)"]),
        failed=int(last["FailedCall(C)"]),
        retransmissions=int(last["Retransmissions(C)"]),
        answer_ms=_milliseconds(last["ResponseTime1(C)"]),
    )


def _milliseconds(text: str) -> float:
    """ "00:00:00:012000" of sipp: hours, minutes, seconds, microseconds."""
    hours, minutes, seconds, microseconds = map(int, text.split(":"))
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + microseconds / 1000
