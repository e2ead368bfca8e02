"""Wireshark's megaco dissector finds in our Mp messages what is in them.

Its fields are compared, not its verdict: it knows neither the private packages nor all of version 3.
"""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from unit.h248.messages import MP_MESSAGES

from mrf_protocols.h248 import encode
from mrf_protocols.h248.values import Message, TransactionReply, TransactionRequest

PORT = 2944


def capture(path: Path, payloads: list[bytes]) -> None:
    """A pcap file with one UDP datagram for each message (raw IPv4)."""
    packets = []
    for payload in payloads:
        udp = struct.pack(">HHHH", 40000, PORT, 8 + len(payload), 0) + payload
        ip = struct.pack(
            ">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, b"\x7f\0\0\1", b"\x7f\0\0\1"
        )
        packets.append(ip + udp)
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    records = [struct.pack("<IIII", 0, 0, len(packet), len(packet)) + packet for packet in packets]
    path.write_bytes(header + b"".join(records))


def collect(node: Any, found: dict[str, list[str]]) -> None:
    """Every field of a dissected message, with its values in order."""
    if isinstance(node, dict):
        for name, value in node.items():
            if isinstance(value, str):
                found.setdefault(name, []).append(value)
            else:
                collect(value, found)
    elif isinstance(node, list):
        for item in node:
            collect(item, found)


@pytest.fixture(scope="module")
def dissected(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, bool], dict[str, list[str]]]:
    """The fields of every message, pretty and compact."""
    path = tmp_path_factory.mktemp("mp") / "mp.pcap"
    names = [(name, pretty) for name in MP_MESSAGES for pretty in (True, False)]
    capture(path, [encode(MP_MESSAGES[name], pretty=pretty) for name, pretty in names])
    command = ["tshark", "-r", str(path), "-d", f"udp.port=={PORT},megaco", "-T", "json", "-J", "megaco"]
    command.append("--no-duplicate-keys")
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    found = {}
    for key, frame in zip(names, json.loads(done.stdout), strict=True):
        fields: dict[str, list[str]] = {}
        collect(frame["_source"]["layers"], fields)
        found[key] = fields
    return found


def expected(message: Message) -> tuple[str, list[str]]:
    (transaction,) = message.transactions
    assert isinstance(transaction, TransactionRequest | TransactionReply)
    names = [
        name for action in transaction.actions for command in action.commands for name in command.terminations
    ]
    return str(transaction.transaction_id), names


@pytest.mark.parametrize("pretty", [True, False], ids=["pretty", "compact"])
@pytest.mark.parametrize("name", MP_MESSAGES)
def test_tshark_finds_what_is_there(
    dissected: dict[tuple[str, bool], dict[str, list[str]]], name: str, pretty: bool
) -> None:
    fields = dissected[(name, pretty)]
    number, terminations = expected(MP_MESSAGES[name])
    assert fields["megaco.version"] == [str(MP_MESSAGES[name].version)]
    assert number in fields["megaco.transid"]
    shown = [each.lower() for each in fields.get("megaco.termid", [])]
    assert [each for each in terminations if each.lower() not in shown and each not in "$*"] == []
    assert "malformed" not in " ".join(fields)
