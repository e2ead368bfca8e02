"""Who may do what at this KMS: permissions and revocations. No clock, no sockets."""

from mrf_kms.image import Image, Revocation
from mrf_kms.rates import RateLimiter, Replayed, Replays
from mrf_protocols.mikey import Credential
from mrf_protocols.mikey.identity import matches

GROUP_MARK = "@"
TICKET_NAME_LENGTH = 32
"""Hexadecimal digits of a ticket id as operators see it."""


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
