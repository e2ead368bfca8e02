"""Carries out the transactions of the MRFC: action after action, command after command (RFC 3525 8.2).

The first command that fails ends the transaction, unless it is optional; what was done before it stays done and is
told. Answers come in the order of the commands, those of one context together.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final, Literal, Protocol

from mrf_ops.logs import bind
from mrf_ops.trace import Tracer
from mrf_protocols.h248 import mp
from mrf_protocols.h248.errors import ErrorCode, H248Error
from mrf_protocols.h248.values import (
    ALL,
    ALL_CONTEXTS,
    CHOOSE_CONTEXT,
    NULL_CONTEXT,
    ROOT,
    Action,
    AuditDescriptor,
    Command,
    CommandKind,
    ServiceState,
    TransactionReply,
    TransactionRequest,
)

_log = logging.getLogger(__name__)

_AUDITS: Final = {CommandKind.AUDIT_VALUE, CommandKind.AUDIT_CAPABILITY}
_OF_CONTEXTS: Final = {ErrorCode.UNKNOWN_CONTEXT, ErrorCode.NO_CONTEXT_AVAILABLE, ErrorCode.UNKNOWN_ACTION}
_NEW_WORK: Final = mp.ConfigureBfcpTermination | mp.ReserveBfcpTermination


Ids = dict[str, str]
"""Call, conference and user, by the names that log lines have for them."""


class _Refused(Exception):
    """A procedure was refused, and that is in the log."""

    def __init__(self, error: H248Error) -> None:
        self.error = error
        super().__init__(str(error))


class MediaSide(Protocol):
    """The media side of an MRFP, as Mp sees it."""

    def handle(self, procedure: mp.Procedure) -> mp.Acknowledgement:
        """Carry out a procedure. Raises H248Error with the code to answer; then nothing has changed."""
        ...

    def inventory(self, in_service: ServiceState) -> mp.Inventory:
        """All that can be audited."""
        ...


class RootSide(Protocol):
    """The MRFP as a whole: what the MRFC asks of ROOT."""

    def watch(self, watch: mp.WatchMrfp) -> None:
        """Congestion and silence are to be told from now on, as asked."""
        ...

    def service_change(self, change: mp.ServiceChange) -> mp.ServiceChangeAccepted:
        """The MRFC takes us out of service or back, or hands us over. Raises H248Error."""
        ...


class Execution:
    """Procedures of the media side by transactions; `service` is our state of service."""

    def __init__(self, media: MediaSide, root: RootSide, tracer: Tracer) -> None:
        self.service = ServiceState.IN_SERVICE
        self.accepts_new = True
        self._media = media
        self._root = root
        self._tracer = tracer
        self._known: dict[int, dict[str, Ids]] = {}
        self._conferences: dict[int, str] = {}

    def carry_out(self, request: TransactionRequest) -> TransactionReply:
        """The reply to a transaction."""
        number = request.transaction_id
        replies: list[Action] = []
        for action in request.actions:
            fine, answers = self._action(number, action)
            replies += answers
            if not fine:
                break
        if not replies:
            return TransactionReply(number, error=H248Error(ErrorCode.NOT_IMPLEMENTED).descriptor)
        return TransactionReply(number, tuple(replies))

    def release(self, context: int, termination: str) -> None:
        """Release without being asked by a transaction."""
        procedure = mp.ReleaseBfcpTermination(context, termination)
        self._remember(procedure, self._handled(procedure), "")

    def correlation(self, context: int, termination: str) -> str:
        """Of the call that a termination belongs to."""
        return self.ids(context, termination).get("call", "")

    def ids(self, context: int, termination: str) -> Ids:
        """Whose a termination is, for log lines."""
        return self._known.get(context, {}).get(termination, {})

    def trace(self, kind: Literal["sent", "received"], correlation: str, what: mp.Description) -> None:
        """A message of ours, in the trace of its call."""
        if self._tracer.enabled:
            self._tracer.emit(correlation, kind, "MRFC", "Mp", what.name, what.key, **what.fields)

    # Actions and commands

    def _action(self, number: int, action: Action) -> tuple[bool, list[Action]]:
        answers: list[Action] = []
        if action.audit is not None:
            try:
                answers += mp.audit_context(action, self._inventory())
            except H248Error as error:
                return False, [mp.error_action(action, None, error)]
        commands: tuple[Command | None, ...] = action.commands
        if not commands and action.properties is not None:
            commands = (None,)  # properties of the context alone
        for command in commands:
            fine, found = self._command(number, action, command)
            for answer in found:
                _append(answers, answer)
            if not fine and not (command is not None and command.optional):
                return False, answers
            if fine and action.context_id == CHOOSE_CONTEXT and found:
                action = replace(action, context_id=found[0].context_id)  # the same for all that follow
        return True, answers

    def _command(self, number: int, action: Action, command: Command | None) -> tuple[bool, list[Action]]:
        try:
            if command is None:
                return True, [self._procedure(number, action, None, mp.parse_context_request(action))]
            return True, self._known_command(number, action, command)
        except _Refused as refused:
            error = refused.error
        except H248Error as fault:
            whose = {} if command is None else self.ids(action.context_id, command.termination)
            what = "Context" if command is None else command.kind
            _log.warning("Mp: %s refused: %s", what, fault, extra=whose)
            error = fault
        whole = error.code in _OF_CONTEXTS
        return False, [mp.error_action(action, None if whole else command, error)]

    def _known_command(self, number: int, action: Action, command: Command) -> list[Action]:
        if len(command.terminations) != 1:
            raise H248Error(ErrorCode.NOT_IMPLEMENTED, "One termination at a time")
        if command.kind in _AUDITS:
            return self._audit(action, command)
        if action.context_id == NULL_CONTEXT and command.termination.upper() == ROOT:
            return [self._root_command(number, action, command)]
        if command.kind is CommandKind.SUBTRACT and mp.is_wildcard(command.termination):
            return self._subtract(number, action, command)
        return [self._procedure(number, action, command, mp.parse_command(action, command))]

    def _audit(self, action: Action, command: Command) -> list[Action]:
        if action.context_id == NULL_CONTEXT and command.termination.upper() == ROOT:
            self._handled(mp.AuditHeartbeat())
            if command.find(AuditDescriptor) in {None, AuditDescriptor()}:
                return [Action(NULL_CONTEXT, (Command(command.kind, (ROOT,)),))]
        return list(mp.audit(action, command, self._inventory()))

    def _inventory(self) -> mp.Inventory:
        return self._media.inventory(self.service)

    def _root_command(self, number: int, action: Action, command: Command) -> Action:
        if command.kind is CommandKind.MODIFY:
            self._root.watch(mp.parse_watch(command))
            return Action(NULL_CONTEXT, (Command(CommandKind.MODIFY, (ROOT,)),))
        if command.kind is CommandKind.SERVICE_CHANGE:
            change = mp.parse_service_change(action, command)
            self.trace("received", "", mp.describe_service_change(number, change))
            return mp.service_change_reply_action(self._root.service_change(change))
        if command.kind in {CommandKind.ADD, CommandKind.SUBTRACT, CommandKind.MOVE}:
            raise H248Error(ErrorCode.UNKNOWN_ACTION)
        raise H248Error(ErrorCode.UNKNOWN_COMMAND)

    def _subtract(self, number: int, action: Action, command: Command) -> list[Action]:
        """Subtract by wildcard: one answer where that is asked for, else one for each termination."""
        procedure = mp.ReleaseBfcpTermination(action.context_id, command.termination)
        if action.context_id in {NULL_CONTEXT, CHOOSE_CONTEXT}:
            raise H248Error(ErrorCode.UNKNOWN_ACTION)
        if command.termination == ALL and command.wildcard:
            return [self._procedure(number, action, command, procedure)]
        inventory = self._inventory()
        if action.context_id not in {ALL_CONTEXTS, *inventory.conferences}:
            raise H248Error(ErrorCode.UNKNOWN_CONTEXT)
        chosen = [
            each
            for each in inventory.terminations
            if action.context_id in {ALL_CONTEXTS, each.context}
            and mp.matches(command.termination, each.name)
        ]
        if not chosen:
            raise H248Error(ErrorCode.NO_TERMINATION_MATCHED)
        answers = [
            self._procedure(number, action, command, mp.ReleaseBfcpTermination(each.context, each.name))
            for each in chosen
        ]
        if command.wildcard:
            return [Action(action.context_id, (Command(CommandKind.SUBTRACT, (command.termination,)),))]
        return answers

    # Procedures

    def _procedure(
        self, number: int, action: Action, command: Command | None, procedure: mp.Procedure
    ) -> Action:
        """One procedure, and its traces. Raises _Refused."""
        correlation = self._correlation(procedure)
        traced = self._tracer.enabled  # descriptions cost as much as a message
        if traced:
            self.trace("received", correlation, mp.describe_request(number, procedure))
        try:
            if isinstance(procedure, _NEW_WORK) and not self.accepts_new:
                raise H248Error(ErrorCode.SERVICE_UNAVAILABLE)
            acknowledgement = self._handled(procedure)
        except H248Error as error:
            precise = self._precise(procedure, error)
            logger = bind(_log, **self._ids(procedure))
            logger.warning("Mp: %s refused: %s", mp.procedure_name(procedure), precise)
            refused = TransactionReply(number, (mp.error_action(action, command, precise),))
            self.trace("sent", correlation, mp.describe_reply(refused, procedure))
            raise _Refused(precise) from error
        self._remember(procedure, acknowledgement, correlation)
        reply = mp.reply_action(procedure, acknowledgement)
        if traced:
            self.trace("sent", correlation, mp.describe_reply(TransactionReply(number, (reply,)), procedure))
        return reply

    def _handled(self, procedure: mp.Procedure) -> mp.Acknowledgement:
        try:
            return self._media.handle(procedure)
        except H248Error:
            raise
        except Exception as error:  # a fault of one procedure must not end the association of all
            logger = bind(_log, **self._ids(procedure))
            logger.exception("Mp: %s failed", mp.procedure_name(procedure))
            raise H248Error(ErrorCode.INTERNAL_SOFTWARE_FAILURE) from error

    def _precise(self, procedure: mp.Procedure, error: H248Error) -> H248Error:
        """A termination that is unknown in this context may be one of another."""
        name = getattr(procedure, "termination", "")
        if error.code == ErrorCode.UNKNOWN_TERMINATION and any(
            name in members for members in self._known.values()
        ):
            return H248Error(ErrorCode.TERMINATION_NOT_IN_CONTEXT)
        return error

    def _correlation(self, procedure: mp.Procedure) -> str:
        if isinstance(procedure, mp.AuditHeartbeat | mp.ConfigureConference):
            return ""
        if not isinstance(procedure, mp.ConfigureBfcpTermination | mp.ReserveBfcpTermination):
            return procedure.correlation or self.correlation(procedure.context, procedure.termination)
        return procedure.correlation

    def _ids(self, procedure: mp.Procedure) -> Ids:
        """What a procedure says of whose it is, and what is known of its termination and context."""
        if isinstance(procedure, mp.AuditHeartbeat):
            return {}
        known = self.ids(procedure.context, getattr(procedure, "termination", ""))
        said = {"call": self._correlation(procedure), "user": str(getattr(procedure, "user_id", ""))}
        conference = getattr(procedure, "conference", None)
        number = (
            self._conferences.get(procedure.context, "")
            if conference is None
            else str(conference.conference_id)
        )
        return known | {name: value for name, value in (*said.items(), ("bfcp_conference", number)) if value}

    def _remember(self, procedure: mp.Procedure, answer: mp.Acknowledgement, correlation: str) -> None:
        if isinstance(answer, mp.TerminationConfigured):
            if (conference := getattr(procedure, "conference", None)) is not None:
                self._conferences[answer.context] = str(conference.conference_id)
            ids = self._ids(procedure) | {"call": correlation}
            ids["bfcp_conference"] = self._conferences.get(answer.context, "")
            self._known.setdefault(answer.context, {})[answer.termination] = ids
        elif isinstance(procedure, mp.ReleaseBfcpTermination):
            contexts = list(self._known) if procedure.context == ALL_CONTEXTS else [procedure.context]
            for context in contexts:
                members = self._known.get(context, {})
                members.pop(procedure.termination, None)
                if not members or procedure.termination == ALL:
                    self._known.pop(context, None)
                    self._conferences.pop(context, None)


def _append(answers: list[Action], answer: Action) -> None:
    """Put an answer behind the others; what belongs to one context stands together."""
    last = answers[-1] if answers else None
    if last is None or last.context_id != answer.context_id or last.error is not None:
        answers.append(answer)
        return
    answers[-1] = replace(
        last,
        commands=last.commands + answer.commands,
        properties=last.properties if answer.properties is None else answer.properties,
        error=answer.error,
    )
