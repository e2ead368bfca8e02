import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiosipua import SipRequest, SipResponse
from aiosipua.utils import format_addr
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mrf_ops.trace import ListSink, Tracer
from mrf_ue.errors import FloorNotGranted, SipRefused
from mrf_ue.sip import SipEndpoint, SipSettings
from mrf_ue.sip_address import uri_address
from mrf_ue.sip_dialog import new_request, new_response
from mrf_ue.sip_transport import UdpTransport

ALICE = "sip:alice@example"


class Peer:
    """A bare SIP socket: sends what it is told, keeps what comes."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.transport = UdpTransport(local_addr=(host, 0))
        self.received: asyncio.Queue[SipRequest | SipResponse] = asyncio.Queue()

    async def start(self) -> None:
        self.transport.on_message = lambda message, _: self.received.put_nowait(message)
        await self.transport.start()

    def request(self, method: str, branch: str = "z9hG4bKone") -> SipRequest:
        host, port = self.transport.local_addr
        request = SipRequest(method=method, uri=ALICE)
        request.set_header("Via", f"SIP/2.0/UDP {format_addr(host, port)};branch={branch}")
        request.set_header("From", "<sip:someone@example>;tag=1")
        request.set_header("To", f"<{ALICE}>")
        request.set_header("Call-ID", "stranger")
        request.set_header("CSeq", f"1 {method}")
        return request

    async def next_response(self) -> SipResponse:
        async with asyncio.timeout(30):
            message = await self.received.get()
        assert isinstance(message, SipResponse)
        return message


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    await peer.start()
    yield peer
    await peer.transport.stop()


@pytest.fixture
async def endpoint(peer: Peer) -> AsyncIterator[SipEndpoint]:
    endpoint = SipEndpoint(SipSettings(ALICE))
    host, port = peer.transport.local_addr
    await endpoint.open(f"sip:conf@{host}:{port}")
    yield endpoint
    await endpoint.close()


@pytest.mark.parametrize(
    ("method", "status"),
    [("OPTIONS", 200), ("INVITE", 486), ("BYE", 481), ("CANCEL", 481), ("MESSAGE", 405)],
)
async def test_requests_outside_every_call(
    peer: Peer, endpoint: SipEndpoint, method: str, status: int
) -> None:
    where = (endpoint.end.host, endpoint.end.port)
    peer.transport.send(peer.request(method), where)
    response = await peer.next_response()
    assert response.status_code == status
    assert "tag=" in (response.get_header("To") or "")
    assert response.get_header("CSeq") == f"1 {method}"
    peer.transport.send(peer.request(method), where)
    assert bytes(await peer.next_response()) == bytes(response)


async def test_an_ack_is_never_answered(peer: Peer, endpoint: SipEndpoint) -> None:
    where = (endpoint.end.host, endpoint.end.port)
    peer.transport.send(peer.request("ACK"), where)
    peer.transport.send(peer.request("OPTIONS"), where)
    assert (await peer.next_response()).get_header("CSeq") == "1 OPTIONS"


async def test_ipv6() -> None:
    peer = Peer("::1")
    await peer.start()
    endpoint = SipEndpoint(SipSettings(ALICE))
    uri = f"sip:conf@[::1]:{peer.transport.local_addr[1]}"
    await endpoint.open(uri)
    assert endpoint.end.contact == f"<sip:alice@[::1]:{endpoint.end.port}>"
    peer.transport.send(peer.request("OPTIONS"), (endpoint.end.host, endpoint.end.port))
    assert (await peer.next_response()).status_code == 200
    call = endpoint.call(uri)
    await call.invite(b"v=0\r\n")
    async with asyncio.timeout(30):
        invite = await peer.received.get()
    assert isinstance(invite, SipRequest)
    peer.transport.send_reply(new_response(invite, 486, "Busy Here", to_tag="x"))
    with pytest.raises(SipRefused, match="486"):
        await call.wait_answer(30.0)
    call.close()
    await endpoint.close()
    await peer.transport.stop()


async def test_retransmissions_are_not_traced(peer: Peer) -> None:
    sink = ListSink()
    endpoint = SipEndpoint(SipSettings(ALICE), Tracer("UE-A", sink))
    host, port = peer.transport.local_addr
    await endpoint.open(f"sip:conf@{host}:{port}")
    call = endpoint.call(f"sip:conf@{host}:{port}")
    await call.invite(b"v=0\r\n")
    async with asyncio.timeout(30):
        while peer.received.qsize() < 2:
            await asyncio.sleep(0.02)
    assert [event.name for event in sink.events] == ["INVITE"]
    assert sink.events[0].correlation == call.call_id
    call.close()
    await endpoint.close()


async def test_nobody_listens_on_tcp() -> None:
    endpoint = SipEndpoint(SipSettings(ALICE, transport="tcp"))
    with pytest.raises(SipRefused, match="no SIP connection"):
        await endpoint.open("sip:conf@127.0.0.1:9")
    await endpoint.close()


@pytest.mark.parametrize(
    ("uri", "transport", "address"),
    [
        ("sip:conf@host.example", "udp", ("host.example", 5060)),
        ("sips:conf@host.example", "tls", ("host.example", 5061)),
        ("sip:[::1]:5080;lr", "tcp", ("::1", 5080)),
    ],
)
def test_where_a_uri_leads(uri: str, transport: str, address: tuple[str, int]) -> None:
    assert uri_address(uri, transport) == address


def make_certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "cert.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate_file, key_file


async def test_a_call_over_tls(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate, key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        invite = SipRequest.parse(await reader.readuntil(b"\r\n\r\n"))
        lines = [f"{name}: {invite.get_header(name)}" for name in ("Via", "From", "To", "Call-ID", "CSeq")]
        answer = ["", "", "SIP/2.0 486 Busy Here", *lines, "Content-Length: 0", "", ""]
        writer.write("\r\n".join(answer).encode())
        await reader.read(65536)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context)
    port = server.sockets[0].getsockname()[1]
    context = ssl.create_default_context(cafile=certificate)
    endpoint = SipEndpoint(SipSettings(ALICE, transport="tls", tls=context))
    uri = f"sips:conf@localhost:{port}"
    await endpoint.open(uri)
    assert endpoint.end.contact.endswith(";transport=tls>")
    call = endpoint.call(uri)
    await call.invite(b"v=0\r\n")
    with pytest.raises(SipRefused, match="486 Busy Here"):
        await call.wait_answer(30.0)
    call.close()
    await endpoint.close()
    server.close()


async def test_what_a_call_takes_with_it_is_no_failure_of_its_own(endpoint: SipEndpoint) -> None:
    """The BYE and the loss of the floor that follows from it, noticed in the same turn of the loop."""
    call = endpoint.call("sip:conf@127.0.0.1")

    async def hold() -> None:
        await call.hung_up.wait()
        raise FloorNotGranted("the floor was revoked")

    asyncio.get_running_loop().call_soon(call.hung_up.set)
    with pytest.raises(SipRefused, match="hung up"):
        await call.while_up(hold())


async def test_requests_with_the_branch_of_an_invite_go_where_it_went(
    peer: Peer, endpoint: SipEndpoint
) -> None:
    """The ACK of a failure and CANCEL, whatever their Request-URI says; a re-INVITE goes to the Contact."""
    elsewhere = Peer()
    await elsewhere.start()
    host, port = elsewhere.transport.local_addr
    contact = f"sip:conf@{host}:{port}"
    for method, to, branch, there in (
        ("INVITE", "<sip:conf@example>", "z9hG4bKa", peer),
        ("ACK", "<sip:conf@example>;tag=x", "z9hG4bKa", peer),
        ("CANCEL", "<sip:conf@example>", "z9hG4bKa", peer),
        ("ACK", "<sip:conf@example>;tag=x", "z9hG4bKb", elsewhere),
        ("INVITE", "<sip:conf@example>;tag=x", "z9hG4bKc", elsewhere),
        ("ACK", "<sip:conf@example>;tag=x", "z9hG4bKc", elsewhere),
    ):
        ids = ("call", f"<{ALICE}>;tag=a", to)
        endpoint.send(new_request(method, contact, cseq=1, end=endpoint.end, branch=branch, ids=ids))
        async with asyncio.timeout(30):
            message = await there.received.get()
        assert isinstance(message, SipRequest)
        assert (message.method, message.via[0].branch) == (method, branch)
    await elsewhere.transport.stop()


async def test_the_same_branch_from_another_port_is_another_transaction(
    peer: Peer, endpoint: SipEndpoint
) -> None:
    """RFC 3261 17.2.3: the sent-by of Via belongs to it."""
    other = Peer()
    await other.start()
    where = (endpoint.end.host, endpoint.end.port)
    tags = []
    for sender in (peer, other, peer):
        sender.transport.send(sender.request("OPTIONS", "z9hG4bKsame"), where)
        tags.append((await sender.next_response()).get_header("To"))
    assert tags[0] == tags[2] != tags[1]
    await other.transport.stop()
