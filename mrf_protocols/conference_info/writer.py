"""Conference information as XML, for a notifier (RFC 4575 4 and 5).

Users are written one by one, so that a notifier writes each once and not for every subscriber. Elements stand in the
order that the schema wants. Text that came from elsewhere may be anything: it is escaped, and what XML cannot hold at
all (XML 1.0 2.2) becomes "?".
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from xml.sax.saxutils import escape, quoteattr

from mrf_protocols.conference_info.values import (
    FLOORS_NAMESPACE,
    NAMESPACE,
    ConferenceState,
    Description,
    Endpoint,
    Execution,
    FloorControl,
    Media,
    User,
)

_DATE_TIME = "%Y-%m-%dT%H:%M:%SZ"
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Part(enum.Enum):
    """How much of the conference a document tells (the attribute state, RFC 4575 4.4)."""

    FULL = "full"
    PARTIAL = "partial"
    DELETED = "deleted"


def document(entity: str, version: int, part: Part, inside: str = "") -> str:
    """A whole document; `inside` is what `contents` gives, "" for a conference that has ceased to exist."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<conference-info xmlns="{NAMESPACE}" entity={_quoted(entity)} '
        f'state="{part.value}" version="{version}">{inside}</conference-info>\n'
    )


def contents(
    part: Part, description: Description | None, state: ConferenceState | None, users: Iterable[str]
) -> str:
    """What is in a document; it is the same for all subscribers who know the same.

    `users` are texts of `write_user` and `deleted_user`. A full document needs a description (RFC 4575 5.2).
    """
    return _description(description) + _state(state) + f'<users state="{part.value}">{"".join(users)}</users>'


def write_user(user: User) -> str:
    """The element user with all that is known."""
    roles = "".join(_element("entry", role) for role in user.roles)
    return (
        f'<user entity={_quoted(user.entity)} state="full">'
        + _element("display-text", user.display_text)
        + (f"<roles>{roles}</roles>" if roles else "")
        + "".join(map(_endpoint, user.endpoints))
        + "</user>"
    )


def deleted_user(entity: str) -> str:
    """The element that says a user is no longer there."""
    return f'<user entity={_quoted(entity)} state="deleted"/>'


def _description(description: Description | None) -> str:
    if description is None:
        return ""
    entries = "".join(
        f"<entry>{_element('uri', uri)}<purpose>participation</purpose></entry>" for uri in description.uris
    )
    most = description.maximum_user_count
    return (
        "<conference-description>"
        + _element("display-text", description.display_text)
        + _element("subject", description.subject)
        + (f"<conf-uris>{entries}</conf-uris>" if entries else "")
        + _element("maximum-user-count", "" if most is None else str(most))
        + "</conference-description>"
    )


def _state(state: ConferenceState | None) -> str:
    if state is None:
        return ""
    inside = _element("user-count", "" if state.user_count is None else str(state.user_count))
    inside += _element("active", _boolean(state.active)) + _element("locked", _boolean(state.locked))
    return f"<conference-state>{inside}</conference-state>"


def _endpoint(endpoint: Endpoint) -> str:
    joined, gone = endpoint.joining_method, endpoint.disconnection_method
    return (
        f'<endpoint entity={_quoted(endpoint.entity)} state="full">'
        + _element("display-text", endpoint.display_text)
        + _execution("referred", endpoint.referred)
        + _element("status", "" if endpoint.status is None else endpoint.status.value)
        + _element("joining-method", "" if joined is None else joined.value)
        + _execution("joining-info", endpoint.joining_info)
        + _element("disconnection-method", "" if gone is None else gone.value)
        + _execution("disconnection-info", endpoint.disconnection_info)
        + "".join(map(_media, endpoint.media))
        + "</endpoint>"
    )


def _media(media: Media) -> str:
    return (
        f"<media id={_quoted(media.id)}>{_element('type', media.type)}{_element('status', media.status)}"
        f"{_floor_control(media.floor_control)}</media>"
    )


def _floor_control(control: FloorControl | None) -> str:
    if control is None:
        return ""
    lists = "".join(
        f' {name}="{" ".join(map(str, floors))}"'
        for name, floors in (("holds", control.holds), ("chairs", control.chairs))
        if floors
    )
    return f'<floor-control xmlns="{FLOORS_NAMESPACE}" user-id="{control.user_id}"{lists}/>'


def _execution(name: str, execution: Execution | None) -> str:
    if execution is None:
        return ""
    when = "" if execution.when is None else datetime.fromtimestamp(execution.when, UTC).strftime(_DATE_TIME)
    inside = _element("when", when) + _element("reason", execution.reason) + _element("by", execution.by)
    return f"<{name}>{inside}</{name}>"


def _element(name: str, text: str) -> str:
    return f"<{name}>{escape(_NO_XML.sub('?', text))}</{name}>" if text else ""


def _quoted(text: str) -> str:
    return quoteattr(_NO_XML.sub("?", text))


def _boolean(value: bool | None) -> str:
    return "" if value is None else str(value).lower()
