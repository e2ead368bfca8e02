"""H.248 beside Erlang/OTP: codec rates over the same messages, and Add and Subtract transactions at the MRFP.

The messages are all of Mp that OTP reads, and OTP's own examples where they are installed. Transactions are asked by
OTP's controller over TCP on loopback: of our MRFP, and of OTP's gateway, which answers without doing anything.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from figures import Figure, Table
from processes import cpu_seconds

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "tests"), str(ROOT / "script")]

from otp_support import OtpPeer, encoded, otp  # noqa: E402 - found by the line above
from unit.h248.messages import MP_MESSAGES, READABLE_BY_OTP  # noqa: E402 - the same

from loopback_ports import free_ports  # noqa: E402 - the same
from mrf_protocols.h248 import H248Error, Message, decode, encode  # noqa: E402 - behind the others

EXAMPLES = "megaco-*/examples/meas/time_test.msgs"
ENTRY = re.compile(r'\{\w+,\s*<<"((?:[^"\\]|\\.)*)">>\}')
SESSION = "{\nv=0\nc=IN IP4 %s\nm=application %s TCP/TLS/BFCP *\n}"
ADD = (
    "MEGACO/3 mgc Transaction = 1 {Context = $ {"
    'ContextAttr {bfcpc/conf = 4321, bfcpc/floors = [1,2], bfcpc/maxh = ["1=1","2=1"]},'
    "Add = $ {Media {TerminationState {bfcpt/user = 1}, Stream = 1 {LocalControl {Mode = SendReceive,"
    f'bfcpt/psk = {"5a" * 32}, bfcpt/pskid = "55667788.1"}}, '
    f"Local {SESSION % ('$', '$')}, Remote {SESSION % ('127.0.0.1', '9')}}}}}}}}}}}"
)
ANSWER = (
    "MEGACO/3 mg Reply = 1 {Context = 12 {Add = bfcp/1 {Media {Stream = 1 {Local "
    f"{SESSION % ('127.0.0.1', '5000')}}}}}}}}}}}"
)
REGISTRATION = (
    "MEGACO/1 mg Transaction = 1 {Context = - {ServiceChange = ROOT {Services {"
    'Method = Restart, Version = 3, Profile = bfcp_mrfp/1, Reason = "901 Cold boot"}}}}'
)


def run(quick: bool) -> Table:
    """Codec rates, then transactions."""
    corpus = messages()
    with tempfile.TemporaryDirectory() as folder:
        theirs = otp_rates(Path(folder), corpus, seconds=1 if quick else 3)
        seconds = 0.5 if quick else 3.0
        figures = []
        for style in ("pretty", "compact"):
            texts = [encode(message, pretty=style == "pretty") for message in corpus]
            rates = (
                rate(partial(decode_all, texts), len(texts), seconds),
                rate(partial(encode_all, corpus, style == "pretty"), len(corpus), seconds),
            )
            for what, value, peer in zip(("decoded", "encoded"), rates, theirs[style], strict=True):
                least = 15000 if what == "decoded" else None
                figures.append(Figure(f"{style} {what}", value, "messages/CPU s", peer, least=least))
        largest = max((encode(message) for message in MP_MESSAGES.values()), key=len)
        value = rate(partial(decode_all, [largest] * 50), 50, seconds)
        figures.append(
            Figure(f"largest of Mp ({len(largest)} octets) decoded", value, "messages/CPU s", least=15000)
        )
        figures += asyncio.run(transactions(Path(folder), 2000 if quick else 20000))
    notes = [
        f"{len(corpus)} messages of Mp and of OTP's examples, {sum(map(len, texts)) // len(texts)} octets on average",
        "Add+Subtract: wall time, controller and gateway share this machine",
    ]
    return Table("H.248", figures, notes, "Erlang/OTP megaco")


def decode_all(texts: Sequence[bytes]) -> None:
    for text in texts:
        decode(text)


def encode_all(corpus: Sequence[Message], pretty: bool) -> None:
    for message in corpus:
        encode(message, pretty=pretty)


def messages() -> list[Message]:
    """What both codecs read and write."""
    found = list(READABLE_BY_OTP.values())
    for path in sorted(Path("/usr/lib/erlang/lib").glob(EXAMPLES)):
        for text in ENTRY.findall(path.read_text()):
            plain = re.sub(
                r"\\(.)", lambda match: {"n": "\n", "t": "\t", "r": "\r"}.get(match[1], match[1]), text
            )
            try:
                found.append(decode(plain.encode()))
            except H248Error:
                continue
    return found


def otp_rates(folder: Path, corpus: Sequence[Message], seconds: int) -> dict[str, tuple[float, float]]:
    """Decoded and encoded per CPU second, by style."""
    for number, message in enumerate(corpus):
        for style in ("pretty", "compact"):
            path = folder / f"{number:04}.{style}"
            path.write_bytes(encode(message, pretty=style == "pretty"))
    command = ["escript", str(Path(__file__).with_name("otp_codec.escript")), str(folder), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    lines = [line.split() for line in done.stdout.splitlines()]
    return {style: (float(decoded), float(encoded_)) for style, _, decoded, encoded_ in lines}


def rate(work: Callable[[], object], count: int, seconds: float) -> float:
    """How many a CPU second."""
    work()
    done, began = 0, time.process_time()
    while (spent := time.process_time() - began) < seconds:
        work()
        done += count
    return done / spent


async def transactions(folder: Path, cycles: int) -> list[Figure]:
    """Add+Subtract transactions a second, with 1 and 16 outstanding, and what they cost the MRFP."""
    (ours, spent), theirs = await at_our_mrfp(folder, cycles), await at_otps_gateway(cycles)
    figures = [Figure("Add+Subtract transactions", spent, "transactions/CPU s of the MRFP", least=5000)]
    for outstanding, least in ((1, None), (16, 5000)):
        name = f"Add+Subtract transactions, {outstanding} outstanding"
        value, peer = 2 * ours[outstanding], 2 * theirs[outstanding]
        figures.append(Figure(name, value, "transactions/s", peer, least=least))
    return figures


async def at_our_mrfp(folder: Path, cycles: int) -> tuple[dict[int, float], float]:
    """OTP's controller commands `mrfp-agent`: cycles a second, and transactions a CPU second."""
    mp_port, http_port, *_ = free_ports(2)
    (folder / "mrfp.toml").write_text(
        f'[mp]\nmrfcs = ["127.0.0.1:{mp_port}"]\nretry = 0.1\n[media]\nipv4 = "127.0.0.1"\n'
        f"ports = [16000, 17999]\nquarantine = 0\n[limits]\nterminations = 2000\n[http]\nport = {http_port}\n"
        '[log]\nlevel = "warning"\n'
    )
    async with otp("mgc") as controller:
        controller.say("listen", "tcp", str(mp_port), "compact")
        await controller.hear("ready")
        agent = await asyncio.create_subprocess_exec(
            str(ROOT / ".venv" / "bin" / "mrfp-agent"), "run", "--config", str(folder / "mrfp.toml")
        )
        try:
            await controller.hear("version", "3")
            before = cpu_seconds([agent.pid])
            found = await load(controller, cycles)
            done = sum(count_of(cycles, outstanding) for outstanding in found)
            return found, 2 * done / (cpu_seconds([agent.pid]) - before)
        finally:
            agent.terminate()
            await agent.wait()


