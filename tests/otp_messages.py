"""Messages for Erlang/OTP's megaco to judge: generated ones, and what chance makes of lawful ones."""

from __future__ import annotations

import base64
import random
import re
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

from hypothesis import Phase, given, settings
from unit.h248.messages import MP_MESSAGES, READABLE_BY_OTP
from unit.h248.test_text_codec import REQUESTS

from mrf_protocols.h248.grammar import SHORT_TOKENS
from mrf_protocols.h248.values import (
    Action,
    Command,
    CommandKind,
    Descriptor,
    DeviceName,
    MediaDescriptor,
    Message,
    Stream,
    TransactionReply,
    TransactionRequest,
)

VERDICTS: Final = Path(__file__).parent / "interop" / "otp_megaco" / "verdicts.escript"
AMM: Final = frozenset({CommandKind.ADD, CommandKind.MOVE, CommandKind.MODIFY})
SDP: Final = "v=0\r\nc=IN IP4 $\r\nm=audio $ RTP/AVP 0"
TOKEN: Final = re.compile(rb'"[^"]*"|[{}\[\],=:<>#]|[ \t\r\n]+|[^\s{}\[\],=:<>#"]+|.', re.DOTALL)
"""As coarse as can be: nothing of the decoder's own grammar."""
WRONG: Final = [
    *(
        b"",
        b"x",
        b"1",
        b"-1",
        b"999",
        b"65536",
        b"4294967295",
        b"4294967296",
        b"99999999999",
        b'"',
        b'"x"',
        b"a/b",
    ),
    *(
        b"$",
        b"*",
        b"-",
        b"/",
        b"x/",
        b"\\",
        b";",
        b";x\n",
        b"X-a",
        b"O-Add",
        b"W-W-Add",
        b"20260102T030405",
        b"[1.2.3]",
    ),
]
WORDS: Final = [word.encode() for pair in SHORT_TOKENS.items() for word in pair]
OCTETS: Final = b'{}[],=:<>#"; \n\t/aA19-$*\\@_\x00\x7f\x80\xff'


def verdicts(messages: Sequence[bytes], folder: Path) -> list[str]:
    """What OTP says of each: "ok", or its reason to refuse it."""
    path = folder / "messages"
    path.write_bytes(b"\n".join(map(base64.b64encode, messages)))
    done = subprocess.run(["escript", str(VERDICTS), str(path)], capture_output=True, timeout=120, check=True)
    lines = done.stdout.decode(errors="replace").splitlines()
    assert len(lines) == len(messages), done.stderr.decode(errors="replace")
    return lines


# -- generated -------------------------------------------------------------------------------------------------------


def with_sdp(request: TransactionRequest) -> TransactionRequest:
    """OTP reads Local and Remote as lines of SDP, whatever the text is to us."""

    def stream(made: Stream) -> Stream:
        local = None if made.local is None else SDP
        return replace(made, local=local, remote=None if made.remote is None else SDP)

    def descriptor(made: Descriptor) -> Descriptor:
        if not isinstance(made, MediaDescriptor):
            return made
        return replace(made, streams=tuple(map(stream, made.streams)))

    def command(made: Command) -> Command:
        return replace(made, descriptors=tuple(map(descriptor, made.descriptors)))

    actions = [replace(action, commands=tuple(map(command, action.commands))) for action in request.actions]
    return replace(request, actions=tuple(actions))


def generated() -> list[Message]:
    """Messages by chance, the same in every run."""
    made: list[Message] = []

    @settings(max_examples=150, derandomize=True, database=None, phases=[Phase.generate])
    @given(REQUESTS)
    def collect(request: TransactionRequest) -> None:
        made.append(Message(3, DeviceName("mg/1"), (with_sdp(request),)))

    collect()
    return made


# -- composed --------------------------------------------------------------------------------------------------------


Kind: TypeAlias = type[TransactionRequest] | type[TransactionReply]


