"""What an operator decides of Mp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from mrf_ops.lines import TlsFiles, Transport
from mrf_protocols.h248 import mp
from mrf_protocols.h248.values import MId


class MrfcAddress(NamedTuple):
    """Where an MRFC is."""

    host: str
    port: int
    transport: Transport = Transport.TCP


@dataclass(frozen=True, slots=True)
class MpSettings:
    """What an MRFP goes by on Mp; times in seconds.

    `mrfcs`: addresses to try in order, by TCP where no transport is said. `mid`: how this MRFP names itself, alone
    in the network. `timeout`: for an answer of the MRFC. `silence`: without any message from the MRFC for so long,
    the association is given up; set it to several of the MRFC's heartbeats. `first_pause`, `longest_pause`: before
    connecting again, doubled each time. `tls`: our certificate, for MRFCs by TLS. `pretty`: long tokens when we
    write. `max_executing`: commands that may wait at once, more are refused with 511.
    """

    mrfcs: tuple[mp.Address | MrfcAddress, ...]
    mid: MId
    timeout: float = 3.0
    silence: float = 60.0
    connect_timeout: float = 5.0
    first_pause: float = 0.5
    longest_pause: float = 30.0
    profile: str = "bfcp_mrfp/1"
    tls: TlsFiles | None = None
    allow_cleartext: bool = False
    pretty: bool = False
    pending_after: float = 1.0
    max_executing: int = 1024
