"""Floor cycles per CPU second of the BFCP codec and the floor control server, in memory.

A cycle is FloorRequest, Granted, FloorRelease, Released. What is measured is the server's share: deframing and
decoding two requests, the floor control server, encoding what it sends.
"""

from __future__ import annotations

import argparse
import time

from mrf_protocols.bfcp import Deframer, FloorId, FloorRequestId, Message, Primitive, encode
from mrfp_agent.floor_control import Floor, FloorControlServer, Output, Send

CONFERENCE = 4321


def request(user: int) -> bytes:
    return encode(Message(Primitive.FLOOR_REQUEST, CONFERENCE, 7, user, (FloorId(1),)))


def release(user: int, request_id: int) -> bytes:
    return encode(Message(Primitive.FLOOR_RELEASE, CONFERENCE, 8, user, (FloorRequestId(request_id),)))


def serve(server: FloorControlServer, deframer: Deframer, user: int, octets: bytes) -> list[Output]:
    """What a server does with octets from a connection; the messages it sends are encoded, too."""
    outputs: list[Output] = []
    for message in deframer.feed(octets):
        assert isinstance(message, Message)
        outputs += server.receive(user, message, 0.0)
    for output in outputs:
        if isinstance(output, Send):
            encode(output.message)
    return outputs


def measure(cycles: int, subscribers: int) -> float:
    """CPU seconds of the server for so many cycles; request ids are known ahead, since they count up."""
    server = FloorControlServer(CONFERENCE, [Floor(1)])
    deframers = {user: Deframer() for user in range(1, subscribers + 2)}
    for user, deframer in deframers.items():
        server.add_user(user)
        server.connection_up(user, 0.0)
        if user > 1:
            query = Message(Primitive.FLOOR_QUERY, CONFERENCE, 9, user, (FloorId(1),))
            serve(server, deframer, user, encode(query))
    asked = request(1)
    released = [release(1, cycle % 65535 + 1) for cycle in range(cycles)]
    began = time.process_time()
    for octets in released:
        serve(server, deframers[1], 1, asked)
        serve(server, deframers[1], 1, octets)
    spent = time.process_time() - began
    assert server.holders(1) == ()
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=20000, help="cycles per line (default 20000)")
    parser.add_argument(
        "--subscribers",
        type=int,
        nargs="*",
        default=[0, 1, 10],
        help="users who are told of the floor (0 1 10)",
    )
    arguments = parser.parse_args()
    print(f"{'subscribers':>11} {'us/cycle':>9} {'cycles/CPU s':>13}")
    for subscribers in arguments.subscribers:
        cycles = max(1, arguments.cycles // (1 + subscribers))
        spent = measure(cycles, subscribers)
        print(f"{subscribers:>11} {spent / cycles * 1e6:>9.1f} {cycles / spent:>13,.0f}")


if __name__ == "__main__":
    main()
