"""Who may ask the focus for calls, and who may be called at somebody's request (RFC 3515 5.2, RFC 5363 5.2)."""

from __future__ import annotations

from collections.abc import Sequence

from mrf_protocols.mikey import MikeyError, kms_user_identity
from mrf_protocols.mikey.identity import matches_any
from mrfc.config import MrfcConfig
from mrfc.sip import uri
from mrfc.sip.refusal import Cause, Refusal
from mrfc.state.store import Store
from mrfc.trunks.paths import own_addresses


class Permits:
    """The rules of the configuration's table dial_out: what is not allowed there is forbidden."""

    def __init__(self, config: MrfcConfig, store: Store) -> None:
        self._rules = config.dial_out
        self._store = store
        self._factory = config.factory.user if config.factory is not None else None
        self._own_hosts = {config.sip.domain.lower(), *map(_host_of, own_addresses(config.sip))}

    def check_referrer(self, requester: str) -> None:
        """Whether this SIP URI may send REFER. Raises Refusal."""
        self._check(requester, "allow_refer", self._rules.allow_refer)

    def check_list_sender(self, requester: str) -> None:
        """Whether this SIP URI may send a URI list in its INVITE. Raises Refusal."""
        self._check(requester, "allow_uri_list", self._rules.allow_uri_list)

    def callee(self, text: str) -> str:
        """A URI that somebody wants called, fit for a request line. Raises Refusal: it is no SIP URI, one of our own
        conferences, or outside of `dial_out.callees`."""
        callee = invitee(text)
        self._check(callee, "callees", self._rules.callees)
        self.refuse_own(callee)
        return callee

    def refuse_own(self, callee: str) -> None:
        """Raise Refusal for a conference of ours: it would be called into itself, or into another, for ever."""
        user = uri.user_of(callee)
        if uri.host_of(callee) in self._own_hosts and (
            user == self._factory or self._store.conference(user) is not None
        ):
            raise Refusal(Cause.BAD_INVITEE, "a conference cannot be a participant")

    @staticmethod
    def _check(who: str, key: str, patterns: Sequence[str]) -> None:
        try:
            identity = kms_user_identity(who)
        except MikeyError as error:
            raise Refusal(Cause.NOT_ALLOWED, f"{who!r}: {error.text}") from error
        if not matches_any(tuple(patterns), identity):
            raise Refusal(Cause.NOT_ALLOWED, f"{identity} is not in dial_out.{key}")


def invitee(text: str) -> str:
    """A SIP URI that can be called as it is. Raises Refusal."""
    try:
        callee = uri.request_uri(text)
        kms_user_identity(callee)
    except uri.UriError as error:
        raise Refusal(Cause.BAD_INVITEE, str(error)) from error
    except MikeyError as error:
        raise Refusal(Cause.BAD_INVITEE, error.text) from error
    return callee


def _host_of(contact: str) -> str:
    """The host of "host:port"."""
    return uri.host_of(f"sip:{contact}")
