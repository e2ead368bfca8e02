"""SUBSCRIBE as the focus understands it: what one asks for (RFC 6665 4.2.1.1, RFC 4575 3)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mrf_protocols.conference_info import CONTENT_TYPE
from mrfc.jobs import SubscribeJob
from mrfc.sip import capabilities, headers
from mrfc.sip.refusal import CONFERENCE, Cause, Refusal, quotable

HOUR = 3600
"""Shorter ones only may be refused as too brief, and it is how long a subscription lasts without Expires."""
LONGEST_ID = 128
_EVENT = re.compile(r"([^\s;]+)\s*(?:;.*)?", re.DOTALL)
_ID = re.compile(r";\s*id\s*=\s*([^\s;]+)", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_ACCEPTED = frozenset({CONTENT_TYPE, "application/*", "*/*"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a SUBSCRIBE asks for: the value for Event in its NOTIFYs, and for how many seconds (0: once, or no more)."""

    event: str
    expires: int


def read_subscribe(job: SubscribeJob, longest: int, shortest: int) -> Wanted:
    """Take a SUBSCRIBE apart; times in seconds. Raises Refusal."""
    capabilities.refuse_unknown(job.require, ())
    event = _event(headers.values(job.headers, "Event"))
    expires = _expires(headers.values(job.headers, "Expires"))
    accept = headers.values(job.headers, "Accept")
    if accept and _types(accept).isdisjoint(_ACCEPTED):
        raise Refusal(Cause.NOT_ACCEPTABLE)
    if job.body:  # a filter; this package has none (RFC 4575 3.2)
        raise Refusal(Cause.NO_FILTERS, quotable(job.content_type))
    if 0 < expires < min(HOUR, shortest):
        raise Refusal(Cause.TOO_BRIEF, str(shortest))
    return Wanted(event, min(expires, longest))


def _event(values: list[str]) -> str:
    found = _EVENT.fullmatch(values[0].strip()) if len(values) == 1 else None
    if found is None or found[1].lower() != CONFERENCE:  # RFC 6665 8.2.1: one event, and no template of ours
        raise Refusal(Cause.BAD_EVENT)
    name = _ID.search(values[0])
    if name is None:
        return CONFERENCE
    if len(name[1]) > LONGEST_ID or _TOKEN.fullmatch(name[1]) is None:
        raise Refusal(Cause.BAD_SUBSCRIBE, "the id of the event")
    return f"{CONFERENCE};id={name[1]}"


def _expires(values: list[str]) -> int:
    if not values:
        return HOUR
    digits = values[0].strip()
    if len(values) > 1 or not (digits.isascii() and digits.isdigit()) or len(digits) > 10:
        raise Refusal(Cause.BAD_SUBSCRIBE, "Expires")
    return int(digits)


def _types(values: list[str]) -> set[str]:
    ranges = (each for value in values for each in value.split(","))
    return {each.partition(";")[0].strip().lower() for each in ranges}
