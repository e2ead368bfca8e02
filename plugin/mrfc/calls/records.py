"""One line in the log for each call that took place, when it is over: what a bill or an investigation begins with."""

from __future__ import annotations

from mrfc.sip import charging
from mrfc.sip.refusal import quotable
from mrfc.state.store import Call


def call_record(call: Call, now: float) -> str:
    """The line; who wants to be anonymous is so here, too, unless operators may know. `now` in seconds since 1970."""
    fields = {
        "direction": "dial-out" if call.dialed_out else "dial-in",
        "who": call.operators_uri,
        "asserted": "yes" if call.identity.asserted else "no",
        "seconds": f"{max(0.0, now - call.joined):.0f}",
        "end": f'"{quotable(call.end_reason)}"',
        "icid": charging.icid(call.charging) or "-",
    }
    return "call record: " + " ".join(f"{name}={value}" for name, value in fields.items())
