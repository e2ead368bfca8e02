"""Peers that do far more than they should: what it costs is theirs, and other calls go on."""

from __future__ import annotations

from collections.abc import Callable

from raw_participant import Participant
from sip_peer import Message

from lab import Lab

Participants = Callable[[], Participant]
PACE = 0.01  # seconds between two re-INVITEs: a hundred per second, where the machine keeps up
REINVITES = 200


class Hammer:
    """A participant who sends re-INVITEs whatever became of those before."""

    def __init__(self, ue: Participant) -> None:
        self.ue = ue
        self.statuses: dict[int, int] = {}

    def strike(self) -> None:
        """One more, with the session that there is; what has come meanwhile is acknowledged."""
        self.ue.within("INVITE", body=self.ue.offer)
        self.ue.nothing("BYE", PACE)
        while finals := [each for each in self.ue.received if each.status >= 200]:
            self.ue.received.remove(finals[0])
            self._take(finals[0])

    def _take(self, response: Message) -> None:
        self.statuses[response.cseq] = response.status
        ue = self.ue
        ue.request("ACK", ue.far_target, call_id=ue.call_id, cseq=response.cseq, to_tag=ue.far_tag)

    def rest(self, first: int) -> None:
        """Wait until each has been answered."""
        while len(self.statuses) < self.ue.cseq - first:
            self._take(self.ue.wait(lambda message: message.status >= 200 and message.method == "INVITE", 30))


def test_a_hundred_reinvites_a_second(lab: Lab, participant: Participants) -> None:
    """Each is answered, if only by 491 or 500; the call stands, and another comes and goes meanwhile."""
    ue, other = participant(), participant()
    ue.joined()
    first, hammer = ue.cseq, Hammer(ue)
    waiting = False
    for number in range(REINVITES):
        hammer.strike()
        if number == REINVITES // 3:
            other.ask()
            waiting = True
        elif waiting and (accepted := other.accepted(PACE)) is not None:
            other.established(accepted)
            waiting = False
    hammer.rest(first)
    if waiting:
        other.established(other.response("INVITE"))
    other.bye()
    assert hammer.statuses.keys() == set(range(first + 1, ue.cseq + 1))
    assert set(hammer.statuses.values()) <= {200, 491, 500}
    assert 200 in hammer.statuses.values()
    assert lab.status()["calls"] == 1
    ue.within("UPDATE")
    assert ue.response("UPDATE").status == 200
    ue.bye()


def test_a_200_that_does_not_end(participant: Participants) -> None:
    """Each copy of the 200 to our INVITE gets the ACK again; when its transaction is long over, it means nothing."""
    ue = participant()
    ue.joined("Supported: timer", "Session-Expires: 4;refresher=uas")
    invite = ue.incoming("INVITE", 30)
    headers = "Session-Expires: 60;refresher=uac\r\nRequire: timer\r\nContent-Type: application/sdp\r\n"
    for number in range(1, 6):
        ue.respond(invite, 200, headers, ue.existing(invite.body))
        ue.copy_of("ACK", number)
    late = Message(
        invite.start,
        tuple(
            (name, value.replace("branch=z9hG4bK", "branch=z9hG4bKgone") if name == "Via" else value)
            for name, value in invite.headers
        ),
        invite.body,
    )
    for _ in range(20):
        ue.respond(late, 200, headers, ue.existing(invite.body))
    ue.nothing("BYE", 0.5)
    ue.within("UPDATE")
    assert ue.response("UPDATE").status == 200
    ue.bye()
