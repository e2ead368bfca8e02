"""What a case of the trunk test found: verdicts, findings with their clause, times, and the report of them all."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mrf_ops.trace import TraceEvent


class Verdict(enum.Enum):
    """How a case ended. NOT_RUN: it could not be tried, and says nothing of the trunk."""

    PASS = "pass"
    FAIL = "fail"
    WARNING = "warning"
    NOT_SUPPORTED = "not supported"
    NOT_RUN = "not run"


_WORST_FIRST = (Verdict.FAIL, Verdict.WARNING, Verdict.NOT_SUPPORTED, Verdict.PASS, Verdict.NOT_RUN)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was seen, judged, with the clause that it is judged by ("" for none)."""

    verdict: Verdict
    text: str
    clause: str = ""


def worst(findings: Sequence[Finding]) -> Verdict:
    """The verdict over several findings."""
    seen = {finding.verdict for finding in findings}
    return next((verdict for verdict in _WORST_FIRST if verdict in seen), Verdict.NOT_RUN)


@dataclass(frozen=True, slots=True)
class Repeats:
    """A message that was sent or received more than once; `after`: milliseconds from the first one."""

    kind: str
    name: str
    after: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case that was tried.

    `seconds`: how long it took. `times`: milliseconds from the first request to "response", "ringing" (post-dial
    delay), "answer", as far as they came. `events`: the messages, for the ladder.
    """

    name: str
    title: str
    findings: tuple[Finding, ...]
    seconds: float
    times: Mapping[str, float] = field(default_factory=dict)
    repeats: tuple[Repeats, ...] = ()
    events: tuple[TraceEvent, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of its findings."""
        return worst(self.findings)


@dataclass(frozen=True, slots=True)
class Report:
    """All cases of one run against one trunk.

    `target`: its URI; `transport`, `address`: how it was reached. `started`: Unix time. `features`: what the trunk
    says of itself, by header field. `media`: the m-lines of its answers, by the offer that they answer.
    """

    target: str
    transport: str
    address: str
    started: float
    results: tuple[CaseResult, ...]
    features: Mapping[str, str] = field(default_factory=dict)
    media: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether no case failed."""
        return all(result.verdict is not Verdict.FAIL for result in self.results)

    def count(self, verdict: Verdict) -> int:
        """How many cases have this verdict."""
        return sum(result.verdict is verdict for result in self.results)
