"""Measure: CPU of a dial-in, TLS-PSK set-ups, memory of a connection, and the parts they are made of.

Figures count CPU time, not wall time, and stand beside a peer that ran in the same minute on the same machine.
What each of them means is in docs/performance.md.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "script"))  # the laboratory

BENCHES = {
    "dial_ins": "CPU of a dial-in at the MRFC, beside a bare KEMI script",
    "dial_outs": "CPU of a dial-out at the MRFC, beside a dial-in",
    "guarded_calls": "CPU of a dial-in through a trunk with its limits, at 100, 500 and 1,000 calls a second",
    "standing_dialogs": "memory of the MRFC for each of 20,000 calls that stand",
    "tls_setups": "TLS-PSK set-ups of the MRFP, beside a C server",
    "idle_memory": "memory of idle secured terminations, beside the same C server",
    "mikey_agreement": "MIKEY-TICKET against its second implementation, 10,000 random flows",
    "mikey_work": "MIKEY work of a dial-in, in memory",
    "kms_resolves": "resolves of the KMS, in memory and over HTTP",
    "h248_codec": "H.248 messages of a dial-in, in memory",
    "h248_rates": "H.248 codec and Add+Subtract transactions, beside Erlang/OTP",
    "notify_fanout": "CPU of a NOTIFY, and how long 1,000 subscribers wait",
    "floor_cycles": "BFCP floor cycles over TLS-PSK, time to grant, a crowd that is told",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benches that were asked for, all by default."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if unknown := set(options.benches) - set(BENCHES):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    for name in options.benches or BENCHES:
        table = importlib.import_module(name).run(options.quick)
        print(table.render() + "\n", flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:<12} {text}" for name, text in BENCHES.items())
    parser = argparse.ArgumentParser(
        prog="script/bench",
        description=__doc__,
        epilog=f"benches:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("benches", nargs="*", metavar="BENCH", help="which (default: all)")
    parser.add_argument("--quick", action="store_true", help="small counts: shows that it runs, says little")
    return parser


if __name__ == "__main__":
    sys.exit(main())