async def at_otps_gateway(cycles: int) -> dict[int, float]:
    """OTP's controller commands OTP's gateway."""
    (port,) = free_ports(1)
    async with otp("mgc") as controller, otp("mg") as gateway:
        controller.say("listen", "tcp", str(port), "compact")
        await controller.hear("ready")
        gateway.say("quiet")
        gateway.say("answer", encoded(ANSWER))
        gateway.say("connect", "tcp", str(port), "compact")
        await gateway.hear("ready")
        await gateway.ask(REGISTRATION)
        await controller.hear("version", "3")
        return await load(controller, cycles)


def count_of(cycles: int, outstanding: int) -> int:
    """How many cycles are run; one at a time takes longer."""
    return cycles // (4 if outstanding == 1 else 1) // outstanding * outstanding


async def load(controller: OtpPeer, cycles: int) -> dict[int, float]:
    """Cycles a second by the number outstanding."""
    found = {}
    for outstanding in (1, 16):
        tag = f"load{outstanding}"
        count = count_of(cycles, outstanding)
        controller.say("load", tag, str(count), str(outstanding), encoded(ADD))
        line = await asyncio.wait_for(wait(controller, tag), 300)
        if int(line[3]):
            raise RuntimeError(f"{line[3]} of {count} cycles failed")
        found[outstanding] = count / (int(line[2]) / 1e6)
    return found


async def wait(controller: OtpPeer, tag: str) -> list[str]:
    """The result of a load, which takes longer than other answers."""
    while True:
        for line in controller.told:
            if line[:2] == ["loaded", tag]:
                return line
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    print(run("--quick" in sys.argv).render())
