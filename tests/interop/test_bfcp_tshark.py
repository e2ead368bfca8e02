"""Wireshark's dissector reads every message that our BFCP codec can write on TCP.

tshark is required: without it this test fails. What its dissector cannot do is avoided here: several messages
in a segment, texts that are not ASCII, names of the primitives from 15 on.
"""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mrf_protocols.bfcp import (
    AttributeType,
    BeneficiaryId,
    BeneficiaryInformation,
    ErrorCode,
    ErrorCodeAttribute,
    ErrorInfo,
    FloorId,
    FloorRequestId,
    FloorRequestInformation,
    FloorRequestStatus,
    Message,
    OverallRequestStatus,
    ParticipantProvidedInfo,
    Primitive,
    Priority,
    PriorityAttribute,
    RequestedByInformation,
    RequestStatus,
    RequestStatusAttribute,
    SupportedAttributes,
    SupportedPrimitives,
    encode,
)

CLIENT, SERVER = 40000, 50000
CONFERENCE = 0x10203040

REQUEST = FloorRequestInformation(
    789,
    OverallRequestStatus(789, RequestStatusAttribute(RequestStatus.ACCEPTED, 3), "wait"),
    (FloorRequestStatus(543, RequestStatusAttribute(RequestStatus.ACCEPTED, 3), "busy"),),
    BeneficiaryInformation(124, "Bobb", "sip:bob@example.org"),
    RequestedByInformation(125, "Ann!", "sip:ann@example.com"),
    Priority.HIGH,
    "talk",
)

CASES: dict[str, tuple[Primitive, tuple[Any, ...], dict[str, list[str]]]] = {
    "FloorRequest": (
        Primitive.FLOOR_REQUEST,
        (
            FloorId(543),
            FloorId(544),
            BeneficiaryId(124),
            ParticipantProvidedInfo("slides"),
            PriorityAttribute(Priority.HIGHEST),
        ),
        {
            "bfcp.floor_id": ["543", "544"],
            "bfcp.beneficiary_id": ["124"],
            "bfcp.part_prov_info_text": ["slides"],
            "bfcp.priority": ["4"],
            "bfcp.attribute_type": ["2", "2", "1", "8", "4"],
        },
    ),
    "FloorRelease": (Primitive.FLOOR_RELEASE, (FloorRequestId(789),), {"bfcp.floorrequest_id": ["789"]}),
    "FloorRequestQuery": (
        Primitive.FLOOR_REQUEST_QUERY,
        (FloorRequestId(789),),
        {"bfcp.floorrequest_id": ["789"]},
    ),
    "FloorRequestStatus": (
        Primitive.FLOOR_REQUEST_STATUS,
        (REQUEST,),
        {
            "bfcp.attribute_type": [
                "15",
                "18",
                "5",
                "9",
                "17",
                "5",
                "9",
                "14",
                "12",
                "13",
                "16",
                "12",
                "13",
                "4",
                "8",
            ],
            "bfcp.floorrequest_id": ["789", "789"],
            "bfcp.request_status": ["2", "2"],
            "bfcp.queue_pos": ["3", "3"],
            "bfcp.status_info_text": ["wait", "busy"],
            "bfcp.floor_id": ["543"],
            "bfcp.beneficiary_id": ["124"],
            "bfcp.req_by_i": ["125"],
            "bfcp.user_disp_name": ["Bobb", "Ann!"],
            "bfcp.user_uri": ["sip:bob@example.org", "sip:ann@example.com"],
            "bfcp.priority": ["3"],
            "bfcp.part_prov_info_text": ["talk"],
        },
    ),
    "UserQuery": (Primitive.USER_QUERY, (BeneficiaryId(124),), {"bfcp.beneficiary_id": ["124"]}),
    "UserStatus": (
        Primitive.USER_STATUS,
        (BeneficiaryInformation(124, "Bobb", "sip:bob@a.b0"), REQUEST),
        {"bfcp.beneficiary_id": ["124", "124"], "bfcp.user_disp_name": ["Bobb", "Bobb", "Ann!"]},
    ),
    "FloorQuery": (Primitive.FLOOR_QUERY, (FloorId(1), FloorId(2)), {"bfcp.floor_id": ["1", "2"]}),
    "FloorQuery for nothing": (Primitive.FLOOR_QUERY, (), {}),
    "FloorStatus": (
        Primitive.FLOOR_STATUS,
        (FloorId(543), REQUEST, REQUEST),
        {"bfcp.floor_id": ["543", "543", "543"], "bfcp.queue_pos": ["3", "3", "3", "3"]},
    ),
    "ChairAction": (
        Primitive.CHAIR_ACTION,
        (
            FloorRequestInformation(
                635, floors=(FloorRequestStatus(543, RequestStatusAttribute(RequestStatus.REVOKED)),)
            ),
        ),
        {"bfcp.floorrequest_id": ["635"], "bfcp.floor_id": ["543"], "bfcp.request_status": ["7"]},
    ),
    "ChairActionAck": (Primitive.CHAIR_ACTION_ACK, (), {}),
    "Hello": (Primitive.HELLO, (), {}),
    "HelloAck": (
        Primitive.HELLO_ACK,
        (SupportedPrimitives(tuple(Primitive)[:13]), SupportedAttributes(tuple(AttributeType))),
        {
            "bfcp.supp_primitive": [str(number) for number in range(1, 14)],
            "bfcp.supp_attr": [str(number) for number in range(1, 19)],
        },
    ),
    "Error": (
        Primitive.ERROR,
        (
            ErrorCodeAttribute(ErrorCode.UNKNOWN_MANDATORY_ATTRIBUTE, bytes((99 << 1, 98 << 1))),
            ErrorInfo("unknown"),
        ),
        {
            "bfcp.error_code": ["4"],
            "bfcp.error_info_text": ["unknown"],
            "bfcp.error_specific_details": ["c6:c4"],
        },
    ),
}


