"""tshark decrypts a captured session by the pre-shared key and dissects the BFCP inside."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mrfp_support import CONFERENCE, IDENTITY, KEY, SECONDS, LocalMrfp, come, floor_request, until

from mrf_protocols.bfcp import Primitive
from mrf_protocols.h248.mp import ConfigureBfcpTermination
from mrf_protocols.tls_psk import TlsPolicy, TlsRole

ONLY_PLAIN_PSK = TlsPolicy(tls13=False, ecdhe_psk=False)
"""With an ephemeral key exchange beside the PSK, the PSK alone decrypts nothing."""


async def output_of(*command: str) -> str:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    output, complaint = await asyncio.wait_for(process.communicate(), 3 * SECONDS)
    assert process.returncode == 0, complaint.decode()
    return output.decode()


async def capture_a_call(file: Path, policy: TlsPolicy) -> int:
    """Capture one user's session on loopback; returns the port of the termination."""
    mrfp = LocalMrfp(policy=policy)
    procedure = ConfigureBfcpTermination(
        ("127.0.0.1", 9), 1, conference=CONFERENCE, psk=KEY, psk_identity=IDENTITY
    )
    local = mrfp.configure(procedure).local
    assert local is not None
    dumpcap = await asyncio.create_subprocess_exec(
        *("dumpcap", "-q", "-i", "lo", "-f", f"tcp port {local[1]}", "-w", str(file)),
        stderr=asyncio.subprocess.PIPE,
    )
    assert dumpcap.stderr is not None
    while not (line := await dumpcap.stderr.readline()).startswith(b"File:"):
        assert line, "dumpcap ended"
    user = await come(local)
    await user.secure(TlsRole.CLIENT)
    user.send(floor_request(1))
    while (await user.receive()).name != "FloorRequestStatus Granted":
        pass
    await user.close()
    await until(lambda: mrfp.gateway.status()["connections"] == 0)
    await until_captured(file)
    dumpcap.terminate()
    await dumpcap.communicate()
    mrfp.gateway.release_everything()
    return local[1]


async def until_captured(file: Path) -> None:
    """Wait for the user's FIN, the last that is of interest; dumpcap hands packets over once a second."""
    async with asyncio.timeout(SECONDS):
        while True:
            reading = await asyncio.create_subprocess_exec(
                *("tshark", "-r", str(file), "-Y", "tcp.flags.fin==1"),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # the file may end in the middle of a packet
            )
            found, _ = await reading.communicate()
            if found:
                return


async def decrypted(file: Path, port: int) -> list[str]:
    """What the user and the MRFP said, as hexadecimal digits, by tshark and the key."""
    arguments = ("-o", f"tls.psk:{KEY.hex()}", "-d", f"tcp.port=={port},tls", "-z", "follow,tls,raw,0")
    lines = (await output_of("tshark", "-r", str(file), "-q", *arguments)).splitlines()
    return [line.strip() for line in lines if line.strip() and set(line.strip()) <= set("0123456789abcdef")]


async def test_the_floor_request_is_found_inside_the_session(tmp_path: Path) -> None:
    port = await capture_a_call(tmp_path / "secured.pcapng", ONLY_PLAIN_PSK)
    messages = await decrypted(tmp_path / "secured.pcapng", port)
    assert len(messages) >= 2
    # tshark's TLS dissector hands nothing to its BFCP dissector: give it the plaintext in TCP segments.
    (tmp_path / "plain.txt").write_text(
        "".join(f"0000 {bytes.fromhex(each).hex(' ')}\n" for each in messages)
    )
    plain = str(tmp_path / "plain.pcap")
    await output_of("text2pcap", "-q", "-T", "4000,4001", str(tmp_path / "plain.txt"), plain)
    fields = ("bfcp.primitive", "bfcp.conference_id", "bfcp.user_id", "bfcp.floor_id")
    arguments = [word for field in fields for word in ("-e", field)]
    rows = await output_of(
        *("tshark", "-r", plain, "-d", "tcp.port==4001,bfcp", "-T", "fields", "-E", "separator=,", *arguments)
    )
    request = rows.splitlines()[0].split(",")
    assert request == [str(Primitive.FLOOR_REQUEST.value), "4321", "1", "1"]
    assert rows.splitlines()[1].split(",")[0] == str(Primitive.FLOOR_REQUEST_STATUS.value)


async def test_with_forward_secrecy_the_key_decrypts_nothing(tmp_path: Path) -> None:
    port = await capture_a_call(tmp_path / "secured.pcapng", TlsPolicy(plain_psk=False))
    assert await decrypted(tmp_path / "secured.pcapng", port) == []
