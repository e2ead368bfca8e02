"""The way from workers to the engine, over real loopback sockets."""

import socket
import threading

import pytest

from mrfc import jobs
from mrfc.channel import EngineChannel

ACK = jobs.AckJob(jobs.DialogId("c", "l", "r"), 1, "", "")


def test_a_job_arrives_as_it_was_posted() -> None:
    channel = EngineChannel()
    channel.open_sender()
    invite = jobs.InviteJob(
        jobs.TransactionId(1, 2),
        jobs.DialogId("call", "local", "remote"),
        7,
        "sip:m@h",
        "sip:a@h",
        "sip:m@h",
        "sip:a@1.2.3.4",
        ("<sip:p;lr>",),
        "application/sdp",
        "v=0\r\n",
        False,
        "",
    )
    channel.post(invite)
    channel.receiver.setblocking(True)
    assert channel.unwrap(channel.receiver.recv(65_535)) == invite


def test_another_program_is_not_heard() -> None:
    channel = EngineChannel()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"x" * 16 + jobs.encode(ACK), channel.receiver.getsockname())
    channel.receiver.setblocking(True)
    assert channel.unwrap(channel.receiver.recv(65_535)) is None


def test_a_job_too_large_for_a_datagram_is_an_os_error() -> None:
    channel = EngineChannel()
    with pytest.raises(OSError, match="does not fit"):
        channel.post(jobs.AckJob(ACK.dialog, 1, "application/sdp", "x" * 70_000))


def test_a_dead_engine_is_noticed() -> None:
    channel = EngineChannel()
    channel.open_sender()
    channel.receiver.close()
    channel.post(ACK)  # learns nothing yet
    with pytest.raises(ConnectionRefusedError):
        channel.post(ACK)


def test_a_query_gets_its_answer() -> None:
    channel = EngineChannel()
    channel.open_sender()

    def engine() -> None:
        channel.receiver.setblocking(True)
        query = channel.unwrap(channel.receiver.recv(65_535))
        assert isinstance(query, jobs.QueryJob)
        channel.answer_query(query, jobs.QueryAnswer(200, "text/plain", query.path * 2))

    thread = threading.Thread(target=engine)
    thread.start()
    assert channel.query("GET", "/x", "") == jobs.QueryAnswer(200, "text/plain", "/x/x")
    thread.join()