def capture(path: Path, payload: bytes) -> None:
    """A pcap file with one TCP segment from the client to the server (raw IPv4)."""
    tcp = struct.pack(">HHIIBBHHH", CLIENT, SERVER, 1, 1, 5 << 4, 0x18, 8192, 0, 0)
    total = 20 + len(tcp) + len(payload)
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, total, 1, 0, 64, 6, 0, b"\x7f\0\0\1", b"\x7f\0\0\1")
    packet = ip + tcp + payload
    link_raw = 101
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link_raw)
    path.write_bytes(header + struct.pack("<IIII", 0, 0, len(packet), len(packet)) + packet)


def dissect(path: Path) -> dict[str, list[str]]:
    """Every field of the BFCP layer that tshark shows, with its values in order."""
    command = ["tshark", "-r", str(path), "-d", f"tcp.port=={SERVER},bfcp", "-T", "json", "-J", "bfcp"]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)
    found: dict[str, list[str]] = {}
    # A field that comes twice is a key that comes twice, so objects are read as lists of pairs.
    collect(json.loads(done.stdout, object_pairs_hook=list), found)
    return found


def collect(node: Any, found: dict[str, list[str]]) -> None:
    for entry in node:
        if isinstance(entry, list):
            collect(entry, found)
        else:
            name, value = entry
            if isinstance(value, list):
                collect(value, found)
            else:
                found.setdefault(name, []).append(value)


@pytest.mark.parametrize("case", CASES)
def test_tshark_reads_what_we_write(case: str, tmp_path: Path) -> None:
    primitive, attributes, expected = CASES[case]
    octets = encode(Message(primitive, CONFERENCE, 0x1234, 234, attributes))
    capture(tmp_path / "bfcp.pcap", octets)
    found = dissect(tmp_path / "bfcp.pcap")
    header = {
        "bfcp.ver": ["1"],
        "bfcp.hdr_r_bit": ["0"],
        "bfcp.hdr_f_bit": ["0"],
        "bfcp.primitive": [str(primitive.value)],
        "bfcp.payload_length": [str((len(octets) - 12) // 4)],
        "bfcp.conference_id": [str(CONFERENCE)],
        "bfcp.transaction_id": [str(0x1234)],
        "bfcp.user_id": ["234"],
    }
    wanted = header | expected
    assert {name: found.get(name) for name in wanted} == wanted
    assert not [name for name in found if name.startswith(("_ws.", "bfcp.attribute_length.too_small"))]


def test_every_primitive_of_tcp_is_dissected() -> None:
    assert {primitive for primitive, _, _ in CASES.values()} == set(tuple(Primitive)[:13])
