"""A circuit breaker: whether a server that failed is worth asking. No clock, no sockets."""


class Breaker:
    """Tells whether a server is worth asking: after `threshold` failures in a row not for a while, then by one probe.

    The pause begins with `pause` seconds and doubles to `longest_pause` while probes fail. Times are those of one
    monotonic clock.
    """

    def __init__(self, threshold: int = 10, pause: float = 1.0, longest_pause: float = 30.0) -> None:
        self._threshold, self._first_pause, self._longest = threshold, pause, longest_pause
        self._failures = 0
        self._pause = pause
        self._closed_until = 0.0
        self._suspect_until = 0.0
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether the server counts as out of service."""
        return self._failures >= self._threshold

    def is_suspect(self, now: float) -> bool:
        """Whether it failed just now, so that another one had better be asked first."""
        return self._failures > 0 and now < self._suspect_until

    def admits(self, now: float) -> bool:
        """Whether to ask now; a probe that was admitted must end in `succeeded`, `failed` or `gave_up`."""
        if not self.is_open:
            return True
        if self._probing or now < self._closed_until:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """The server answered."""
        self._failures, self._probing, self._pause = 0, False, self._first_pause

    def failed(self, now: float, *, probe: bool) -> bool:
        """It did not; `probe`: the server counted as out of service when it was asked. True: it does so from now on.

        Requests that were under way when it went out of service say nothing new when they fail, too.
        """
        self._suspect_until = now + self._longest
        if probe:
            self._probing = False
            self._pause = min(2 * self._pause, self._longest)
        elif self.is_open:
            return False
        else:
            self._failures += 1
        if self.is_open:
            self._closed_until = now + self._pause
        return self.is_open and not probe

    def gave_up(self, *, probe: bool) -> None:
        """Nobody knows: the call ended for another reason."""
        if probe:
            self._probing = False
