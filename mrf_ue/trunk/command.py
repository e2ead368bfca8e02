"""The command `mrf-ue trunk-test`: options in, a report out, an exit code that a script can use."""

import argparse
import asyncio
import sys
from dataclasses import replace

from aiosipua import parse_uri

from mrf_protocols.mikey import MikeyError, kms_user_identity
from mrf_ue.arguments import (
    add_kms,
    add_psk_identity,
    add_sip,
    address_of,
    key_settings,
    sip_settings,
    transport_of,
)
from mrf_ue.errors import SipRefused
from mrf_ue.options import KeySettings, TicketMode
from mrf_ue.sip_address import DEFAULT_PORTS
from mrf_ue.trunk.cases import NAMES, TITLES
from mrf_ue.trunk.report import as_json, case_lines, head, summary_lines
from mrf_ue.trunk.run import TrunkTestOptions, try_trunk
from mrf_ue.trunk.verdict import CaseResult

NAME = "trunk-test"
GOOD, BAD, UNUSABLE = 0, 1, 2
_EXIT_CODES = """exit codes:
  0 no case failed        1 a case failed        2 wrong usage, or nobody answers there"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The options of the command."""
    test = commands.add_parser(
        NAME,
        help="find out what a SIP trunk, or any other SIP peer, can do",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    test.add_argument(
        "target", metavar="SIP-URI", nargs="?", help="whom to call: sip:conf@trunk.example[;transport=tcp]"
    )
    add_sip(test, identity=False)
    test.add_argument(
        "--proxy", metavar="HOST[:PORT]", help="where requests go first; default: the host of the target"
    )
    add_kms(test)
    add_psk_identity(test.add_argument_group("BFCP"))
    cases = test.add_argument_group("cases")
    cases.add_argument(
        "--case", action="append", default=[], metavar="NAME", help="try this one only; may be repeated"
    )
    cases.add_argument("--list", action="store_true", help="say which cases there are, and do nothing")
    cases.add_argument(
        "--timeout", type=float, default=10.0, metavar="S", help="seconds that a case may take (default 10)"
    )
    output = test.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print the report as one JSON object")


def options_of(arguments: argparse.Namespace) -> TrunkTestOptions:
    """The command line as values. Raises ValueError (one sentence) when it makes no sense, OSError."""
    if arguments.target is None:
        raise ValueError("whom to call? A SIP URI is needed")
    unknown = [name for name in arguments.case if name not in NAMES]
    if unknown:
        raise ValueError(f"there is no case {unknown[0]}; --list names them all")
    if arguments.timeout <= 0:
        raise ValueError("--timeout is a number of seconds above 0")
    host = parse_uri(arguments.target).host
    if not host:
        raise ValueError(f"{arguments.target} is no SIP URI with a host")
    arguments.identity = arguments.identity or f"sip:trunk-test@{host}"
    try:
        for uri in (arguments.target, arguments.identity):
            kms_user_identity(uri)
    except MikeyError as error:
        raise ValueError(error.text) from None
    transport = transport_of(arguments, arguments.target)
    sip = sip_settings(arguments, transport)
    if arguments.proxy:
        sip = replace(sip, proxy=address_of(arguments.proxy, DEFAULT_PORTS[transport]))
    return TrunkTestOptions(
        arguments.target, sip, _keys(arguments), tuple(arguments.case) or NAMES, arguments.timeout
    )


def _keys(arguments: argparse.Namespace) -> KeySettings | None:
    """Tickets come from the KMS if there is one, else we make them ourselves (RFC 6043, mode 3)."""
    if arguments.psk_file is None and arguments.kms_cert is None:
        return None
    mode = TicketMode.REQUEST if arguments.kms else TicketMode.SELF_MADE
    return replace(key_settings(arguments), mode=mode)


def run(arguments: argparse.Namespace) -> int:
    """Do it; gives the exit code."""
    if arguments.list:
        for name, title in TITLES.items():
            print(f"{name:<22}{title}")
        return GOOD
    try:
        options = options_of(arguments)
    except (ValueError, OSError) as error:
        return _unusable(str(error))
    color = sys.stdout.isatty()

    def tell(result: CaseResult) -> None:
        if not arguments.json:
            print("\n".join(case_lines(result, color=color)), flush=True)

    if not arguments.json:
        print(head(options.target, options.sip.transport), flush=True)
    try:
        report = asyncio.run(try_trunk(options, tell))
    except SipRefused as error:
        return _unusable(str(error))
    except KeyboardInterrupt:
        return 130
    print(as_json(report) if arguments.json else "\n".join(summary_lines(report)), flush=True)
    return GOOD if report.good else BAD


def _unusable(text: str) -> int:
    print(f"mrf-ue: {text}", file=sys.stderr, flush=True)
    return UNUSABLE
