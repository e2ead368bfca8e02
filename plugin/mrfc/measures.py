"""The figures of the MRFC."""

from __future__ import annotations

from mrf_ops.metrics import Metrics


class Measures:
    """Counters of the focus; standing figures are read from the store when somebody looks."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.invites = metrics.counter(
            "invites", "INVITEs by result: accepted, or the cause of refusal", ("result",)
        )
        self.dial_outs = metrics.counter(
            "dial_outs", "Dial-outs by result: joined, or a SIP status", ("result",)
        )
        self.unsecured = metrics.counter("unsecured_calls", "Calls whose BFCP runs without TLS")
        self.mixer_legs = metrics.gauge("mixer_legs", "Dialogs with the mixer")
        self.mixer_answers = metrics.counter(
            "mixer_answers", "What the mixer says: joined, refused, late, lost", ("result",)
        )
        self.impostors = metrics.counter(
            "impostors", "Servers called over TLS whose certificate does not name them", ("trunk",)
        )
        self.removals = metrics.counter(
            "removals", "Participants removed, by what wanted it: refer, rule", ("by",)
        )
        self.subscribes = metrics.counter(
            "subscribes", "SUBSCRIBEs by result: accepted, or the cause of refusal", ("result",)
        )
        self.notifies = metrics.counter(
            "notifies", "NOTIFYs of conferences by the status they got, or not_sent", ("result",)
        )
        self.subscriptions = metrics.gauge("subscriptions", "Subscriptions to conferences")
        self.dialog_requests = metrics.counter(
            "dialog_requests",
            "INVITEs and UPDATEs of ours within dialogs by result: accepted, refused, or ended (the call with them)",
            ("method", "result"),
        )
        self.draining = metrics.gauge("draining", "1 while no new calls are taken")
        self.mrfps = metrics.gauge("mrfps", "Registered MRFPs", ("state",))
        self.floor_requests = metrics.gauge(
            "floor_requests", "Floor requests that hold a floor, and that wait", ("state",)
        )
        self.calls = metrics.gauge("calls", "Calls that stand or are being set up")
        self.conferences = metrics.gauge("conferences", "Conferences")
        self.terminations = metrics.gauge("terminations", "BFCP terminations in use")
        self.kms_seconds = metrics.histogram("kms_resolve_seconds", "Time the KMS takes to resolve a ticket")
        self.mp_seconds = metrics.histogram(
            "mp_configure_seconds", "Time the MRFP takes to configure a termination"
        )
        self.reoffers = metrics.counter("reoffers", "Offers in standing sessions, by result", ("result",))
        self.replaced_bearers = metrics.counter(
            "replaced_bearers", "BFCP connections that took the place of another"
        )
        self.moved_calls = metrics.counter(
            "moved_calls",
            "Calls of lost MRFPs that were to move, by what became of them: moved, by_itself, ended, left",
            ("result",),
        )
        self.bearer_ends = metrics.counter("bearer_ends", "Bearers that ended, by reason", ("reason",))
        self.floor_reports = metrics.counter(
            "floor_reports", "Reports of floor requests, by the state they have come to", ("state",)
        )
        self.media_updates = metrics.counter(
            "media_updates", "Floors whose media had to be confirmed: done or failed", ("result",)
        )
        self.operator_decisions = metrics.counter(
            "operator_decisions", "Floor requests that an operator decided on", ("decision",)
        )
