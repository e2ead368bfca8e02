"""The command `mrf-ue`: options in, readable lines out, an exit code that says what failed."""

import argparse
import asyncio
import functools
import json
import operator
import signal
import ssl
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from mrf_ops.trace import Tracer, open_sink
from mrf_protocols.mikey import (
    DEFAULT_FLAGS,
    KeyType,
    MikeyError,
    PolicyFlag,
    kms_user_identity,
)
from mrf_protocols.sdp import Setup
from mrf_ue import sipp_offers
from mrf_ue.answer import answer_calls
from mrf_ue.arguments import (
    add_kms,
    add_psk_identity,
    add_sip,
    address_of,
    key_settings,
    sip_settings,
    tls_context,
    transport_of,
)
from mrf_ue.console import ConsoleOptions, read_script
from mrf_ue.dial_in import dial_in
from mrf_ue.errors import Exit, UeError
from mrf_ue.options import (
    SUITES,
    TLS_POLICIES,
    AnswerOptions,
    DialInOptions,
    TicketMode,
    Timeouts,
)
from mrf_ue.show import Show
from mrf_ue.sip_address import DEFAULT_PORTS
from mrf_ue.trunk import command as trunk_command

_EXIT_CODES = """exit codes:
  0 all went well            2 wrong usage              3 SIP refused, or the far end hung up
  4 KMS failed               5 answer refused           6 TLS failed
  7 floor not granted        8 timeout                  9 TCP connection for BFCP failed"""


