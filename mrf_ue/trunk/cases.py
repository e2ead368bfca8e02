"""The cases of the trunk test, in the order in which they are tried."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from mrf_ue.trunk import cases_alone as alone
from mrf_ue.trunk import cases_dialog as dialog
from mrf_ue.trunk import cases_extensions as extensions
from mrf_ue.trunk import cases_offers as offers
from mrf_ue.trunk.actions import Play
from mrf_ue.trunk.judgement import Stop
from mrf_ue.trunk.stage import Stage


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to try."""

    name: str
    title: str
    scenario: Callable[[Stage], Play[None]]


DIAL_IN = "dial-in"
IPV6 = "ipv6"
LIVE = {
    DIAL_IN: "dial in: ticket, TLS, floor granted and released",
    IPV6: "OPTIONS over IPv6",
}
"""Cases that need more than SIP messages."""

CASES = (
    Case("options", "OPTIONS: what the trunk says of itself", alone.options),
    Case("keep-alive", "double CRLF, and OPTIONS as keep-alive", alone.keep_alive),
    Case("rport", "responses find the way back through a NAT", alone.rport),
    Case("unknown-method", "a method that nobody has defined", alone.unknown_method),
    Case("unknown-require", "an extension that nobody has defined, required", alone.unknown_require),
    Case("unknown-body", "INVITE with a body of an unknown type", alone.unknown_body),
    Case("max-forwards", "Max-Forwards: 0", alone.max_forwards),
    Case("cseq-mismatch", "CSeq with another method", alone.cseq_mismatch),
    Case("unknown-user", "INVITE to a conference that does not exist", alone.unknown_user),
    Case("bye-no-dialog", "BYE to a dialog that there is not", alone.bye_no_dialog),
    Case("invite-no-dialog", "INVITE to a dialog that there is not", alone.invite_no_dialog),
    Case("update-no-dialog", "UPDATE to a dialog that there is not", alone.update_no_dialog),
    Case("cancel-nothing", "CANCEL of an INVITE that was never sent", alone.cancel_nothing),
    Case("long-headers", "header fields of many octets", alone.long_headers),
    Case("bfcp", "INVITE with BFCP over TLS", offers.bfcp),
    Case("bfcp-without-keys", "INVITE with BFCP over TLS, without key management", offers.bfcp_without_keys),
    Case("bfcp-udp", "INVITE with BFCP over UDP", offers.bfcp_udp),
    Case("everything", "INVITE with audio, video and BFCP", offers.everything),
    Case("audio", "INVITE with audio", offers.audio),
    Case("large-offer", "INVITE with an offer longer than a packet", offers.large_offer),
    Case("offerless", "INVITE without an offer", offers.offerless),
    Case("100rel-supported", "INVITE with Supported: 100rel", extensions.reliable_supported),
    Case("100rel-required", "INVITE with Require: 100rel", extensions.reliable_required),
    Case("session-timer", "INVITE with a session timer", extensions.session_timer),
    Case("session-timer-small", "INVITE with too short a session timer", extensions.session_timer_small),
    Case("session-refresh", "the session timer is refreshed", extensions.session_refresh),
    Case("re-invite", "re-INVITE with the same session", dialog.reinvite),
    Case("hold", "re-INVITE for hold, and back", dialog.hold),
    Case("update", "UPDATE without a body", dialog.update),
    Case("glare", "two re-INVITEs at once", dialog.glare),
    Case("options-in-call", "OPTIONS within a call", dialog.options_in_call),
    Case("wrong-cseq", "re-INVITE with an old CSeq number", dialog.wrong_cseq),
    Case("cancel", "CANCEL while the call is set up", dialog.cancel),
    Case("repeated-invite", "the INVITE again after its 200", dialog.repeated_invite),
    Case("lost-ack", "200 repeated while the ACK is missing", dialog.lost_ack),
    Case("bye-before-ack", "BYE before ACK", dialog.bye_before_ack),
    Case("second-bye", "BYE again after BYE", dialog.second_bye),
    Case("subscribe", "SUBSCRIBE to the conference package", extensions.subscribe),
    Case("subscribe-unknown", "SUBSCRIBE to an unknown package", extensions.subscribe_unknown),
    Case("refer", "REFER within a call, to ourselves", extensions.refer),
)

TITLES = {case.name: case.title for case in CASES} | LIVE
NAMES = tuple(TITLES)


def play(case: Case, stage: Stage) -> Play[None]:
    """The whole of a case: its scenario as far as it gets, then nothing is left behind."""
    with contextlib.suppress(Stop):
        yield from case.scenario(stage)
    with contextlib.suppress(Stop):
        yield from stage.tidy()
