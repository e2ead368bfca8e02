"""The report of the trunk test, its command line, and the driver that plays scenarios."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiosipua import SipRequest, SipResponse

from mrf_ops.trace import TraceEvent
from mrf_ue.cli import main, parser
from mrf_ue.errors import SipRefused
from mrf_ue.options import TicketMode
from mrf_ue.sip import SipSettings
from mrf_ue.sip_dialog import new_response
from mrf_ue.sip_transport import Address, UdpTransport
from mrf_ue.trunk.cases import NAMES
from mrf_ue.trunk.command import options_of
from mrf_ue.trunk.report import as_json, case_lines, summary_lines
from mrf_ue.trunk.run import TrunkTestOptions, try_trunk
from mrf_ue.trunk.verdict import CaseResult, Finding, Repeats, Report, Verdict, worst

EVENTS = (
    TraceEvent(10.0, "UE", "c", "sent", "TRUNK", "SIP", "BYE", "1 BYE request"),
    TraceEvent(10.5, "UE", "c", "received", "TRUNK", "SIP", "200 OK (BYE)", "1 BYE 200"),
)
FAILED = CaseResult(
    "bye-no-dialog",
    "BYE to nothing",
    (Finding(Verdict.FAIL, "200 \x1b[2JOK, where 481 is due", "RFC 3261 15.1.2"),),
    0.5,
    {"response": 500.0},
    (Repeats("sent", "BYE", (500.0, 1500.0)),),
    EVENTS,
)
GOOD = CaseResult("options", "OPTIONS", (Finding(Verdict.PASS, "200 OK"),), 0.1)
REPORT = Report(
    "sip:c@h",
    "udp",
    "h:5060",
    0.0,
    (GOOD, FAILED),
    {"Allow": "INVITE"},
    {"audio": ("audio RTP/AVP: PCMA/8000", "video RTP/AVP: declined")},
)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], Verdict.NOT_RUN),
        ([Verdict.PASS, Verdict.NOT_RUN], Verdict.PASS),
        ([Verdict.PASS, Verdict.NOT_SUPPORTED], Verdict.NOT_SUPPORTED),
        ([Verdict.NOT_SUPPORTED, Verdict.WARNING], Verdict.WARNING),
        ([Verdict.WARNING, Verdict.FAIL, Verdict.PASS], Verdict.FAIL),
    ],
)
def test_the_worst_finding_decides(verdicts: list[Verdict], expected: Verdict) -> None:
    assert worst([Finding(verdict, "") for verdict in verdicts]) is expected


def test_a_failing_case_has_its_ladder_and_no_control_characters() -> None:
    text = "\n".join(case_lines(FAILED))
    assert "FAIL          bye-no-dialog" in text
    assert "[RFC 3261 15.1.2]" in text
    assert "BYE sent again after 500, 1500 ms" in text
    assert "first response 500.0 ms" in text
    assert "500.0      │◄" in text
    assert "bye-no-dialog: 2 messages" in text
    assert "\x1b" not in text
    assert "\x1b[31;1m" in "\n".join(case_lines(FAILED, color=True))
    assert len(list(case_lines(GOOD))) == 2


def test_the_summary() -> None:
    text = "\n".join(summary_lines(REPORT))
    assert "2 cases: 1 pass, 1 fail" in text
    assert "Allow                   INVITE" in text
    assert text.count("    audio  ") == 1


def test_the_report_as_json() -> None:
    found = json.loads(as_json(REPORT))
    assert found["good"] is False
    assert found["counts"]["fail"] == 1
    assert found["started"] == "1970-01-01T00:00:00+00:00"
    failed = found["cases"][1]
    assert failed["findings"][0]["clause"] == "RFC 3261 15.1.2"
    assert failed["times_ms"] == {"response": 500.0}
    assert failed["repeats"] == [{"kind": "sent", "name": "BYE", "after_ms": [500.0, 1500.0]}]
    assert [each["name"] for each in failed["messages"]] == ["BYE", "200 OK (BYE)"]


# --- the command line


def options(*more: str) -> TrunkTestOptions:
    return options_of(parser().parse_args(["trunk-test", *more]))


def test_little_has_to_be_said() -> None:
    found = options("sip:conf@trunk.example;transport=tcp")
    assert (found.sip.identity, found.sip.transport) == ("sip:trunk-test@trunk.example", "tcp")
    assert found.keys is None
    assert found.names == NAMES


def test_much_can_be_said(tmp_path: Path) -> None:
    psk = tmp_path / "psk"
    psk.write_text("00" * 32)
    psk.chmod(0o600)
    password = tmp_path / "password"
    password.write_text("secret")
    password.chmod(0o600)
    found = options(
        *("sip:conf@trunk.example", "--identity", "sip:alice@ue.example", "--psk-file", str(psk)),
        *("--case", "bfcp", "--case", "hold", "--timeout", "3", "--proxy", "[::1]:5080"),
        *("--user", "kit", "--password-file", str(password), "--transport", "udp"),
    )
    assert found.keys is not None
    assert found.keys.mode is TicketMode.SELF_MADE
    assert (found.names, found.seconds, found.sip.proxy) == (("bfcp", "hold"), 3.0, ("::1", 5080))
    assert found.sip.login is not None
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "whom to call"),
        (["sip:conf@trunk.example", "--case", "nonsense"], "no case nonsense"),
        (["sip:conf@trunk.example", "--timeout", "0"], "above 0"),
        (["sip:"], "no SIP URI"),
        (["sip:conf@trunk.example", "--username", "kit"], "--password-file"),
        (["sip:conf@trunk.example", "--psk-file", "/nowhere"], "/nowhere"),
        (["sip:conf@trunk.example;transport=tls", "--tls-cert", "/nowhere"], "/nowhere cannot be used"),
    ],
)
def test_wrong_usage_ends_with_2_and_one_sentence(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trunk-test", *words]) == 2
    output = capsys.readouterr()
    assert complaint in output.err
    assert len(output.err.splitlines()) == 1
    assert not output.out


def test_the_list_of_cases(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trunk-test", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(NAMES)


# --- the driver, on a socket


class Deaf:
    """A peer on UDP that hears only every so manieth copy of a request, and answers OPTIONS."""

    def __init__(self, deaf_to: int) -> None:
        self.transport = UdpTransport(local_addr=("127.0.0.1", 0))
        self.heard = 0
        self._deaf_to = deaf_to

    async def start(self) -> None:
        self.transport.on_message = self.received
        await self.transport.start()

    def received(self, message: SipRequest | SipResponse, source: Address) -> None:
        self.heard += 1
        if isinstance(message, SipRequest) and self.heard % (self._deaf_to + 1) == 0:
            self.transport.send(new_response(message, 200, "OK", to_tag="deaf"), source)

    @property
    def uri(self) -> str:
        return f"sip:conf@127.0.0.1:{self.transport.local_addr[1]}"


@pytest.fixture
async def deaf() -> AsyncIterator[Deaf]:
    peer = Deaf(deaf_to=1)
    await peer.start()
    yield peer
    await peer.transport.stop()


async def test_requests_are_repeated_on_udp_and_that_is_told(deaf: Deaf) -> None:
    told: list[CaseResult] = []
    options = TrunkTestOptions(
        deaf.uri, SipSettings("sip:kit@ue.example"), names=("max-forwards",), seconds=30.0
    )
    report = await try_trunk(options, told.append)
    assert list(report.results) == told
    assert report.good
    [repeats] = told[0].repeats
    assert (repeats.kind, repeats.name) == ("sent", "OPTIONS")
    assert repeats.after[0] >= 490.0  # T1, and the machine may be slow


async def test_nobody_there() -> None:
    silent = UdpTransport(local_addr=("127.0.0.1", 0))
    silent.on_message = lambda *_: None
    await silent.start()
    host, port = silent.local_addr
    try:
        with pytest.raises(SipRefused, match=f"nobody answers SIP at {host}:{port} over udp"):
            await try_trunk(
                TrunkTestOptions(f"sip:conf@{host}:{port}", SipSettings("sip:kit@ue.example"), seconds=0.3)
            )
    finally:
        await silent.stop()


async def test_nobody_listens_on_tcp() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    sip = SipSettings("sip:kit@ue.example", "tcp")
    with pytest.raises(SipRefused, match="no SIP connection to"):
        await try_trunk(TrunkTestOptions(f"sip:conf@127.0.0.1:{port}", sip))