class Reporter:
    """Prints what happens: lines for people, or JSON lines for programs."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._start = time.monotonic()

    def show(self, topic: str, text: str) -> None:
        """One event."""
        elapsed = time.monotonic() - self._start
        if self._as_json:
            self._print({"seconds": round(elapsed, 3), "topic": topic, "text": text})
        else:
            print(f"{elapsed:8.3f}  {topic:<5} {_printable(text)}", flush=True)

    def end(self, code: Exit, text: str) -> None:
        """How it all ended."""
        if self._as_json:
            self._print({"result": code.name.lower(), "exit_code": int(code), "text": text})
        elif code is Exit.OK:
            print(text, flush=True)
        else:
            print(f"mrf-ue: {_printable(text)}", file=sys.stderr, flush=True)

    @staticmethod
    def _print(value: dict[str, object]) -> None:
        print(json.dumps(value), flush=True)


def _printable(text: str) -> str:
    """What a far end wrote must not steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="mrf-ue", description="An IMS UE for conferences with floor control.")
    commands = top.add_subparsers(dest="command", required=True)
    dial = commands.add_parser(
        "dial-in",
        help="call a conference, get the floor, give it back, hang up",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    dial.add_argument(
        "callee", metavar="SIP-URI", help="the conference: sip:conf@host[:port][;transport=tcp]"
    )
    add_sip(dial)
    dial.add_argument(
        "--proxy", metavar="HOST[:PORT]", help="where requests go first; default: the callee's host"
    )
    add_kms(dial)
    dial.add_argument(
        "--mode",
        choices=[mode.value for mode in TicketMode],
        default=TicketMode.REQUEST.value,
        help="who makes the ticket: the KMS (default), or the UE with its key at the KMS or one shared with the callee",
    )
    dial.add_argument("--suite", choices=sorted(SUITES), default="128", help="MIKEY algorithms (default 128)")
    dial.add_argument(
        "--ticket-flags",
        type=_ticket_flags,
        default=DEFAULT_FLAGS,
        metavar="LETTERS",
        help="Ticket Policy to ask for (default DEFGHNO; I: key forking, J: reusable, without E: need not be resolved)",
    )
    dial.add_argument(
        "--session-key",
        choices=["TGK", "TEK", "GTGK"],
        default="TGK",
        help="kind of session key (default TGK)",
    )
    dial.add_argument(
        "--tcp-role",
        choices=["active", "passive", "actpass"],
        default="actpass",
        help="a=setup of the offer: who may open TCP (default actpass: the far end decides)",
    )
    dial.add_argument(
        "--unsecured", action="store_true", help="BFCP over TCP without TLS: no ticket, no key, for tests"
    )
    _add_media(dial)
    dial.add_argument(
        "--roster", action="store_true", help="subscribe to the conference, and show who comes and leaves"
    )
    _add_output(dial, "UE-A")
    _add_answer(commands)
    trunk_command.add(commands)
    sipp_offers.add(commands)
    return top


def _ticket_flags(letters: str) -> PolicyFlag:
    try:
        return functools.reduce(operator.or_, (PolicyFlag[letter] for letter in letters.upper()))
    except (KeyError, TypeError):
        raise argparse.ArgumentTypeError(f"{letters} are no flags of a Ticket Policy, D to O") from None


def _add_answer(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    answer = commands.add_parser(
        "answer",
        help="wait for the call of a conference, then do the same",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_sip(answer)
    add_kms(answer)
    answer.add_argument(
        "--tcp-role",
        choices=["active", "passive"],
        default="active",
        help="a=setup of the answer (default active)",
    )
    answer.add_argument("--ring", type=float, default=0.0, metavar="S", help="seconds to ring (default 0)")
    answer.add_argument("--calls", type=int, default=1, metavar="N", help="calls to take, 0: all (default 1)")
    _add_media(answer)
    _add_output(answer, "UE-B")


def _add_media(dial: argparse.ArgumentParser) -> None:
    media = dial.add_argument_group("BFCP")
    media.add_argument("--tls", choices=list(TLS_POLICIES), default="any", help="TLS version (default any)")
    add_psk_identity(media)
    media.add_argument(
        "--floor",
        type=int,
        action="append",
        default=[],
        metavar="N",
        help="floor to ask for; default: the first",
    )
    media.add_argument(
        "--hold", type=float, default=1.0, metavar="S", help="seconds to keep the floor (default 1)"
    )
    media.add_argument(
        "--reconnect", action="store_true", help="come back when the BFCP connection is lost (re-INVITE)"
    )
    by = media.add_mutually_exclusive_group()
    by.add_argument(
        "--interactive",
        action="store_true",
        help="floor control by commands typed in the terminal (help shows them)",
    )
    by.add_argument("--script", type=Path, metavar="FILE", help="floor control by commands in a file")
    media.add_argument(
        "--chair", action="store_true", help="with commands: say which requests wait for our decision"
    )
    media.add_argument("--timeout", type=float, metavar="S", help="seconds that no step may exceed")


def _add_output(dial: argparse.ArgumentParser, name: str) -> None:
    output = dial.add_argument_group("output")
    output.add_argument(
        "--trace", type=Path, metavar="FILE", help="append trace events (JSON lines) to this file"
    )
    output.add_argument("--name", default=name, help=f"our name in the trace (default {name})")
    output.add_argument("--json", action="store_true", help="print JSON lines")


def dial_in_options(arguments: argparse.Namespace) -> DialInOptions:
    """The command line as values. Raises ValueError (one sentence) when it makes no sense."""
    _check(arguments, arguments.identity, arguments.callee)
    mode = TicketMode(arguments.mode)
    if mode is TicketMode.REQUEST and not arguments.kms and not arguments.unsecured:
        raise ValueError("--kms is needed to ask for a ticket")
    if mode is not TicketMode.REQUEST and arguments.psk_file is None:
        raise ValueError(f"--mode {mode.value} needs --psk-file: a ticket is made with a key")
    transport = transport_of(arguments, arguments.callee)
    sip = sip_settings(arguments, transport)
    if arguments.proxy:
        sip = replace(sip, proxy=address_of(arguments.proxy, DEFAULT_PORTS[transport]))
    return DialInOptions(
        callee=arguments.callee,
        sip=sip,
        keys=replace(
            key_settings(arguments),
            mode=mode,
            suite=SUITES[arguments.suite],
            flags=arguments.ticket_flags,
            session_key=KeyType[arguments.session_key],
        ),
        setup=Setup(arguments.tcp_role),
        tls=TLS_POLICIES[arguments.tls],
        floors=tuple(arguments.floor),
        hold=arguments.hold,
        bearer_host=sip.local[0],
        timeouts=_timeouts(arguments),
        console=_console(arguments),
        unsecured=arguments.unsecured,
        reconnect=arguments.reconnect,
        roster=arguments.roster,
    )


def answer_options(arguments: argparse.Namespace) -> AnswerOptions:
    """The command line as values. Raises ValueError (one sentence) when it makes no sense."""
    _check(arguments, arguments.identity)
    transport = transport_of(arguments, arguments.identity)
    if transport == "tls" and arguments.tls_cert is None:
        raise ValueError("answer on tls needs --tls-cert")
    if not arguments.kms:
        raise ValueError("--kms is needed to resolve tickets")
    sip = sip_settings(arguments, transport)
    if transport == "tls":
        sip = replace(sip, tls_server=tls_context(arguments, ssl.Purpose.CLIENT_AUTH))
    return AnswerOptions(
        sip=sip,
        keys=key_settings(arguments),
        setup=Setup(arguments.tcp_role),
        tls=TLS_POLICIES[arguments.tls],
        floors=tuple(arguments.floor),
        hold=arguments.hold,
        ring=arguments.ring,
        bearer_host=sip.local[0],
        timeouts=_timeouts(arguments),
        console=_console(arguments),
        reconnect=arguments.reconnect,
    )


def _check(arguments: argparse.Namespace, *uris: str) -> None:
    try:
        for uri in uris:
            kms_user_identity(uri)
    except MikeyError as error:
        raise ValueError(error.text) from None
    if any(not 0 < floor < 65536 for floor in arguments.floor):
        raise ValueError("a floor is a number from 1 to 65535")


def _console(arguments: argparse.Namespace) -> ConsoleOptions | None:
    if arguments.interactive:
        return ConsoleOptions(None, arguments.chair)
    if arguments.script is not None:
        return ConsoleOptions(read_script(arguments.script), arguments.chair)
    if arguments.chair:
        raise ValueError("--chair goes with --interactive or --script")
    return None


def _timeouts(arguments: argparse.Namespace) -> Timeouts:
    return Timeouts() if arguments.timeout is None else Timeouts().at_most(arguments.timeout)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; gives the exit code."""
    arguments = parser().parse_args(argv)
    if arguments.command == trunk_command.NAME:
        return trunk_command.run(arguments)
    if arguments.command == sipp_offers.NAME:
        return sipp_offers.run(arguments)
    reporter = Reporter(as_json=arguments.json)
    try:
        work = _work(arguments)
        tracer = Tracer(arguments.name, open_sink(arguments.trace))
    except (ValueError, OSError) as error:
        reporter.end(Exit.USAGE, str(error))
        return Exit.USAGE
    try:
        asyncio.run(_until_interrupted(work(tracer, reporter.show)))
    except UeError as error:
        reporter.end(error.exit_code, str(error))
        return error.exit_code
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    finally:
        tracer.close()
    reporter.end(Exit.OK, "all went well")
    return Exit.OK


async def _until_interrupted(work: Coroutine[None, None, None]) -> None:
    """Do the work; Ctrl-C ends it in good order.

    The loop itself listens to the signal: the handler of asyncio.run does not wake a loop that is just going to sleep,
    and Ctrl-C would have no effect until something else happens.
    """
    task = asyncio.current_task()
    if task is not None and threading.current_thread() is threading.main_thread():
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
    await work


def _work(arguments: argparse.Namespace) -> Callable[[Tracer, Show], Coroutine[None, None, None]]:
    """What the command has to do."""
    if arguments.command == "dial-in":
        return partial(dial_in, dial_in_options(arguments))
    return partial(answer_calls, answer_options(arguments), calls=arguments.calls)


if __name__ == "__main__":
    sys.exit(main())
