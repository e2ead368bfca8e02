"""What is looked at before the MRFC starts: ports that Kamailio is about to open, and files that the engine will need.

Kamailio opens its ports later, and tells of a fault in words for its developers; whether it starts is its own decision.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import msgspec

from mrf_ops.service import EXIT_CONFIGURATION, cannot_listen
from mrfc.config import MrfcConfig

__all__ = [
    "EXIT_CONFIGURATION",
    "LIST_SOCKETS",
    "unusable_certificates",
    "unusable_ports",
    "unwritable_files",
]

LIST_SOCKETS = '{"jsonrpc": "2.0", "method": "core.sockets_list", "id": 1}'
"""What Kamailio is asked for its sockets."""

_TELLING = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES)
_KEYS = "listen in kamailio.cfg (MRFC_LISTEN_... in kamailio-local.cfg)"


class _Socket(msgspec.Struct):
    proto: str
    ipaddress: str
    port: str


class _Entry(msgspec.Struct):
    socket: _Socket


class _Sockets(msgspec.Struct):
    result: tuple[_Entry, ...]


def unusable_ports(sockets: str) -> Iterator[str]:
    """One sentence for each port that Kamailio will not get, and how to mend it. `sockets` is its answer to
    LIST_SOCKETS; nothing is said of what that does not tell."""
    try:
        entries = msgspec.json.decode(sockets, type=_Sockets).result
    except msgspec.MsgspecError:
        return
    for each in (entry.socket for entry in entries):
        if not each.port.isdigit():
            continue
        error = _tried(each.proto, each.ipaddress.strip("[]"), int(each.port))
        if error is not None and error.errno in _TELLING:
            yield cannot_listen(_KEYS, each.ipaddress.strip("[]"), int(each.port), error)


def _tried(proto: str, host: str, port: int) -> OSError | None:
    """Open a port as Kamailio does, and close it again."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind = socket.SOCK_DGRAM if proto == "udp" else socket.SOCK_STREAM
    try:
        with socket.socket(family, kind) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family is socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            trial.bind((host, port))
    except OSError as error:
        return error
    return None


def unwritable_files(config: MrfcConfig) -> Iterator[str]:
    """One sentence for each file that the engine could not write just now; nothing is changed."""
    yield from _unwritable("trace.file", config.trace.file)
    yield from _unwritable("mikey.replay_file", config.mikey.replay_file)


def unusable_certificates(config: MrfcConfig) -> Iterator[str]:
    """One sentence for each certificate or key that the engine cannot use."""
    if "tls" in config.mp.transports and (files := config.mp.tls()) is not None:
        try:
            files.context(server_side=True)
        except OSError as error:
            yield f"mp.certificate, mp.key, mp.authority cannot be used: {files.fault(error)}"
    kms = config.kms
    try:
        context = ssl.create_default_context(cafile=kms.ca_file)
    except OSError as error:
        yield f"kms.ca_file {kms.ca_file} cannot be used: {error.strerror or error}"
        return
    if kms.certificate is not None:
        try:
            context.load_cert_chain(kms.certificate, kms.private_key)
        except OSError as error:
            keys = f"kms.certificate {kms.certificate}, kms.private_key {kms.private_key}"
            yield f"{keys} cannot be used: {error.strerror or error}"


def _unwritable(key: str, path: Path | None) -> Iterator[str]:
    if path is None:
        return
    if not path.parent.is_dir():
        yield f"{key}: {path} cannot be written: there is no folder {path.parent}; make it, or change {key}"
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        yield f"{key}: {path} cannot be written: see owner and mode of it and of its folder"
