"""What operators may do to floors over HTTP: grant, deny, revoke, appoint a chair."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Annotated, Any

import msgspec

from mrf_ops.config import Secret
from mrf_protocols.h248.mp import Decision
from mrfc.floors.floors import Floors, NoSuchThing
from mrfc.jobs import QueryAnswer, QueryJob
from mrfc.mp.controller import MpError, MrfpRefused
from mrfc.operator.http import Door, as_error, as_json

CLOSED = "floors are closed to operators; dial_out.operator_token_file in mrfc.toml opens them"


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a decision on a floor request."""

    decision: Decision
    reason: Annotated[str, msgspec.Meta(max_length=120)] = ""


class Chair(msgspec.Struct, forbid_unknown_fields=True):
    """The body that gives a floor its chair: a BFCP user of the conference, or nobody."""

    user: Annotated[int, msgspec.Meta(ge=1, le=65535)] | None


class OperatorFloors:
    """`POST /conferences/<user>/requests/<id>` and `POST /conferences/<user>/floors/<id>/chair`."""

    def __init__(self, token: Secret | None, floors: Floors) -> None:
        self._door = Door(token, CLOSED)
        self._floors = floors

    async def decide(self, user: str, request_id: int, query: QueryJob) -> QueryAnswer:
        """Grant, deny or revoke a floor request."""
        wanted = self._door.body(query, Wanted, '{"decision": "grant", "deny" or "revoke"}')
        if isinstance(wanted, QueryAnswer):
            return wanted
        return await _answer(self._floors.decide(user, request_id, wanted.decision, wanted.reason))

    async def appoint(self, user: str, floor_id: int, query: QueryJob) -> QueryAnswer:
        """Appoint the chair of a floor."""
        chair = self._door.body(query, Chair, '{"user": number or null}')
        if isinstance(chair, QueryAnswer):
            return chair
        return await _answer(self._floors.appoint(user, floor_id, chair.user))


async def _answer(work: Coroutine[Any, Any, None]) -> QueryAnswer:
    try:
        await work
    except NoSuchThing as error:
        return as_error(404, str(error))
    except MrfpRefused as error:
        return as_error(409, str(error))
    except MpError as error:
        return as_error(503, str(error))
    return as_json(200, {"done": True})
