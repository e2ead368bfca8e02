"""The ladder diagram of one call, drawn from the trace events that the elements wrote.

events = read_events([path, ...], correlation=call_id)
ladder = build(events, DIAL_IN)
print(render_text(ladder))
Path("call.svg").write_text(render_svg(ladder))
missing = check(events, DIAL_IN)
"""

from mrf_ops.ladder.procedures import (
    DIAL_IN,
    DIAL_OUT,
    Ladder,
    NumberedRow,
    Procedure,
    Step,
    build,
    check,
    ladder_of,
)
from mrf_ops.ladder.read import Call, calls, read_events
from mrf_ops.ladder.rows import Row, pair
from mrf_ops.ladder.svg import render as render_svg
from mrf_ops.ladder.text import render as render_text

__all__ = [
    "DIAL_IN",
    "DIAL_OUT",
    "Call",
    "Ladder",
    "NumberedRow",
    "Procedure",
    "Row",
    "Step",
    "build",
    "calls",
    "check",
    "ladder_of",
    "pair",
    "read_events",
    "render_svg",
    "render_text",
]
