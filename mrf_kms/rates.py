"""How often somebody may ask: a token bucket for each user, from which nobody else can take. No clock, no sockets."""

from collections import OrderedDict
from dataclasses import dataclass

MAX_BUCKETS = 100_000
"""Users whose rate is remembered at once; who is forgotten begins with a full bucket."""
MAX_REPLAYS = 10_000
"""Messages that came again that are remembered at once."""


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
