"""The command `mrf-ue sipp-offers`: lines for sipp's -inf, one TRANSFER_INIT each.

A ticket is good for one call, and sipp cannot make any; so each call of a scenario takes the next line.
"""

import argparse
import asyncio
import base64
import sys
from dataclasses import replace

from mrf_ops.trace import Tracer
from mrf_protocols.mikey import PSK_IDENTITY_TEMPLATE, MikeyError, kms_user_identity
from mrf_ue.arguments import add_kms, key_settings
from mrf_ue.errors import Exit, KmsFailed
from mrf_ue.keys import get_ticket, start_transfer
from mrf_ue.options import KeySettings, TicketMode

NAME = "sipp-offers"


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The options of the command."""
    offers = commands.add_parser(
        NAME,
        help="lines for sipp -inf: one TRANSFER_INIT in base64 for each call",
        description="Prints lines for sipp -inf. The tickets come from the KMS with --kms; without it the UE makes "
        "them itself with its key at the KMS.",
    )
    offers.add_argument("count", metavar="N", type=int, help="how many calls")
    offers.add_argument("conference", metavar="SIP-URI", help="whom the calls are for")
    offers.add_argument("--identity", required=True, metavar="SIP-URI", help="who calls")
    add_kms(offers)
    offers.set_defaults(timeout=None, psk_identity=PSK_IDENTITY_TEMPLATE)


async def transfers(keys: KeySettings, count: int, caller: str, conference: str) -> list[str]:
    """That many TRANSFER_INITs in base64. Raises KmsFailed."""
    tracer = Tracer("UE")
    lines = []
    for _ in range(count):
        ticket = await get_ticket(keys, caller, conference, NAME, tracer)
        lines.append(base64.b64encode(start_transfer(ticket, caller, conference).init()).decode())
    return lines


def run(arguments: argparse.Namespace) -> int:
    """Do it; gives the exit code."""
    try:
        if arguments.count < 1:
            raise ValueError("N is 1 or more")
        caller, conference = (kms_user_identity(uri) for uri in (arguments.identity, arguments.conference))
        keys = key_settings(arguments)
        if not arguments.kms:
            keys = replace(keys, mode=TicketMode.SELF_MADE)
        lines = asyncio.run(transfers(keys, arguments.count, caller, conference))
    except MikeyError as error:
        return _failed(Exit.USAGE, error.text)
    except (ValueError, OSError) as error:
        return _failed(Exit.USAGE, str(error))
    except KmsFailed as error:
        return _failed(error.exit_code, str(error))
    print("SEQUENTIAL", *lines, sep="\n")
    return Exit.OK


def _failed(code: Exit, text: str) -> int:
    print(f"mrf-ue: {text}", file=sys.stderr)
    return code
