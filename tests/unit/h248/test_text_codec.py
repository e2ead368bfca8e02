"""The text codec: round trips, spellings, limits, and every broken message."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.h248.messages import MESSAGES

from mrf_protocols.h248 import ErrorCode, H248Error, decode, encode, format_mid, parse_mid
from mrf_protocols.h248 import values as v
from mrf_protocols.h248.grammar import KEYWORDS, MAX_MESSAGE, SHORT_TOKENS


@pytest.mark.parametrize("pretty", [False, True], ids=["compact", "pretty"])
@pytest.mark.parametrize("name", MESSAGES)
def test_round_trip(name: str, pretty: bool) -> None:
    assert decode(encode(MESSAGES[name], pretty=pretty)) == MESSAGES[name]


@pytest.mark.parametrize("name", MESSAGES)
def test_every_truncation(name: str) -> None:
    octets = encode(MESSAGES[name])
    for end in range(len(octets)):
        decode_or_refuse(octets[:end])


@pytest.mark.parametrize("name", MESSAGES)
def test_every_single_octet_changed(name: str) -> None:
    octets = bytearray(encode(MESSAGES[name]))
    for place, octet in enumerate(octets):
        for other in (octet ^ 1, ord("}"), 0x00, 0xFF):
            octets[place] = other
            decode_or_refuse(bytes(octets))
        octets[place] = octet


def decode_or_refuse(octets: bytes) -> None:
    """Decodes into something that can be written again, or raises H248Error; anything else fails the test."""
    with suppress_refusal({400, 403, 406}):
        message = decode(octets)
        with suppress_refusal({ErrorCode.INTERNAL_SOFTWARE_FAILURE}):
            written = encode(message)
            assert decode(written) == message


@contextmanager
def suppress_refusal(codes: set[int]) -> Iterator[None]:
    try:
        yield
    except H248Error as error:
        if error.code not in codes:
            raise


@given(st.binary(max_size=300))
def test_any_octets(octets: bytes) -> None:
    decode_or_refuse(octets)


WORDS = st.sampled_from(
    [
        *SHORT_TOKENS,
        *SHORT_TOKENS.values(),
        *"{}=,:[]<>#$*-",
        "1",
        "a/b",
        '"x"',
        "L{v=0}",
        "DM={x}",
        " ",
        "\n",
    ]
)


@given(st.lists(WORDS, max_size=40))
def test_any_tokens(words: list[str]) -> None:
    decode_or_refuse(("!/3 [1.2.3.4] T=1{C=1{" + " ".join(words)).encode())
    decode_or_refuse(("!/3 [1.2.3.4] P=1{C=1{AV=a{" + " ".join(words) + "}}}").encode())


# -- generated values ------------------------------------------------------------------------------------------------

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,10}", fullmatch=True)
PARAMETERS = NAMES.filter(lambda name: name.lower() not in KEYWORDS)
ITEMS = st.builds("{}/{}".format, NAMES, NAMES)
TEXTS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters='"'), max_size=12)
UINT16 = st.integers(0, 0xFFFF)
UINT32 = st.integers(1, 0xFFFFFFFD)
OCTETS = (
    st.text(max_size=40)
    .map(lambda text: text.replace("\x00", "").strip(" \t\r\n"))
    .filter(lambda text: not text.endswith("\\") and not text.startswith(";") and text.isprintable())
)


def properties(names: st.SearchStrategy[str]) -> st.SearchStrategy[v.Property]:
    single = st.sampled_from([v.Relation.EQUAL, v.Relation.NOT_EQUAL, v.Relation.LESS, v.Relation.GREATER])
    several = st.sampled_from([v.Relation.ALL_OF, v.Relation.ANY_OF])
    return st.one_of(
        st.builds(v.Property, names, st.tuples(TEXTS), single),
        st.builds(v.Property, names, st.tuples(TEXTS, TEXTS), st.just(v.Relation.RANGE)),
        st.builds(v.Property, names, st.lists(TEXTS, min_size=1, max_size=3).map(tuple), several),
    )


def some(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(strategy, max_size=3).map(tuple)


LOCAL_CONTROLS = st.builds(
    v.LocalControl, st.sampled_from(v.StreamMode), st.booleans(), st.none(), some(properties(ITEMS))
)
STREAMS = st.builds(v.Stream, UINT16, LOCAL_CONTROLS, st.none() | OCTETS, st.none() | OCTETS)
MEDIA = st.builds(v.MediaDescriptor, st.lists(STREAMS, min_size=1, max_size=2).map(tuple))
REQUESTED = st.builds(
    v.RequestedEvent, ITEMS, some(properties(PARAMETERS)), st.none() | UINT16, keep_active=st.booleans()
)
EVENTS = st.builds(v.EventsDescriptor, UINT32, st.lists(REQUESTED, min_size=1, max_size=3).map(tuple))
SIGNAL = st.builds(
    v.Signal,
    ITEMS,
    some(properties(PARAMETERS)),
    st.none() | UINT16,
    st.none() | st.sampled_from(v.SignalType),
)
SIGNALS = st.builds(v.SignalsDescriptor, some(SIGNAL))
COMMANDS = st.builds(
    v.Command,
    st.sampled_from([v.CommandKind.ADD, v.CommandKind.MODIFY, v.CommandKind.MOVE]),
    st.lists(st.sampled_from(["$", "*", "a/1", "ROOT"]), min_size=1, max_size=3).map(tuple),
    st.tuples(MEDIA, EVENTS, SIGNALS),
    st.booleans(),
    st.booleans(),
)
CONTEXTS = st.builds(
    v.ContextProperties,
    priority=st.none() | UINT16,
    emergency=st.none() | st.booleans(),
    attributes=st.lists(properties(ITEMS), min_size=1, max_size=3).map(tuple),
)
ACTIONS = st.builds(
    v.Action, UINT32, st.lists(COMMANDS, min_size=1, max_size=2).map(tuple), st.none() | CONTEXTS
)
REQUESTS = st.builds(v.TransactionRequest, UINT32, st.lists(ACTIONS, min_size=1, max_size=2).map(tuple))


@given(REQUESTS, st.booleans())
def test_generated_requests(request: v.TransactionRequest, pretty: bool) -> None:
    message = v.Message(3, v.DeviceName("mg/1"), (request,))
    assert decode(encode(message, pretty=pretty)) == message


@given(ITEMS, st.lists(st.text(max_size=20), min_size=1, max_size=3))
def test_a_value_is_written_so_that_it_is_read_or_refused(name: str, texts: list[str]) -> None:
    stream = v.Stream(1, v.LocalControl(properties=(v.Property(name, tuple(texts), v.Relation.ALL_OF),)))
    command = v.Command(v.CommandKind.ADD, ("$",), (v.MediaDescriptor((stream,)),))
    message = v.Message(3, v.DeviceName("mg"), (v.TransactionRequest(1, (v.Action(1, (command,)),)),))
    lawful = all(char == "\t" or (" " <= char <= "~" and char != '"') for text in texts for char in text)
    if lawful:
        assert decode(encode(message)) == message
    else:
        with pytest.raises(H248Error):
            encode(message)


@pytest.mark.parametrize("octets", ["; a comment", "x\\", "\x00"])
def test_octets_that_would_be_read_otherwise_are_not_written(octets: str) -> None:
    command = v.Command(v.CommandKind.ADD, ("$",), (v.MediaDescriptor((v.Stream(1, local=octets),)),))
    message = v.Message(3, v.DeviceName("mg"), (v.TransactionRequest(1, (v.Action(1, (command,)),)),))
    with pytest.raises(H248Error):
        encode(message)


# -- as others write -------------------------------------------------------------------------------------------------

CHATTY = b"""  ; a comment before everything
MEGACO/1 <mgc.example>:2944 ; who
TRANSACTION = 9998 ; { not a bracket }
{
 context=-{ ServiceChange = Root { SERVICES { Method=Restart , Reason="901 Cold boot",
   Profile=ResGW/1,ServiceChangeAddress=55555, 20260102t03040506 } } }
}
"""


def test_spelling_and_comments() -> None:
    message = decode(CHATTY)
    assert message.version == 1
    assert message.mid == v.DomainName("mgc.example", 2944)
    request = message.transactions[0]
    assert isinstance(request, v.TransactionRequest)
    command = request.actions[0].commands[0]
    assert command.termination == "Root"
    assert command.find(v.ServiceChangeDescriptor) == v.ServiceChangeDescriptor(
        "Restart", "901 Cold boot", address=55555, profile="ResGW/1", timestamp="20260102T03040506"
    )


CALL = b"""MEGACO/1 [192.0.2.4]:55555
Transaction = 10003 {
   Context = $ {
      Add = A4444,
      Add = $ {
         Media {
            Stream = 1 {
               LocalControl { Mode = ReceiveOnly, nt/jit=40 ; milliseconds
               },
               Local {
v=0
c=IN IP4 $
m=audio $ RTP/AVP 4
               }
            }
         },
         Events = 2223 { al/on, dd/ce {DigitMap=Dialplan0} },
         DigitMap = Dialplan0 {
            (0s| 00s|[1-7]xlxx|8lxxxxxxx|*xx|9l011x.s)}
      }
   }
}"""


def test_a_call_in_the_manner_of_the_standard() -> None:
    request = decode(CALL).transactions[0]
    assert isinstance(request, v.TransactionRequest)
    first, second = request.actions[0].commands
    assert (first.termination, second.termination) == ("A4444", "$")
    media = second.find(v.MediaDescriptor)
    assert media is not None
    assert media.streams[0].local == "v=0\nc=IN IP4 $\nm=audio $ RTP/AVP 4"
    assert media.streams[0].local_control == v.LocalControl(
        v.StreamMode.RECEIVE_ONLY, properties=(v.Property("nt/jit", ("40",)),)
    )
    digits = second.find(v.DigitMapDescriptor)
    assert digits is not None
    assert (digits.name, (digits.value or "")[:4]) == ("Dialplan0", "(0s|")


def test_empty_descriptors_are_left_out() -> None:
    command = v.Command(
        v.CommandKind.ADD,
        ("$",),
        (v.MediaDescriptor((v.Stream(1, v.LocalControl()),), v.TerminationState()),),
    )
    subtract = v.Command(v.CommandKind.SUBTRACT, ("*",))
    action = v.Action(1, (command, subtract))
    written = encode(v.Message(3, v.DeviceName("m"), (v.TransactionRequest(1, (action,)),)))
    assert written == b"!/3 m\nT=1{C=1{A=$,S=*}}"


# -- refusals --------------------------------------------------------------------------------------------------------

REFUSED = {
    "empty": (b"", 400),
    "no transaction": (b"!/3 [1.2.3.4]", 400),
    "version 4": (b"!/4 [1.2.3.4] T=1{C=1{S=a}}", 406),
    "version 0": (b"!/0 [1.2.3.4] T=1{C=1{S=a}}", 406),
    "no address": (b"!/3 [1.2.3.400] T=1{C=1{S=a}}", 400),
    "port": (b"!/3 [1.2.3.4]:65536 T=1{C=1{S=a}}", 400),
    "transaction id": (b"!/3 m T=4294967296{C=1{S=a}}", 400),
    "number in other digits": ("!/3 m T=\u0663{C=1{S=a}}".encode(), 400),
    "context 0": (b"!/3 m T=1{C=0{S=a}}", 403),
    "context of all, as a number": (b"!/3 m T=1{C=4294967295{S=a}}", 403),
    "stream id": (b"!/3 m T=1{C=1{A=${M{ST=65536{O{MO=IN}}}}}}", 403),
    "empty stream": (b"!/3 m T=1{C=1{A=${M{ST=1{}}}}}", 403),
    "empty subtract": (b"!/3 m T=1{C=1{S=*{}}}", 403),
    "two media": (b"!/3 m T=1{C=1{A=${M{O{MO=IN}},M{O{MO=IN}}}}}", 403),
    "two modes": (b"!/3 m T=1{C=1{A=${M{O{MO=IN,MO=SR}}}}}", 403),
    "two locals": (b"!/3 m T=1{C=1{A=${M{L{a},L{b}}}}}", 403),
    "streams and parameters": (b"!/3 m T=1{C=1{A=${M{L{a},ST=1{R{b}}}}}}", 403),
    "descriptor of a reply": (b"!/3 m T=1{C=1{A=${ER=400{}}}}", 403),
    "notify of nothing": (b"!/3 m T=1{C=1{N=a}}", 403),
    "service change of nothing": (b"!/3 m T=1{C=1{SC=a{SV{}}}}", 403),
    "unknown command": (b"!/3 m T=1{C=1{X=a}}", 403),
    "unended quote": (b'!/3 m T=1{C=1{A=${M{O{a/b="x}}}}}', 403),
    "NUL in octets": (b"!/3 m T=1{C=1{A=${M{L{a\x00b}}}}}", 403),
    "rest behind": (b"!/3 m T=1{C=1{S=a}} x", 400),
    "rest behind an error": (b"!/3 m ER=400{} x", 400),
}


@pytest.mark.parametrize(("octets", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(octets: bytes, code: int) -> None:
    with pytest.raises(H248Error) as caught:
        decode(octets)
    assert caught.value.code == code
    assert caught.value.transaction_id == (1 if code == 403 else None)


ANSWERS = (
    b"!/3 m ER=400{x",
    b"!/3 m P=1{C=1{",
    b"!/3 m PN=x{}",
    b"!/3 m K{x}",
    b"!/3 m SM=1",
    b"!/9 m ER=406{}",
)


@pytest.mark.parametrize("octets", ANSWERS)
def test_faulty_answers_are_not_to_be_answered(octets: bytes) -> None:
    with pytest.raises(H248Error) as caught:
        decode(octets)
    assert not caught.value.answerable
    assert caught.value.transaction_id is None


def test_errors_do_not_repeat_what_was_sent() -> None:
    with pytest.raises(H248Error) as caught:
        decode(b"!/3 m T=1{C=1{A=${M{O{bfcpt/psk=00112233445566778899aabbccddeeff 12}}}}}")
    assert "0011" not in str(caught.value)


def test_a_key_does_not_show() -> None:
    assert "secret" not in repr(v.Property("bfcpt/psk", ("secret",)))
    assert "secret" not in repr(v.Property("BFCPT/PSK", ("secret",)))
    assert "shown" in repr(v.Property("bfcpt/pskid", ("shown",)))


# -- cost ------------------------------------------------------------------------------------------------------------

HEAD = b"!/3 m T=1{C=1{A=${M{O{"
COSTLY = {
    "brackets": b"{" * 500_000,
    "comments": HEAD + b";" * 500_000,
    "comment lines": HEAD + b";\n" * 250_000,
    "quotes": HEAD + b'a/b="' + b" " * 500_000,
    "blanks": HEAD + b" " * 500_000,
    "local without end": b"!/3 m T=1{C=1{A=${M{L{" + b"\\}" * 250_000,
    "almost local": HEAD + b"L ;\n" * 120_000,
    "digits": b"!/3 m T=" + b"1" * 500_000,
    "commas": HEAD + b"," * 500_000,
    "properties": HEAD + b"a/b=1," * 80_000,
    "commands": b"!/3 m T=1{C=1{" + b"A=a," * 120_000,
    "embedded": HEAD + b"EM{E=1{a/b{" * 40_000,
}


@pytest.mark.parametrize("octets", COSTLY.values(), ids=COSTLY.keys())
def test_cost_is_bounded(octets: bytes) -> None:
    started = time.process_time()
    with pytest.raises(H248Error):
        decode(octets)
    assert time.process_time() - started < 2


def test_too_long() -> None:
    with pytest.raises(H248Error, match="too long"):
        decode(b" " * (MAX_MESSAGE + 1))


# -- message identifiers ---------------------------------------------------------------------------------------------

IDENTIFIERS = {
    "[192.0.2.1]:2944": v.DomainAddress("192.0.2.1", 2944),
    "[2001:db8::1]": v.DomainAddress("2001:db8::1"),
    "[::]:1": v.DomainAddress("::", 1),
    "<mgc.example>": v.DomainName("mgc.example"),
    "<mgc-1.example>:2944": v.DomainName("mgc-1.example", 2944),
    "gw/1@example": v.DeviceName("gw/1@example"),
    "MTP{12AB}": v.MtpAddress("12AB"),
}


@pytest.mark.parametrize(("text", "mid"), IDENTIFIERS.items())
def test_message_identifiers(text: str, mid: v.MId) -> None:
    assert parse_mid(text) == mid
    assert format_mid(mid) == text


@pytest.mark.parametrize("text", ["", "[", "[1.2.3]", "<>", "a b", "[::1%lo]", "[::1]:", "MTP{xyz}", "<a"])
def test_no_message_identifiers(text: str) -> None:
    with pytest.raises(H248Error):
        parse_mid(text)
