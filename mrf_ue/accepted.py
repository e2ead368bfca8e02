"""What this UE has accepted: no TRANSFER_INIT is taken twice, nor a second one with a ticket that is good for one."""

from collections import OrderedDict

from mrf_protocols.mikey import ErrorNumber, MikeyError, PolicyFlag, TransferResponder

MAX_REMEMBERED = 10_000
"""Messages and tickets; the oldest are forgotten first."""


class Accepted:
    """Remembers what proved to be somebody's, as long as the UE runs (RFC 3830 5.4, RFC 6043 5.3)."""

    def __init__(self) -> None:
        self._names: OrderedDict[bytes, None] = OrderedDict()

    def check(self, transfer: TransferResponder) -> None:
        """Refuse what was there before. Raises MikeyError: 1 the message, 15 a ticket without J."""
        if transfer.replay_key in self._names:
            raise MikeyError(ErrorNumber.INVALID_TS, "this TRANSFER_INIT was accepted before")
        if PolicyFlag.J not in transfer.policy.flags and transfer.ticket_id in self._names:
            raise MikeyError(ErrorNumber.INVALID_TPPAR, "the ticket was used before and is good for one call")

    def take(self, transfer: TransferResponder) -> None:
        """Remember what has just been authenticated. Raises MikeyError as `check` does: two may come at once."""
        self.check(transfer)
        for name in (transfer.replay_key, transfer.ticket_id):
            self._names[name] = None
        while len(self._names) > MAX_REMEMBERED:
            self._names.popitem(last=False)
