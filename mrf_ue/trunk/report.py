"""The report of a trunk test, for a terminal and as JSON."""

import json
import textwrap
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from mrf_ops.ladder.procedures import Procedure, build
from mrf_ops.ladder.text import render
from mrf_ue.trunk.player import TRUNK, UE
from mrf_ue.trunk.verdict import CaseResult, Finding, Repeats, Report, Verdict

WIDTH = 118
_LEAD = 28
_NAMES = 14
_REASONS = {Verdict.FAIL: "FAIL", Verdict.WARNING: "WARN", Verdict.PASS: "pass"}


def head(target: str, transport: str) -> str:
    """The first line."""
    return f"trunk test of {target} over {transport}\n"


def case_lines(result: CaseResult, *, color: bool = False, ladders: bool = True) -> Iterator[str]:
    """One case: verdict, name, title, findings with their clauses, times; a ladder if it failed."""
    verdict = _REASONS.get(result.verdict, result.verdict.value)
    yield f"{_painted(f'{verdict:<14}', result.verdict, color)}{result.name:<21}{result.title}"
    for finding in result.findings:
        yield from _finding_lines(finding, result)
    if times := _times(result):
        yield f"{'':<{_NAMES}}{times}"
    for repeats in result.repeats:
        yield f"{'':<{_NAMES}}{_repeats(repeats)}"
    if ladders and result.verdict is Verdict.FAIL:
        yield ""
        yield from (f"    {line}".rstrip() for line in ladder(result, color=color).splitlines())
        yield ""


def _finding_lines(finding: Finding, result: CaseResult) -> Iterator[str]:
    mark = "" if finding.verdict is result.verdict else f"{finding.verdict.value}: "
    clause = f"  [{finding.clause}]" if finding.clause else ""
    yield from textwrap.wrap(
        printable(f"{mark}{finding.text}{clause}"),
        WIDTH,
        initial_indent=" " * _NAMES,
        subsequent_indent=" " * (_NAMES + 2),
        break_on_hyphens=False,
    )


def _times(result: CaseResult) -> str:
    names = {"response": "first response", "ringing": "post-dial delay", "answer": "answer"}
    told = [f"{text} {result.times[name]:.1f} ms" for name, text in names.items() if name in result.times]
    return ", ".join(told)


def _repeats(repeats: Repeats) -> str:
    after = ", ".join(f"{each:.0f}" for each in repeats.after)
    return printable(f"{repeats.name} {repeats.kind} again after {after} ms")


def ladder(result: CaseResult, *, color: bool = False) -> str:
    """The messages of a case with their times."""
    return render(build(result.events, Procedure(result.name, (UE, TRUNK), ())), WIDTH - 4, color)


def summary_lines(report: Report) -> Iterator[str]:
    """What the trunk is, which m-lines it takes, and how the cases went."""
    yield ""
    if report.features:
        yield "what it says of itself"
        yield from _table(report.features.items())
    if report.media:
        yield "m-lines of its answers"
        yield from _table(
            (kind if at == 0 else "", text)
            for kind, lines in report.media.items()
            for at, text in enumerate(lines)
        )
    counts = [f"{report.count(verdict)} {verdict.value}" for verdict in Verdict if report.count(verdict)]
    yield f"{len(report.results)} cases: {', '.join(counts)}"


def _table(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, value in rows:
        yield from textwrap.wrap(
            printable(f"{name:<{_LEAD - 4}}{value}"),
            WIDTH,
            initial_indent="    ",
            subsequent_indent=" " * _LEAD,
            break_on_hyphens=False,
        )


def as_json(report: Report) -> str:
    """The whole report as one JSON object; times in milliseconds, `started` in UTC."""
    return json.dumps(
        {
            "target": report.target,
            "transport": report.transport,
            "address": report.address,
            "started": datetime.fromtimestamp(report.started, UTC).isoformat(timespec="seconds"),
            "good": report.good,
            "counts": {verdict.value: report.count(verdict) for verdict in Verdict},
            "features": dict(report.features),
            "media": {kind: list(lines) for kind, lines in report.media.items()},
            "cases": [_case(result) for result in report.results],
        },
        indent=2,
    )


def _case(result: CaseResult) -> dict[str, object]:
    return {
        "name": result.name,
        "title": result.title,
        "verdict": result.verdict.value,
        "seconds": result.seconds,
        "times_ms": dict(result.times),
        "findings": [
            {"verdict": each.verdict.value, "text": each.text, "clause": each.clause}
            for each in result.findings
        ],
        "repeats": [
            {"kind": each.kind, "name": each.name, "after_ms": list(each.after)} for each in result.repeats
        ],
        "messages": [
            {
                "time": event.time,
                "kind": event.kind,
                "protocol": event.protocol,
                "name": event.name,
                "fields": dict(event.fields),
            }
            for event in result.events
        ],
    }


def printable(text: str) -> str:
    """What a far end wrote must not steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _painted(text: str, verdict: Verdict, color: bool) -> str:
    codes = {Verdict.PASS: "32", Verdict.FAIL: "31;1", Verdict.WARNING: "33"}
    return f"\x1b[{codes[verdict]}m{text}\x1b[0m" if color and verdict in codes else text
