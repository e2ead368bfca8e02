"""Floor control server of one conference (RFC 8855 section 13), without input or output.

``FloorControlServer`` takes the messages of the conference's users and the time, and gives values to act
on: ``Send``, ``CloseConnection``, ``FloorStateChanged``, ``RequestChanged``.
"""

from mrfp_agent.floor_control.server import FloorControlServer
from mrfp_agent.floor_control.values import (
    CloseConnection,
    Floor,
    FloorStateChanged,
    Output,
    Policy,
    RequestChanged,
    Send,
    WithoutChair,
)

__all__ = [
    "CloseConnection",
    "Floor",
    "FloorControlServer",
    "FloorStateChanged",
    "Output",
    "Policy",
    "RequestChanged",
    "Send",
    "WithoutChair",
]
