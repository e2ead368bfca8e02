"""Log lines of the MRFC: text goes into Kamailio's own log, JSON stands alone.

Kamailio puts words of its own before everything that it logs, so that a JSON object would be none any more. In that
form lines therefore go past it: to standard error, or to the system's log where a Kamailio in the background has none.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os

from mrf_ops.logs import JsonFormatter

_SYSTEM_LOG = "/dev/log"


class FocusLog(logging.Handler):
    """One for each process of Kamailio. `to_kamailio` is Kamailio's log."""

    def __init__(self) -> None:
        super().__init__()
        self._system: logging.Handler | None = None

    def to_kamailio(self, level: int, text: str) -> None:
        """Log a line there; to be implemented where Kamailio is known."""
        raise NotImplementedError

    def emit(self, record: logging.LogRecord) -> None:
        """A full disk, or nobody who reads, costs lines and nothing else."""
        if not isinstance(self.formatter, JsonFormatter):
            self.to_kamailio(record.levelno, self.format(record) + "\n")
        elif _is_heard():
            with contextlib.suppress(OSError):
                os.write(2, self.format(record).encode() + b"\n")
        else:
            with contextlib.suppress(OSError):
                self._system_log().emit(record)

    def _system_log(self) -> logging.Handler:
        if self._system is None:
            daemon = logging.handlers.SysLogHandler.LOG_DAEMON
            self._system = logging.handlers.SysLogHandler(_SYSTEM_LOG, daemon)
            self._system.ident = "mrfc: "
            self._system.setFormatter(self.formatter)
        return self._system


def _is_heard() -> bool:
    """Whether standard error leads anywhere: a Kamailio in the background has /dev/null there."""
    try:
        return os.fstat(2).st_rdev != os.stat(os.devnull).st_rdev
    except OSError:
        return False
