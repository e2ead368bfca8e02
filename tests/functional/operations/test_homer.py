"""SIP messages for Homer: Kamailio's own HEP export, switched on by a define."""

from __future__ import annotations

import socket
from pathlib import Path

from lab import Lab, Settings


def test_every_sip_message_reaches_homer_once(tmp_path: Path) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as homer:
        homer.bind(("127.0.0.1", 0))
        homer.settimeout(30)
        defined = {"MRFC_HOMER": f'"sip:127.0.0.1:{homer.getsockname()[1]}"'}
        with Lab(tmp_path, Settings(defines=defined)) as lab:
            lab.start_mrfc()
            host, port = lab.sip_address.split(":")
            with socket.socket(type=socket.SOCK_DGRAM) as peer:
                peer.connect((host, int(port)))
                peer.settimeout(30)
                own = f"127.0.0.1:{peer.getsockname()[1]}"
                peer.send(
                    f"OPTIONS sip:{lab.sip_address} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKhomer\r\n"
                    "From: <sip:x@own.example>;tag=1\r\nTo: <sip:meeting@conf.example>\r\nCall-ID: homer-1\r\n"
                    "CSeq: 1 OPTIONS\r\nMax-Forwards: 9\r\nContent-Length: 0\r\n\r\n".encode()
                )
                assert peer.recv(4096).startswith(b"SIP/2.0 200")
            copies = [homer.recv(65535), homer.recv(65535)]
    assert all(copy.startswith(b"HEP3") for copy in copies)
    assert [b"OPTIONS sip:" in copies[0], b"SIP/2.0 200 OK" in copies[1]] == [True, True]
    assert all(b"homer-1" in copy for copy in copies)
