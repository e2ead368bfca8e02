"""Dialogs that carry subscriptions: a call's own, or one that a REFER or SUBSCRIBE has made (RFC 6665 4.5.1, RFC 5057).

A subscription shares identifiers, route set and CSeq numbers with whatever else is in its dialog. A dialog made for
subscriptions lives as long as one of them; that of a call, as long as call or subscriptions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mrf_ops.logs import BoundLogger
from mrfc import jobs
from mrfc.calls.calls import Calls
from mrfc.sip import uri
from mrfc.sip.dialog import STANDING
from mrfc.sip.identity import Identity
from mrfc.sip.refusal import Cause, Refusal
from mrfc.sip.sip_dialog import SipDialog
from mrfc.state import store


@dataclass(slots=True, kw_only=True)
class OwnDialog(SipDialog):
    """A dialog made by a REFER or SUBSCRIBE."""

    conference_user: str
    identity: Identity


Carrier = store.Call | OwnDialog
"""A dialog that carries subscriptions."""


def carrier_logger(calls: Calls, carrier: Carrier) -> BoundLogger:
    """A logger that names the dialog, its conference and who it is with."""
    return calls.logger_of(carrier.dialog, carrier.conference_user, carrier.identity.operators_uri(0))


@dataclass(slots=True)
class _Kept:
    carrier: Carrier
    users: int = 0


@dataclass(slots=True)
class Carriers:
    """All of them."""

    calls: store.Store
    _kept: dict[jobs.CallKey, _Kept] = field(default_factory=dict)

    def of(self, job: jobs.ReferJob | jobs.SubscribeJob, identity: Identity) -> Carrier:
        """The dialog of a request: a standing one, or a new one, which is not kept yet. Raises Refusal."""
        if not job.in_dialog:
            return OwnDialog(
                dialog=job.dialog,
                conference_user=_user_of(job.request_uri),
                identity=identity,
                local_uri=job.to_uri,
                remote_uri=job.from_uri,
                remote_target=job.contact_uri,
                route_set=uri.split_routes(job.record_route),
                remote_cseq=job.cseq,
            )
        carrier = self._standing(job.dialog)
        if carrier is None:
            raise Refusal(Cause.NO_DIALOG)
        if job.cseq <= carrier.remote_cseq:
            raise Refusal(Cause.OLD_CSEQ)
        carrier.remote_cseq = job.cseq
        carrier.remote_target = job.contact_uri or carrier.remote_target  # RFC 5057 5.4
        return carrier

    def _standing(self, dialog: jobs.DialogId) -> Carrier | None:
        call = self.calls.call(dialog)
        if call is not None:
            return call if call.state in STANDING else None
        kept = self._kept.get(dialog.key)
        return (
            kept.carrier if kept is not None and kept.carrier.dialog.remote_tag == dialog.remote_tag else None
        )

    def hold(self, carrier: Carrier) -> None:
        """A subscription begins to use a dialog."""
        self._kept.setdefault(carrier.dialog.key, _Kept(carrier)).users += 1

    def release(self, carrier: Carrier) -> None:
        """A subscription that used it has ended."""
        kept = self._kept.get(carrier.dialog.key)
        if kept is not None:
            kept.users -= 1
            if kept.users <= 0:
                del self._kept[carrier.dialog.key]

    def __len__(self) -> int:
        return len(self._kept)


def _user_of(request_uri: str) -> str:
    try:
        return uri.user_of(request_uri)
    except uri.UriError:
        raise Refusal(Cause.UNKNOWN_CONFERENCE) from None
