"""One run of the trunk test: reach the trunk, try the cases one after the other, report."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from mrf_protocols.sdp import Setup
from mrf_ue.bearer import address_text
from mrf_ue.dial_in import dial_in
from mrf_ue.errors import KmsFailed, SipRefused, UeError
from mrf_ue.options import DialInOptions, KeySettings, Timeouts
from mrf_ue.sip import SipSettings
from mrf_ue.sip_address import resolve, uri_address
from mrf_ue.sip_dialog import LocalEnd
from mrf_ue.trunk import cases_alone
from mrf_ue.trunk.cases import CASES, DIAL_IN, IPV6, LIVE, NAMES, TITLES, Case
from mrf_ue.trunk.player import TRUNK, Player
from mrf_ue.trunk.setting import Knowledge, Setting
from mrf_ue.trunk.verdict import CaseResult, Finding, Report, Verdict

_HOLD = 0.1
"""Seconds to keep the floor in a full dial-in."""
_PROBES = (
    Case("", "", cases_alone.max_forwards),
    Case("", "", cases_alone.bye_no_dialog),
)
"""What any SIP element answers: asked first, since a target that is not there needs no forty cases to show it."""


@dataclass(frozen=True, slots=True)
class TrunkTestOptions:
    """Everything that `mrf-ue trunk-test` does is settled here.

    `target`: SIP URI. `keys`: None when no ticket can be had. `names`: cases to try; `seconds`: limit of each.
    """

    target: str
    sip: SipSettings
    keys: KeySettings | None = None
    names: tuple[str, ...] = NAMES
    seconds: float = 10.0


Tell = Callable[[CaseResult], None]


async def try_trunk(options: TrunkTestOptions, tell: Tell = lambda _: None) -> Report:
    """Try the cases; `tell` gets each result as it comes. Raises SipRefused when the target is not there."""
    options = replace(options, sip=replace(options.sip, peer_name=TRUNK))
    knowledge = Knowledge()
    started = time.time()
    address = address_text(await _address(options))
    await _reach(options, address)
    results = []
    for name in options.names:
        result = await _try(options, name, knowledge)
        tell(result)
        results.append(result)
    return Report(
        options.target,
        options.sip.transport,
        address,
        started,
        tuple(results),
        knowledge.features,
        knowledge.media,
    )


async def _address(options: TrunkTestOptions) -> tuple[str, int]:
    return await resolve(options.sip.proxy or uri_address(options.target, options.sip.transport))


async def _reach(options: TrunkTestOptions, address: str) -> None:
    """Make sure that somebody speaks SIP there. Raises SipRefused."""
    told = "neither OPTIONS nor BYE got a response"
    for probe in _PROBES:
        result = await _play(replace(options, seconds=min(options.seconds, 5.0)), probe, Knowledge())
        if any(event.kind == "received" for event in result.events):
            return
        if "connection is gone" in result.findings[0].text:
            told = result.findings[0].text
            break
    raise SipRefused(f"nobody answers SIP at {address} over {options.sip.transport}: {told}")


async def _try(options: TrunkTestOptions, name: str, knowledge: Knowledge) -> CaseResult:
    try:
        if name == DIAL_IN:
            return await _dial_in(options)
        if name == IPV6:
            return await _ipv6(options)
        case = next(each for each in CASES if each.name == name)
        return await _play(options, case, knowledge)
    except SipRefused as error:  # it was there a moment ago
        return CaseResult(name, TITLES[name], (Finding(Verdict.FAIL, str(error), "RFC 3261 18"),), 0.0)


async def _play(options: TrunkTestOptions, case: Case, knowledge: Knowledge) -> CaseResult:
    player = Player(options.target, options.sip, options.keys)
    try:
        await player.open()
        return await player.run(case, _setting(options, player.endpoint.end), knowledge)
    finally:
        await player.close()


def _setting(options: TrunkTestOptions, end: LocalEnd) -> Setting:
    return Setting(
        options.target,
        options.sip.identity,
        end,
        reliable=options.sip.transport != "udp",
        keyed=options.keys is not None,
        login=options.sip.login,
        seconds=options.seconds,
    )


async def _dial_in(options: TrunkTestOptions) -> CaseResult:
    """The whole of a secured call, as `mrf-ue dial-in` makes it."""
    title = LIVE[DIAL_IN]
    if options.keys is None:
        finding = Finding(Verdict.NOT_RUN, "needs --identity and --psk-file")
        return CaseResult(DIAL_IN, title, (finding,), 0.0)
    player = Player(options.target, options.sip, None)
    call = DialInOptions(
        callee=options.target,
        sip=options.sip,
        keys=options.keys,
        setup=Setup.ACTIVE,
        hold=_HOLD,
        bearer_host=options.sip.local[0],
        timeouts=Timeouts().at_most(options.seconds),
    )
    told: list[str] = []
    began = time.monotonic()
    clause = "TS 23.333 6.2.19.3.1"
    try:
        await dial_in(call, player.tracer, lambda topic, text: told.append(f"{topic} {text}"))
        finding = Finding(Verdict.PASS, next((each for each in told if each.startswith("TLS")), ""), clause)
    except KmsFailed as error:
        finding = Finding(Verdict.NOT_RUN, str(error))
    except UeError as error:
        finding = Finding(Verdict.FAIL, str(error), clause)
    events = tuple(player.sink.events)
    seconds = round(time.monotonic() - began, 3)
    return CaseResult(DIAL_IN, title, (finding,), seconds, events=events)


async def _ipv6(options: TrunkTestOptions) -> CaseResult:
    """OPTIONS to the target's address of that family."""
    title = LIVE[IPV6]
    host, port = options.sip.proxy or uri_address(options.target, options.sip.transport)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, family=socket.AF_INET6, type=socket.SOCK_DGRAM
        )
    except OSError:
        finding = Finding(Verdict.NOT_RUN, f"{host} has no IPv6 address")
        return CaseResult(IPV6, title, (finding,), 0.0)
    there = str(found[0][4][0])
    sip = replace(options.sip, proxy=(there, port), local=("", 0))
    case = Case(IPV6, title, cases_alone.options)
    with contextlib.suppress(SipRefused):
        result = await _play(replace(options, sip=sip), case, Knowledge())
        return replace(result, findings=(Finding(Verdict.PASS, f"at {there}"), *result.findings))
    finding = Finding(
        Verdict.FAIL, f"{host} has the IPv6 address {there}, but nobody answers there", "RFC 3263 4.2"
    )
    return CaseResult(IPV6, title, (finding,), 0.0)
