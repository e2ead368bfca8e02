"""Loggers that name a call or conference, by the same fields in every room."""

from __future__ import annotations

import logging

from mrf_ops.logs import BoundLogger, bind
from mrfc.state.store import Call, Conference


def conference_logger(
    log: logging.Logger, conference: Conference, *, call: str = "", user: str = ""
) -> BoundLogger:
    """A logger that names a conference, and of it what else is known: Call-ID, user."""
    number = str(conference.conference_id)
    return bind(log, call=call, conference=conference.user, bfcp_conference=number, user=user)


def call_logger(log: logging.Logger, call: Call) -> BoundLogger:
    """A logger that names a call, also when its conference has gone already."""
    number = str(call.conference_id or "")
    return bind(
        log,
        call=call.dialog.call_id,
        conference=call.conference_user,
        bfcp_conference=number,
        user=str(call.user_id),
    )
