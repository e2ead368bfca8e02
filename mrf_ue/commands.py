"""What a user types, or a script says, to do floor control: one line, one command."""

from __future__ import annotations

from dataclasses import dataclass

from mrf_protocols.bfcp import Priority, RequestStatus

HELP = """\
ask [FLOOR ...] [for USER] [priority lowest|low|normal|high|highest] [because WORDS]
                             ask for floors (default: the first), all or none
release [REQUEST]            give floors back, or take a request back (default: your last one)
floors                       who holds each floor, who is in its queue, who waits for the chair
requests [USER]              the requests of a user (default: yours), as the server has them
watch [FLOOR ...]            be told of these floors only (default: of all); watch none: of nothing
grant [REQUEST] [WORDS]      as chair; without a number the first that waits
accept [REQUEST] [POSITION]  as chair: into the queue, at its end or at this position
deny [REQUEST] [WORDS]       as chair
revoke [REQUEST] [WORDS]     as chair; without a number the first that holds a floor
wait SECONDS                 do nothing for a while
expect STATE [SECONDS]       wait until your last request is pending, accepted, granted, denied, cancelled,
                             released or revoked; or, as chair, until a request waits: expect request
rekey                        a new key, and a new connection under it; what you hold and wait for stays
update                       the same without a new ticket, where yours has L (or M, if you were called)
drop                         break the connection, as a network does that fails (--reconnect brings you back)
hello                        ask whether the server is there
help                         this text
quit                         leave the conference"""


class CommandError(ValueError):
    """A line that is no command; the text says why."""


@dataclass(frozen=True, slots=True)
class Ask:
    """FloorRequest; no floors: the first of the conference."""

    floors: tuple[int, ...] = ()
    beneficiary: int | None = None
    priority: Priority | None = None
    info: str | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """FloorRelease; None: the last request of ours."""

    request: int | None = None


@dataclass(frozen=True, slots=True)
class Decide:
    """ChairAction; None: the first request that fits."""

    status: RequestStatus
    request: int | None = None
    position: int = 0
    info: str | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """FloorQuery; None: all floors."""

    floors: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class ShowFloors:
    """Print what is known of the floors."""


@dataclass(frozen=True, slots=True)
class AskUser:
    """UserQuery; None: about ourselves."""

    user: int | None = None


@dataclass(frozen=True, slots=True)
class SayHello:
    """Hello."""


@dataclass(frozen=True, slots=True)
class Rekey:
    """A new connection under a new key."""


@dataclass(frozen=True, slots=True)
class Update:
    """The same without another ticket."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Break the connection."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Let time pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Expect:
    """Wait until our last request has this state; None: until a request waits for the chair."""

    state: RequestStatus | None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Help:
    """Print the commands."""


@dataclass(frozen=True, slots=True)
class Quit:
    """Leave."""


Command = (
    Ask
    | Release
    | Decide
    | Watch
    | ShowFloors
    | AskUser
    | SayHello
    | Rekey
    | Update
    | Drop
    | Wait
    | Expect
    | Help
    | Quit
)

_DECISIONS = {
    "grant": RequestStatus.GRANTED,
    "accept": RequestStatus.ACCEPTED,
    "deny": RequestStatus.DENIED,
    "revoke": RequestStatus.REVOKED,
}
_PLAIN: dict[str, Command] = {
    "floors": ShowFloors(),
    "hello": SayHello(),
    "rekey": Rekey(),
    "update": Update(),
    "drop": Drop(),
    "help": Help(),
    "?": Help(),
    "quit": Quit(),
    "exit": Quit(),
    "bye": Quit(),
}
_STATES = {status.label.lower(): status for status in RequestStatus}


def parse(line: str) -> Command | None:
    """The command in a line; None for an empty line or a comment (#). Raises CommandError."""
    words = line.split()
    if not words or words[0].startswith("#"):
        return None
    verb, rest = words[0].lower(), words[1:]
    if verb in _PLAIN:
        _only(rest, 0)
        return _PLAIN[verb]
    if verb == "ask":
        return _ask(rest)
    if verb == "release":
        return Release(_number(rest[0], "request") if _only(rest, 1) else None)
    if verb in _DECISIONS:
        return _decide(verb, rest)
    if verb == "watch":
        if [word.lower() for word in rest] == ["none"]:
            return Watch(())
        return Watch(tuple(_number(word, "floor") for word in rest) if rest else None)
    if verb == "requests":
        return AskUser(_number(rest[0], "user") if _only(rest, 1) else None)
    if verb == "wait":
        if len(rest) != 1:
            raise CommandError("wait needs a number of seconds")
        return Wait(_seconds(rest[0]))
    if verb == "expect":
        return _expect(rest)
    raise CommandError(f"{verb} is no command; help shows them")


def _ask(words: list[str]) -> Ask:
    floors: list[int] = []
    beneficiary: int | None = None
    priority: Priority | None = None
    while words:
        word = words.pop(0)
        if word == "because":
            return Ask(tuple(floors), beneficiary, priority, " ".join(words) or None)
        if word in ("for", "priority"):
            if not words:
                raise CommandError(f"{word} needs a word more")
            if word == "for":
                beneficiary = _number(words.pop(0), "user")
            else:
                priority = _priority(words.pop(0))
        else:
            floors.append(_number(word, "floor"))
    return Ask(tuple(floors), beneficiary, priority)


def _decide(verb: str, words: list[str]) -> Decide:
    request = _number(words.pop(0), "request") if words and words[0].isdecimal() else None
    status = _DECISIONS[verb]
    if status is RequestStatus.ACCEPTED:
        position = _number(words[0], "position", 255) if _only(words, 1) else 0
        return Decide(status, request, position)
    return Decide(status, request, 0, " ".join(words) or None)


def _expect(words: list[str]) -> Expect:
    if not 1 <= len(words) <= 2:
        raise CommandError("expect needs a state, and may have seconds")
    seconds = _seconds(words[1]) if len(words) == 2 else None
    if words[0] == "request":
        return Expect(None, seconds)
    if words[0].lower() not in _STATES:
        raise CommandError(f"{words[0]} is no state: {', '.join(_STATES)}, or request")
    return Expect(_STATES[words[0].lower()], seconds)


def _only(words: list[str], most: int) -> bool:
    """Whether there is a word. Raises CommandError when there are too many."""
    if len(words) > most:
        raise CommandError(f"{' '.join(words[most:])!r} is too much")
    return bool(words)


def _number(word: str, what: str, most: int = 0xFFFF) -> int:
    if not (word.isascii() and word.isdecimal() and 1 <= int(word) <= most):
        raise CommandError(f"{word!r} is no {what}: a number from 1 to {most}")
    return int(word)


def _seconds(word: str) -> float:
    try:
        seconds = float(word)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86400:
        raise CommandError(f"{word!r} is no number of seconds")
    return seconds


def _priority(word: str) -> Priority:
    try:
        return Priority[word.upper()]
    except KeyError:
        names = ", ".join(each.name.lower() for each in Priority)
        raise CommandError(f"{word!r} is no priority: {names}") from None
