"""How a scenario judges what it saw."""

from typing import NoReturn

from aiosipua import SipResponse

from mrf_ue.trunk.messages import line
from mrf_ue.trunk.verdict import Finding, Verdict


class Stop(Exception):
    """Ends a scenario early: it has found out what it can."""


class Judgement:
    """The findings of one case."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def passed(self, text: str, clause: str = "") -> None:
        """It is as it should be."""
        self.findings.append(Finding(Verdict.PASS, text, clause))

    def failed(self, text: str, clause: str) -> None:
        """It breaks a MUST."""
        self.findings.append(Finding(Verdict.FAIL, text, clause))

    def warned(self, text: str, clause: str = "") -> None:
        """It breaks a SHOULD, or surprises."""
        self.findings.append(Finding(Verdict.WARNING, text, clause))

    def unsupported(self, text: str, clause: str = "") -> None:
        """The trunk does not have it, and says so."""
        self.findings.append(Finding(Verdict.NOT_SUPPORTED, text, clause))

    def stop(self, verdict: Verdict, text: str, clause: str = "") -> NoReturn:
        """A finding after which there is nothing more to try."""
        self.findings.append(Finding(verdict, text, clause))
        raise Stop

    def judge(self, response: SipResponse, wanted: tuple[int, ...], clause: str) -> bool:
        """Whether the status is one of those; the finding is made. Stops at a challenge: it says nothing."""
        if response.status_code in (401, 407) and response.status_code not in wanted:
            self.stop(Verdict.NOT_RUN, f"{line(response)}: it wants credentials for each request anew")
        if response.status_code in wanted:
            self.passed(line(response), clause)
            return True
        self.failed(f"{line(response)}, where {' or '.join(map(str, wanted))} is due", clause)
        return False
