"""A floor request at the server and the states it goes through."""

from __future__ import annotations

from enum import Enum, auto

from mrf_protocols.bfcp import Priority, RequestStatus


class Step(Enum):
    """What can happen to a floor request."""

    ACCEPT = auto()
    """It enters the queue."""
    GRANT = auto()
    """Its floors are given."""
    REFUSE = auto()
    """A chair, the operator or the policy says no."""
    RELEASE = auto()
    """The one who asked, or the beneficiary, wants it no more."""
    EXPIRE = auto()
    """The beneficiary is gone, or held the floor too long."""


TRANSITIONS: dict[RequestStatus, dict[Step, RequestStatus]] = {
    RequestStatus.PENDING: {
        Step.ACCEPT: RequestStatus.ACCEPTED,
        Step.GRANT: RequestStatus.GRANTED,
        Step.REFUSE: RequestStatus.DENIED,
        Step.RELEASE: RequestStatus.CANCELLED,
        Step.EXPIRE: RequestStatus.CANCELLED,
    },
    RequestStatus.ACCEPTED: {
        Step.GRANT: RequestStatus.GRANTED,
        Step.REFUSE: RequestStatus.DENIED,
        Step.RELEASE: RequestStatus.CANCELLED,
        Step.EXPIRE: RequestStatus.CANCELLED,
    },
    RequestStatus.GRANTED: {
        Step.REFUSE: RequestStatus.REVOKED,
        Step.RELEASE: RequestStatus.RELEASED,
        Step.EXPIRE: RequestStatus.REVOKED,
    },
}
"""Every legal change of state (RFC 8855 4 and 13); a state without a row is an end."""


News = tuple[RequestStatus, tuple[int, ...], str | None]
"""What the parties of a request are told of: status, queue positions, a text."""


class FloorRequest:
    """One ongoing floor request.

    ``undecided`` are the floors whose chair has not said anything yet, ``waiting`` those whose chair has
    accepted but not granted; a request with neither may be granted by the server. ``granting`` means that
    its turn has come and the media have to be confirmed. ``told`` is what its parties know, to tell them only
    what is new.
    """

    __slots__ = (
        "beneficiary",
        "floors",
        "granting",
        "info",
        "participant_info",
        "priority",
        "rank",
        "request_id",
        "requester",
        "status",
        "told",
        "undecided",
        "waiting",
    )

    def __init__(
        self,
        request_id: int,
        floors: tuple[int, ...],
        requester: int,
        beneficiary: int,
        priority: Priority | None,
        participant_info: str | None,
    ) -> None:
        self.request_id = request_id
        self.floors = floors
        self.requester = requester
        self.beneficiary = beneficiary
        self.priority = priority
        self.participant_info = participant_info
        self.rank = Priority.NORMAL
        self.info: str | None = None
        self.status = RequestStatus.PENDING
        self.undecided: frozenset[int] = frozenset()
        self.waiting: frozenset[int] = frozenset()
        self.granting = False
        self.told: News | None = None

    @property
    def ready(self) -> bool:
        """Whether nobody but the queue stands between this request and its floors."""
        return not self.undecided and not self.waiting

    @property
    def parties(self) -> tuple[int, ...]:
        """Who is told of every change: the requester, and the beneficiary if somebody else."""
        if self.requester == self.beneficiary:
            return (self.requester,)
        return (self.requester, self.beneficiary)

    def step(self, step: Step) -> None:
        """Change the state; a step that the table does not have is a defect of the server."""
        self.status = TRANSITIONS[self.status][step]
