"""The Mp procedures: both ways, and what each side refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.h248.messages import (
    ACKNOWLEDGEMENTS,
    CONFERENCE,
    CONFIGURE,
    CONFIGURE_RESERVED,
    INDICATIONS,
    MESSAGES,
    MP_MESSAGES,
    PROCEDURES,
    REGISTRATION,
    RESERVE,
)

from mrf_protocols.h248 import H248Error, decode, encode, mp
from mrf_protocols.h248 import values as v
from mrf_protocols.h248.mp.elements import ELEMENTS


def over_the_wire(*actions: v.Action) -> v.Action:
    message = v.Message(3, v.DeviceName("m"), (v.TransactionRequest(1, actions),))
    request = decode(encode(message)).transactions[0]
    assert isinstance(request, v.TransactionRequest)
    return request.actions[0]


def reply_over_the_wire(*actions: v.Action) -> v.TransactionReply:
    message = v.Message(3, v.DeviceName("m"), (v.TransactionReply(1, actions),))
    reply = decode(encode(message)).transactions[0]
    assert isinstance(reply, v.TransactionReply)
    return reply


def parsed(procedure: mp.Procedure) -> mp.Procedure:
    return read(over_the_wire(*mp.request_actions(procedure)))


def read(action: v.Action) -> mp.Procedure:
    if not action.commands:
        return mp.parse_context_request(action)
    return mp.parse_command(action, action.commands[0])


@pytest.mark.parametrize("procedure", PROCEDURES, ids=mp.procedure_name)
def test_procedures_arrive_as_they_left(procedure: mp.Procedure) -> None:
    got = parsed(procedure)
    if isinstance(procedure, mp.ReleaseBfcpTermination):
        procedure = replace(procedure, correlation="")  # SUBTRACT carries none
    assert got == procedure


@pytest.mark.parametrize(("procedure", "answer"), ACKNOWLEDGEMENTS)
def test_acknowledgements_arrive_as_they_left(procedure: mp.Procedure, answer: mp.Acknowledgement) -> None:
    assert mp.parse_reply(procedure, reply_over_the_wire(mp.reply_action(procedure, answer))) == answer


@pytest.mark.parametrize("indication", INDICATIONS, ids=mp.indication_name)
def test_indications_arrive_as_they_left(indication: mp.NotifyIndication) -> None:
    action = over_the_wire(*mp.notify_actions(indication, "20260102T03040506"))
    assert mp.parse_notify(action, action.commands[0]) == (indication,)
    mp.parse_notify_reply(reply_over_the_wire(mp.notify_reply_action(action, action.commands[0])))


@pytest.mark.parametrize("method", mp.ServiceMethod)
def test_service_changes_arrive_as_they_left(method: mp.ServiceMethod) -> None:
    change = mp.ServiceChange(method, 905, 2, "other/7", 30)
    action = over_the_wire(*mp.service_change_actions(change))
    assert mp.parse_service_change(action, action.commands[0]) == change
    accepted = mp.ServiceChangeAccepted(2, "other/7")
    assert (
        mp.parse_service_change_reply(reply_over_the_wire(mp.service_change_reply_action(accepted)))
        == accepted
    )


HOSTS = st.ip_addresses().map(str)
TEXTS = st.text(max_size=30).filter(lambda text: all(not "\ud800" <= char <= "\udfff" for char in text))
NAMES = st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1, max_size=12)
TOKENS = NAMES.filter(lambda text: '"' not in text)
CONFERENCES = st.builds(
    mp.Conference,
    st.integers(1, 0xFFFFFFFF),
    st.lists(
        st.builds(
            mp.Floor,
            st.integers(1, 0xFFFF),
            st.lists(TOKENS, max_size=2).map(tuple),
            st.integers(1, 0xFFFF),
            st.sampled_from(mp.FloorControlAlgorithm),
            st.sampled_from(mp.WithoutChair),
            st.integers(0, 0xFFFFFFFF),
            st.booleans(),
            st.none() | st.lists(st.integers(1, 0xFFFF), max_size=3).map(tuple),
            st.booleans(),
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda floor: floor.floor_id,
    ).map(tuple),
)
EVENTS = st.builds(
    mp.EventRequest,
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(1, 0xFFFF),
    st.integers(1, 0xFFFFFFFE),
    st.booleans(),
)


@given(
    st.builds(
        mp.ConfigureBfcpTermination,
        st.tuples(HOSTS, st.integers(1, 0xFFFF)),
        st.integers(1, 0xFFFF),
        st.just(v.CHOOSE_CONTEXT),
        CONFERENCES,
        st.just(mp.Transport.TCP_TLS_BFCP),
        st.sampled_from(mp.AddressFamily),
        st.binary(min_size=1, max_size=128),
        TOKENS,
        st.booleans(),
        st.booleans(),
        EVENTS,
        TEXTS,
        st.builds(mp.UserNames.fitting, TEXTS.map(lambda text: text * 9), TEXTS),
    )
)
def test_any_configuration(procedure: mp.ConfigureBfcpTermination) -> None:
    assert parsed(procedure) == procedure


def test_names_fit_into_bfcp_attributes() -> None:
    """A name is cut on the border of a character; a part of a URI would be another URI."""
    assert mp.UserNames.fitting("é" * 127, "x" * 253) == mp.UserNames("é" * 126, "x" * 253)
    assert mp.UserNames.fitting("", "x" * 254) == mp.UserNames()


def test_without_tls() -> None:
    plain = replace(CONFIGURE, transport=mp.Transport.TCP_BFCP, psk=None, psk_identity=None)
    assert parsed(plain) == plain


def test_the_key_is_in_the_message_and_nowhere_else() -> None:
    assert CONFIGURE.psk is not None
    assert CONFIGURE.psk.hex().encode() in encode(next(iter(MP_MESSAGES.values())))
    assert CONFIGURE.psk.hex() not in repr(next(iter(MP_MESSAGES.values())))
    assert "psk=" not in repr(CONFIGURE)
    assert "psk=" not in repr(CONFIGURE_RESERVED)
    assert CONFIGURE.psk.hex() not in repr(mp.describe_request(1, CONFIGURE))


def test_tls_client_and_tcp_client_are_signals() -> None:
    (action,) = mp.request_actions(CONFIGURE_RESERVED)
    signals = action.commands[0].find(v.SignalsDescriptor)
    assert signals == v.SignalsDescriptor((v.Signal("tcpbcc/EstBNC"), v.Signal("tlsbsc/EstBNC")))
    (action,) = mp.request_actions(replace(CONFIGURE_RESERVED, start_tcp=False, start_tls=False))
    assert action.commands[0].find(v.SignalsDescriptor) is None


# -- what the MRFP refuses -------------------------------------------------------------------------------------------

LOCAL = "L{v=0\nc=IN IP4 $\nm=application $ TCP/TLS/BFCP *}"
REMOTE = "R{v=0\nc=IN IP4 192.0.2.7\nm=application 40000 TCP/TLS/BFCP *}"
STATE = "TS{bfcpt/user=7}"
KEYS = "O{bfcpt/psk=00ff,bfcpt/pskid=a.1}"
CONTEXT = 'CT{bfcpc/conf=1,bfcpc/floors=[1],bfcpc/maxh=["1=1"]}'
GOOD = f"C=${{{CONTEXT},A=${{M{{{STATE},ST=1{{{KEYS},{LOCAL},{REMOTE}}}}}}}}}"


def refusal(text: str) -> int:
    request = decode(f"!/3 m T=1{{{text}}}".encode()).transactions[0]
    assert isinstance(request, v.TransactionRequest)
    action = request.actions[0]
    with pytest.raises(H248Error) as caught:
        read(action)
    assert caught.value.text
    assert "00ff" not in caught.value.text
    return caught.value.code


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def beside(descriptor: str) -> str:
    return GOOD[:-2] + "," + descriptor + GOOD[-2:]


def test_the_good_one_is_good() -> None:
    request = decode(f"!/3 m T=1{{{GOOD}}}".encode()).transactions[0]
    assert isinstance(request, v.TransactionRequest)
    procedure = mp.parse_command(request.actions[0], request.actions[0].commands[0])
    assert procedure == mp.ConfigureBfcpTermination(
        ("192.0.2.7", 40000),
        7,
        conference=mp.Conference(1, (mp.Floor(1),)),
        psk=b"\x00\xff",
        psk_identity="a.1",
        events=mp.EventRequest(False, False, False),
    )


REFUSED = {
    "termination not chosen by us": (changed("A=$", "A=x/1"), 410),
    "two terminations": (changed("A=$", "A=[$,x]"), 501),
    "null context": (changed("C=$", "C=-"), 421),
    "all contexts": (changed("C=$", "C=*"), 421),
    "no media": ("C=1{A=$}", 441),
    "no local": (changed(f",{LOCAL}", ""), 441),
    "key without remote": (changed(f",{REMOTE}", ""), 441),
    "two streams": (GOOD[:-3] + f",ST=2{{{LOCAL}}}" + GOOD[-3:], 501),
    "local address given": (
        changed("c=IN IP4 $\nm=application $", "c=IN IP4 192.0.2.1\nm=application 1"),
        449,
    ),
    "remote address asked": (changed("m=application 40000", "m=application $"), 449),
    "remote name": (changed("192.0.2.7", "ue.example"), 449),
    "remote of the other family": (changed("IN IP4 192.0.2.7", "IN IP6 192.0.2.7"), 449),
    "remote port": (changed("40000", "70000"), 449),
    "remote transport": (changed("40000 TCP/TLS/BFCP", "40000 TCP/BFCP"), 449),
    "other transport": (GOOD.replace("TCP/TLS/BFCP", "UDP/BFCP"), 515),
    "other media": (GOOD.replace("m=application", "m=audio"), 515),
    "no connection line": (changed("c=IN IP4 $\n", ""), 449),
    "no user": (changed("bfcpt/user=7", "bfcpt/corr=a"), 472),
    "user 0": (changed("user=7", "user=0"), 449),
    "user too large": (changed("user=7", "user=65536"), 449),
    "user as a relation": (changed("user=7", "user>7"), 449),
    "name that no BFCP attribute holds": (changed("user=7", f'user=7,bfcpt/name="{"x" * 254}"'), 449),
    "several URIs": (changed("user=7", "user=7,bfcpt/uri=[a,b]"), 449),
    "no key": (changed("bfcpt/psk=00ff,", ""), 472),
    "no key identity": (changed(",bfcpt/pskid=a.1", ""), 472),
    "odd key": (changed("00ff", "00fff"), 449),
    "key without TLS": (GOOD.replace("TCP/TLS/BFCP", "TCP/BFCP"), 473),
    "unknown package": (changed("bfcpt/user=7", "bfcpt/user=7,xyz/a=1"), 440),
    "unknown property": (changed("bfcpt/user=7", "bfcpt/user=7,bfcpt/a=1"), 445),
    "property twice": (changed("bfcpt/user=7", "bfcpt/user=7,bfcpt/user=7"), 456),
    "unknown signal": (beside("SG{tcpbcc/RelBNC}"), 452),
    "signal of an unknown package": (beside("SG{cg/rt}"), 440),
    "unknown event": (beside("E=1{tcpbcc/other}"), 451),
    "unknown change": (beside("E=1{tcpbcc/BNCChange{Type=Est}}"), 454),
    "heartbeat without interval": (beside("E=1{hangterm/thb}"), 457),
    "other descriptor": (beside("EB"), 444),
    "new context without conference": (changed(CONTEXT + ",", ""), 472),
    "conference without floors": (changed("bfcpc/floors=[1],", ""), 472),
    "conference without holders": (changed(',bfcpc/maxh=["1=1"]', ""), 472),
    "holders of another floor": (changed('["1=1"]', '["2=1"]'), 449),
    "floor twice": (changed("floors=[1]", "floors=[1,1]"), 449),
    "other algorithm": (changed("bfcpc/conf=1", 'bfcpc/conf=1,bfcpc/alg=["1=random"]'), 449),
    "algorithm of another floor": (changed("bfcpc/conf=1", 'bfcpc/conf=1,bfcpc/alg=["2=fcfs"]'), 449),
    "other way without chair": (changed("bfcpc/conf=1", 'bfcpc/conf=1,bfcpc/nochair=["1=x"]'), 449),
    "no holding time": (changed("bfcpc/conf=1", 'bfcpc/conf=1,bfcpc/maxt=["1=0"]'), 449),
    "priority of another floor": (changed("bfcpc/conf=1", "bfcpc/conf=1,bfcpc/noprio=[2]"), 449),
    "no grace at all": (changed("bfcpc/conf=1", "bfcpc/conf=1,bfcpc/grace=0"), 449),
    "confirmed floor of another conference": (changed("bfcpc/conf=1", "bfcpc/conf=1,bfcpc/confirm=[2]"), 449),
    "asker that is no user": (changed("bfcpc/conf=1", 'bfcpc/conf=1,bfcpc/ask=["1=70000"]'), 449),
    "context properties without conference": ("C=1{CT{bfcpc/floors=[1]}}", 472),
    "context properties of a new context": (f"C=${{{CONTEXT}}}", 421),
    "nothing at all": ("C=1{PR=1}", 501),
    "chair of what is no floor": ("C=1{MF=x/1{M{TS{bfcpt/chair=[70000]}}}}", 449),
    "chair and user": ("C=1{MF=x/1{M{TS{bfcpt/chair=[1],bfcpt/user=7}}}}", 445),
    "decision without request": ("C=1{MF=x/1{SG{bfcpt/decide{Dec=grant}}}}", 457),
    "unknown decision": ("C=1{MF=x/1{SG{bfcpt/decide{Req=1,Dec=perhaps}}}}", 449),
    "unknown parameter": ("C=1{MF=x/1{SG{bfcpt/decide{Req=1,Dec=grant,Xyz=1}}}}", 446),
    "unknown result": ("C=1{MF=x/1{SG{bfcpt/media{Req=1,Res=perhaps}}}}", 449),
    "request 0": ("C=1{MF=x/1{SG{bfcpt/media{Req=0,Res=Done}}}}", 449),
    "modify of a new context": ("C=${MF=x/1{M{" + REMOTE + "}}}", 421),
    "modify without remote": ("C=1{MF=x/1{M{" + KEYS + "}}}", 441),
    "subtract of a new context": ("C=${S=x/1}", 421),
    "subtract one of all": ("C=*{S=x/1}", 430),
    "move": ("C=1{MV=x/1}", 443),
    "audit of a termination": ("C=1{AV=x/1{AT{M}}}", 501),
}


@pytest.mark.parametrize(("text", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_by_the_mrfp(text: str, code: int) -> None:
    assert refusal(text) == code


# -- what the MRFC refuses -------------------------------------------------------------------------------------------

WRONG_REPLIES = {
    "another command": v.Action(12, (v.Command(v.CommandKind.MODIFY, ("a",)),)),
    "no command": v.Action(12),
    "no local": v.Action(12, (v.Command(v.CommandKind.ADD, ("a",)),)),
    "context not chosen": mp.reply_action(
        CONFIGURE, mp.TerminationConfigured(v.CHOOSE_CONTEXT, "a", ("192.0.2.1", 1))
    ),
    "termination not chosen": mp.reply_action(CONFIGURE, mp.TerminationConfigured(12, "$", ("192.0.2.1", 1))),
    "other family": mp.reply_action(CONFIGURE, mp.TerminationConfigured(12, "a", ("2001:db8::1", 1))),
}


@pytest.mark.parametrize("action", WRONG_REPLIES.values(), ids=WRONG_REPLIES.keys())
def test_replies_that_do_not_fit(action: v.Action) -> None:
    with pytest.raises(H248Error) as caught:
        mp.parse_reply(CONFIGURE, reply_over_the_wire(action))
    assert caught.value.code == 401


def test_reply_of_another_context() -> None:
    answer = mp.TerminationConfigured(13, "a", ("2001:db8::1", 1))
    with pytest.raises(H248Error):
        mp.parse_reply(RESERVE, reply_over_the_wire(mp.reply_action(RESERVE, answer)))


def test_errors_of_all_places_are_found() -> None:
    error = v.ErrorDescriptor(510, "full")
    (action,) = mp.request_actions(CONFIGURE)
    for reply in (
        v.TransactionReply(1, error=error),
        v.TransactionReply(1, (v.Action(1, error=error),)),
        v.TransactionReply(1, (mp.error_action(action, action.commands[0], H248Error(510, "full")),)),
    ):
        with pytest.raises(H248Error, match="510 full"):
            mp.parse_reply(CONFIGURE, reply)
        with pytest.raises(H248Error, match="510 full"):
            mp.parse_notify_reply(reply)


def test_remote_that_is_no_literal() -> None:
    with pytest.raises(H248Error):
        mp.request_actions(replace(CONFIGURE, remote=("ue.example", 1)))


def test_unknown_indication() -> None:
    action = over_the_wire(*mp.notify_actions(INDICATIONS[0]))
    event = v.ObservedEvent("al/of")
    command = replace(action.commands[0], descriptors=(v.ObservedEventsDescriptor(1, (event,)),))
    with pytest.raises(H248Error) as caught:
        mp.parse_notify(action, command)
    assert caught.value.code == 440


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"Req": "1", "State": "Granted"}, 457),
        ({"Req": "1", "Floors": "1"}, 457),
        ({"Req": "1", "Floors": "1", "State": "Perhaps"}, 449),
        ({"Req": "1", "Floors": "x", "State": "Granted"}, 449),
        ({"Req": "1", "Floors": "1", "State": "Granted", "Other": "1"}, 446),
    ],
)
def test_reports_that_cannot_be_read(parameters: dict[str, str], code: int) -> None:
    action = over_the_wire(*mp.notify_actions(INDICATIONS[0]))
    properties = tuple(v.Property(name, (value,)) for name, value in parameters.items())
    observed = v.ObservedEventsDescriptor(1, (v.ObservedEvent("bfcpt/frd", properties),))
    command = replace(action.commands[0], descriptors=(observed,))
    with pytest.raises(H248Error) as caught:
        mp.parse_notify(action, command)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("descriptor", "context", "termination"),
    [
        (v.ServiceChangeDescriptor("Restart", "901"), v.NULL_CONTEXT, "a/1"),
        (v.ServiceChangeDescriptor("Restart", "901"), 5, "ROOT"),
        (v.ServiceChangeDescriptor("X-own", "901"), v.NULL_CONTEXT, "ROOT"),
    ],
)
def test_service_changes_that_are_not_ours(
    descriptor: v.ServiceChangeDescriptor, context: int, termination: str
) -> None:
    command = v.Command(v.CommandKind.SERVICE_CHANGE, (termination,), (descriptor,))
    with pytest.raises(H248Error):
        mp.parse_service_change(v.Action(context, (command,)), command)


def test_registration_travels_in_version_1_and_carries_3() -> None:
    assert mp.REGISTRATION_VERSION == 1
    assert REGISTRATION.version == 3
    assert encode(MESSAGES["registration"]).startswith(b"!/1 ")
    assert b"V=3" in encode(MESSAGES["registration"])


# -- in words --------------------------------------------------------------------------------------------------------


def test_descriptions() -> None:
    request = mp.describe_request(7, CONFIGURE)
    assert (request.name, request.key) == ("Add request: Configure BFCP Termination", "7 request")
    assert request.fields["remote"] == "192.0.2.7:40000"
    assert request.fields["psk_identity"] == "55667788.1"
    procedure, answer = ACKNOWLEDGEMENTS[1]
    reply = mp.describe_reply(v.TransactionReply(7, (mp.reply_action(procedure, answer),)), procedure)
    assert (reply.name, reply.key) == ("Add reply", "7 reply")
    assert reply.fields == {"context": "12", "termination": "bfcp/5", "local": "[2001:db8::2]:5000"}
    refused = mp.describe_reply(v.TransactionReply(7, error=v.ErrorDescriptor(510, "full")), procedure)
    assert (refused.name, refused.fields) == ("Add reply: 510", {"error": "510 full"})
    odd = mp.reply_action(CONFIGURE, mp.TerminationConfigured(1, "a", ("::1", 1)))
    broken = v.MediaDescriptor((v.Stream(1, local="nonsense"),))
    odd = replace(odd, commands=(replace(odd.commands[0], descriptors=(broken,)),))
    assert "local" not in mp.describe_reply(v.TransactionReply(7, (odd,)), CONFIGURE).fields


def test_descriptions_of_floor_procedures() -> None:
    names = {
        mp.describe_request(1, procedure).name: mp.describe_request(1, procedure).fields
        for procedure in PROCEDURES
    }
    assert names["Context request: Configure Conference For Floor Control"]["conference"] == "4711"
    assert names["Modify request: Designate Floor Chair"]["floor"] == "none"
    assert names["Modify request: Floor Request Decision"]["decision"] == "revoke"
    assert names["Modify request: Confirm Media Update"]["media"] == "not changed"
    told = mp.describe_notify(3, INDICATIONS[-2])
    assert told.name == "Notify request: Report Floor Request Decision"
    assert told.fields["state"] == "Accepted"


def test_every_element_is_used_by_a_message() -> None:
    written = b"".join(map(encode, MP_MESSAGES.values()))
    assert [item.identifier for item in ELEMENTS if item.identifier.encode() not in written] == []
    assert CONFERENCE.conference_id == 4711