def composed(count: int, seed: str) -> list[Message]:
    """Requests and replies of commands and descriptors that OTP reads, put together by chance: the same anywhere.

    Mp's own messages are left out: whoever changes one of them is to see no other ones here.
    """
    chance = random.Random(seed)
    kinds: tuple[Kind, Kind] = (TransactionRequest, TransactionReply)
    actions = {
        kind: [
            action
            for name, message in READABLE_BY_OTP.items()
            if name not in MP_MESSAGES
            for item in message.transactions
            if isinstance(item, kind)
            for action in item.actions
        ]
        for kind in kinds
    }
    descriptors = [
        descriptor
        for action in actions[TransactionRequest]
        for command in action.commands
        if command.kind in AMM
        for descriptor in command.descriptors
    ]

    def command(kind: Kind) -> Command:
        made = chance.choice(chance.choice([action for action in actions[kind] if action.commands]).commands)
        if kind is TransactionReply or made.kind not in AMM:
            return made
        chosen = {type(each): each for each in chance.sample(descriptors, chance.randint(0, 4))}
        return replace(made, descriptors=tuple(chosen.values()), optional=chance.random() < 0.2)

    def action(kind: Kind) -> Action:
        made = chance.choice(actions[kind])
        commands = tuple(command(kind) for _ in range(chance.randint(1, 3)))
        return replace(
            made, commands=commands, error=None, audit=made.audit if chance.random() < 0.5 else None
        )

    def message() -> Message:
        kind = chance.choice(kinds)
        item = kind(chance.randint(1, 0xFFFFFFFF), tuple(action(kind) for _ in range(chance.randint(1, 2))))
        return Message(3, DeviceName("mg/1"), (item,))

    return [message() for _ in range(count)]


# -- mutated ---------------------------------------------------------------------------------------------------------


class Mutator:
    """Changes a lawful message. It and the seed alone say how: every run sees the same, whatever others there are."""

    def __init__(self, lawful: bytes, seed: str = "") -> None:
        self.lawful = lawful
        self.chance = random.Random(lawful + seed.encode())
        self.kinds = (
            self.deleted,
            self.doubled,
            self.swapped,
            self.wrong_value,
            self.other_word,
            self.nested,
            self.block_dropped,
            self.one_octet,
            self.any_octet,
        )

    def mutate(self) -> bytes:
        """The next one."""
        return self.chance.choice(self.kinds)(self.lawful)

    def _tokens(self, octets: bytes) -> tuple[list[bytes], list[int]]:
        tokens: list[bytes] = TOKEN.findall(octets)
        return tokens, [place for place, token in enumerate(tokens) if token.strip()]

    def deleted(self, octets: bytes) -> bytes:
        tokens, places = self._tokens(octets)
        del tokens[self.chance.choice(places)]
        return b"".join(tokens)

    def doubled(self, octets: bytes) -> bytes:
        tokens, places = self._tokens(octets)
        first = self.chance.choice(places)
        last = first + self.chance.choice((1, 1, 2, 4, 8))
        tokens[first:first] = tokens[first:last]
        return b"".join(tokens)

    def swapped(self, octets: bytes) -> bytes:
        tokens, places = self._tokens(octets)
        one, other = self.chance.choice(places), self.chance.choice(places)
        tokens[one], tokens[other] = tokens[other], tokens[one]
        return b"".join(tokens)

    def wrong_value(self, octets: bytes) -> bytes:
        tokens, places = self._tokens(octets)
        tokens[self.chance.choice(places)] = self.chance.choice(WRONG)
        return b"".join(tokens)

    def other_word(self, octets: bytes) -> bytes:
        tokens, places = self._tokens(octets)
        tokens[self.chance.choice(places)] = self.chance.choice(WORDS)
        return b"".join(tokens)

    def nested(self, octets: bytes) -> bytes:
        """A block of braces, with the word before it, once more where it does not belong."""
        tokens, places = self._tokens(octets)
        block = self._block(tokens)
        tokens[self.chance.choice(places)] = b"".join(tokens[block])
        return b"".join(tokens)

    def block_dropped(self, octets: bytes) -> bytes:
        tokens, _ = self._tokens(octets)
        del tokens[self._block(tokens)]
        return b"".join(tokens)

    def _block(self, tokens: list[bytes]) -> slice:
        openings = [place for place, token in enumerate(tokens) if token == b"{"]
        if not openings:
            return slice(0, 1)
        opening = self.chance.choice(openings)
        depth, end = 0, opening
        while end < len(tokens):
            depth += (tokens[end] == b"{") - (tokens[end] == b"}")
            end += 1
            if not depth:
                break
        return slice(max(0, opening - self.chance.choice((0, 2, 2, 4))), end)

    def one_octet(self, octets: bytes) -> bytes:
        changed = bytearray(octets)
        changed[self.chance.randrange(len(changed))] = self.chance.choice(OCTETS)
        return bytes(changed)

    def any_octet(self, octets: bytes) -> bytes:
        changed = bytearray(octets)
        changed[self.chance.randrange(len(changed))] = self.chance.randrange(256)
        return bytes(changed)
