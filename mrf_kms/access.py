"""Who may do what at this KMS: permissions, revocations, and how often somebody may ask. No clock, no sockets."""

from collections import OrderedDict
from dataclasses import dataclass

from mrf_kms.image import Image, Revocation
from mrf_protocols.mikey import Credential
from mrf_protocols.mikey.identity import matches

MAX_BUCKETS = 100_000
"""Users whose rate is remembered at once; who is forgotten begins with a full bucket."""
MAX_REPLAYS = 10_000
"""Messages that came again that are remembered at once."""
GROUP_MARK = "@"
TICKET_NAME_LENGTH = 32
"""Hexadecimal digits of a ticket id as operators see it."""


class Replayed(Exception):
    """A message that was answered before, and came again before now."""


class RateExceeded(Exception):
    """A user asks more often than it may; `first` when this is the first refusal since the last request served."""

    def __init__(self, psk_id: str, first: bool) -> None:
        super().__init__(f"{psk_id} asks too often")
        self.psk_id = psk_id
        self.first = first


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float
    refused: bool = False


class RateLimiter:
    """A token bucket for each user: `rate` requests per second in the long run, `burst` at once."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, name: str, now: float, rate: float | None = None) -> None:
        """Take one token; `rate` is the user's own. Raises RateExceeded when there is none."""
        limit = self._rate if rate is None else rate
        burst = self._burst if rate is None else max(2 * rate, 1.0)
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(burst, now)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(name)
        bucket.tokens = min(burst, bucket.tokens + max(0.0, now - bucket.at) * limit)
        bucket.at = now
        if bucket.tokens < 1.0:
            first, bucket.refused = not bucket.refused, True
            raise RateExceeded(name, first)
        bucket.tokens -= 1.0
        bucket.refused = False

    def give_back(self, name: str) -> None:
        """Give a token back that somebody took with another's message."""
        bucket = self._buckets.get(name)
        if bucket is not None:
            bucket.tokens += 1.0  # `take` keeps it to the burst


class Replays:
    """Messages that came again after they were answered: whoever has one may send it as often as the wire carries.

    They are refused before they are counted, so that nobody uses up a user's rate with the user's own messages.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def __contains__(self, replay_key: bytes) -> bool:
        return replay_key in self._seen

    def add(self, replay_key: bytes) -> None:
        """Remember one; of too many the oldest is forgotten, and found out by the store once more."""
        self._seen[replay_key] = None
        if len(self._seen) > MAX_REPLAYS:
            self._seen.popitem(last=False)


class Access:
    """The KMS's side of `mrf_protocols.mikey.Authority`, for one moment of the store and one time.

    `open_access`: without a permission that says otherwise, everybody may have tickets for everybody.
    """

    def __init__(
        self, image: Image, limiter: RateLimiter, replays: Replays, now: float, *, open_access: bool
    ) -> None:
        self._image, self._limiter, self._replays, self._now = image, limiter, replays, now
        self._open_access = open_access

    def admit(self, credential: Credential, replay_key: bytes) -> None:
        """Count a request of an authenticated user. Raises RateExceeded, Replayed."""
        if replay_key in self._replays:
            raise Replayed
        user = self._image.users.get(credential.psk_id)
        self._limiter.take(credential.psk_id, self._now, None if user is None else user.rate)

    def longest_life(self, initiator: str, responder: str) -> float | None:
        """Give the longest life that a permission grants, None when none does."""
        lives = [
            float("inf") if permission.lifetime is None else permission.lifetime
            for permission in self._image.permissions
            if self._fits(permission.initiator, initiator) and self._fits(permission.responder, responder)
        ]
        if lives:
            return max(lives)
        return float("inf") if self._open_access else None

    def resolvable(self, ticket_id: bytes, initiator: str, issued: float) -> bool:
        """Tell whether neither the ticket nor all tickets of its initiator, until then, are revoked."""
        if ticket_id.hex()[:TICKET_NAME_LENGTH] in self._image.revoked_tickets:
            return False
        return not any(
            self._covers(revocation, initiator, issued) for revocation in self._image.revoked_initiators
        )

    def _covers(self, revocation: Revocation, initiator: str, issued: float) -> bool:
        return issued <= revocation.revoked and matches(revocation.subject, initiator)

    def _fits(self, pattern: str, identity: str) -> bool:
        if pattern.startswith(GROUP_MARK):
            members = self._image.groups.get(pattern[len(GROUP_MARK) :], ())
            return any(matches(member, identity) for member in members)
        return matches(pattern, identity)
