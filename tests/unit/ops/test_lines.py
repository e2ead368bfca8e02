"""What is called TLS is never clear text, whoever forgot the files. A host with nothing left is not asked on and on."""

import asyncio
import errno
import socket
from pathlib import Path

import pytest

from mrf_ops import lines
from mrf_ops.lines import CleartextError, Line, TlsFiles, Transport, connect, listen, refuse_cleartext


class Nobody:
    """A user of lines that must get none."""

    def line_up(self, line: Line) -> None:
        pytest.fail(f"a line to {line.peer}")

    def line_received(self, octets: bytes) -> None:
        pytest.fail("octets without a line")

    def line_down(self, reason: str) -> None:
        pytest.fail("the end of a line that never was")


async def test_no_tls_port_without_certificate() -> None:
    with pytest.raises(CleartextError):
        await listen(Transport.TLS, "127.0.0.1", 0, Nobody)


async def test_no_tls_connection_without_certificate() -> None:
    listening = await listen(Transport.TCP, "127.0.0.1", 0, Nobody)
    try:
        with pytest.raises(CleartextError):
            await connect(Transport.TLS, "127.0.0.1", listening.port, Nobody())
    finally:
        listening.close()


async def test_files_that_are_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "none.pem"
    with pytest.raises(FileNotFoundError):
        await listen(Transport.TLS, "127.0.0.1", 0, Nobody, TlsFiles(missing, missing, missing))


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.UDP, Transport.SCTP])
def test_clear_text_off_this_host_needs_a_word(
    transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    refuse_cleartext("Mp", transport, "127.0.0.1", allowed=False)
    refuse_cleartext("Mp", transport, "::1", allowed=False)
    with pytest.raises(CleartextError, match="keys in clear text"):
        refuse_cleartext("Mp", transport, "192.0.2.1", allowed=False)
    assert not caplog.records
    refuse_cleartext("Mp", transport, "192.0.2.1", allowed=True)
    assert "IN CLEAR TEXT" in caplog.text


def test_tls_needs_no_word() -> None:
    refuse_cleartext("Mp", Transport.TLS, "192.0.2.1", allowed=False)


class NoMeans(socket.socket):
    """A listening socket of a host that has no descriptor or no memory left; TCP, which every kernel has."""

    tried = 0

    def accept(self) -> tuple[socket.socket, object]:
        type(self).tried += 1
        raise OSError(errno.EMFILE, "nothing left")


async def test_a_port_of_a_host_with_no_descriptor_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NoMeans, "tried", 0)
    monkeypatch.setattr(lines, "_PAUSE_WITH_NOTHING_LEFT", 3600.0)
    monkeypatch.setattr(lines, "_sctp_socket", lambda host: NoMeans(socket.AF_INET, socket.SOCK_STREAM))
    listening = await listen(Transport.SCTP, "127.0.0.1", 0, Nobody)
    with socket.socket() as caller:
        caller.setblocking(False)
        caller.connect_ex((listening.host, listening.port))
        async with asyncio.timeout(30):
            while not NoMeans.tried:
                await asyncio.sleep(0.001)
        for _ in range(20):
            await asyncio.sleep(0)
    listening.close()
    assert NoMeans.tried == 1
