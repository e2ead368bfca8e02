"""Who may ask the focus for calls, and who may be called at somebody's request (RFC 3515 5.2, RFC 5363 5.2)."""

from __future__ import annotations

from collections.abc import Sequence

from mrf_protocols.mikey import MikeyError, kms_user_identity
from mrf_protocols.mikey.identity import matches_any
from mrfc.calls.carriers import OwnDialog
from mrfc.config import MrfcConfig
from mrfc.jobs import CallKey
from mrfc.sip import uri
from mrfc.sip.refusal import Cause, Refusal
from mrfc.state.store import Call, Conference, Store
from mrfc.trunks.paths import own_addresses


class Permits:
    """The rules of the configuration's table dial_out: what is not allowed there is forbidden."""

    def __init__(self, config: MrfcConfig, store: Store) -> None:
        self._config = config  # the factory may be another after a reload
        self._rules = config.dial_out
        self._control = config.control
        self._store = store
        self._own_hosts = {config.sip.domain.lower(), *map(_host_of, own_addresses(config.sip))}

    def check_referrer(self, requester: str) -> None:
        """Whether this SIP URI may send REFER. Raises Refusal."""
        self._check(requester, "allow_refer", self._rules.allow_refer)

    def check_remover(self, conference: Conference, dialog: Call | OwnDialog) -> None:
        """Whether who sent a REFER in this dialog may have participants removed. Raises Refusal.

        Owner and chair are who they are within their own call, or by an asserted identity: From is easily forged.
        """
        rules, who = self._control, dialog.identity
        proven = isinstance(dialog, Call) or who.asserted
        if proven and rules.owners_remove and conference.owner and _is_one_of(who.uri, [conference.owner]):
            return
        if proven and rules.chairs_remove and self._is_chair(conference, who.uri, dialog.dialog.key):
            return
        self._check(who.uri, "allow_remove", rules.allow_remove, "control")

    def _is_chair(self, conference: Conference, who: str, key: CallKey) -> bool:
        for user_id in conference.floor_state.chairs.values():
            call = self._store.call_with(conference.seats.get(user_id, ("", "")))
            if call is not None and (call.dialog.key == key or call.identity.uri == who):
                return True
        return False

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

    def names(self, conference: Conference, target: str) -> bool:
        """Whether a SIP URI is that of this conference of ours."""
        try:
            return uri.user_of(target) == conference.user and uri.host_of(target).lower() in self._own_hosts
        except uri.UriError:
            return False

    def refuse_own(self, callee: str) -> None:
        """Raise Refusal for a conference of ours: it would be called into itself, or into another, for ever."""
        user, factory = uri.user_of(callee), self._config.factory
        is_factory = factory is not None and user == factory.user
        is_ours = is_factory or self._store.conference(user) is not None
        if is_ours and uri.host_of(callee) in self._own_hosts:
            raise Refusal(Cause.BAD_INVITEE, "a conference cannot be a participant")

    @staticmethod
    def _check(who: str, key: str, patterns: Sequence[str], table: str = "dial_out") -> None:
        try:
            identity = kms_user_identity(who)
        except MikeyError as error:
            raise Refusal(Cause.NOT_ALLOWED, f"{who!r}: {error.text}") from error
        if not matches_any(tuple(patterns), identity):
            raise Refusal(Cause.NOT_ALLOWED, f"{identity} is not in {table}.{key}")


def _is_one_of(who: str, patterns: Sequence[str]) -> bool:
    try:
        return matches_any(tuple(patterns), kms_user_identity(who))
    except MikeyError:
        return False


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
