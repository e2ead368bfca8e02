"""MIKEY-TICKET against its second implementation: 10,000 random flows, every octet and every key compared.

The tests do the same with a few hundred flows; here they run with MRF_MIKEY_FLOWS=10000. A difference ends it.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from figures import Figure, Table

ROOT = Path(__file__).resolve().parents[1]
FLOWS, QUICK = 10_000, 400
TESTS = ("test_against_naive", "test_naive_peers", "test_naive_updates", "test_naive_attackers")
KINDS = {0: "TGK", 1: "TGK", 2: "TEK", 3: "TEK", 4: "GTGK", 5: "GTGK"}


class Disagreement(Exception):
    """The two implementations differ; the text is what the tests say."""


def run(quick: bool) -> Table:
    """Run the flows and count what was in them."""
    count = QUICK if quick else FLOWS
    began = time.monotonic()
    files = [str(ROOT / "tests" / "unit" / "mikey" / f"{name}.py") for name in TESTS]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        env=dict(os.environ, MRF_MIKEY_FLOWS=str(count)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Disagreement(done.stdout[-4000:] + done.stderr[-1000:])
    seconds = time.monotonic() - began
    figures = [Figure(name, float(number), "flows") for name, number in sorted(coverage(count).items())]
    notes = [
        "Twin flows: each message built by both and compared octet by octet, each key compared. As many flows have one",
        "naive party that does what the RFC allows and we never do ourselves, and as many have CSB updates.",
        f"{done.stdout.strip().splitlines()[-1].strip('= ')}; {seconds:.0f} s",
    ]
    return Table(f"Agreement with the second implementation: {count} flows", figures, notes)


def coverage(count: int) -> Counter[str]:
    """How many of the twin flows have what."""
    sys.path.insert(0, str(ROOT / "tests"))
    from mikey_flows import pick  # the tests' own choice of flows

    found: Counter[str] = Counter()
    for suite, mode in itertools.product((0, 1), (1, 2, 3, 4)):
        for number in range(-(-count // 8)):
            flow = pick(suite, mode, number)
            found[f"mode {mode}"] += 1
            found[f"suite {128 << suite}"] += 1
            found["key forking (I)"] += "I" in flow.flags
            found["ticket reused (J)"] += "J" in flow.flags and "J" not in flow.cleared
            found["keys of the Initiator (L)"] += bool(flow.own_key_types)
            found["keys of the Responder (M)"] += bool(flow.responder_key_types)
            for kind in sorted({KINDS[number] for number in flow.key_types}):
                found[f"session key {kind}"] += 1
            asks_kms = mode < 3 or "E" in flow.flags
            found["also with certificates"] += number % 8 == 0 and asks_kms
    return found
