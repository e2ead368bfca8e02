"""Messages of every kind, as values: what the codec and the interoperability tests are fed with."""

from __future__ import annotations

from mrf_protocols.h248 import mp
from mrf_protocols.h248 import values as v

SDP = "v=0\r\nc=IN IP4 $\r\nm=audio $ RTP/AVP 0\r\na=ptime:30"
TERMINATION = "bfcp/5"
CONFERENCE = mp.Conference(4711, (mp.Floor(1, ("10",)), mp.Floor(2, ("11", "12"), 3)))
POLICIES = mp.Conference(
    4711,
    (
        mp.Floor(1, ("10",)),
        mp.Floor(
            2,
            ("11",),
            2,
            mp.FloorControlAlgorithm.CHAIR,
            mp.WithoutChair.DENY,
            max_holding_time=300,
            honour_priority=False,
            allowed_users=(7, 9),
            confirm_media=True,
        ),
        mp.Floor(3, allowed_users=()),
    ),
    grace=20,
)
CONFIGURE = mp.ConfigureBfcpTermination(
    ("192.0.2.7", 40000),
    7,
    conference=CONFERENCE,
    psk=bytes(range(16)),
    psk_identity="55667788.1",
    start_tcp=True,
    events=mp.EventRequest(tls_established=True, heartbeat=60, floor_decisions=True),
    correlation='3848276298220188511@"atlanta".example',
    names=mp.UserNames('Zoë "Z" Grün', "sip:zoe@ue.example"),
)
RESERVE = mp.ReserveBfcpTermination(8, context=12, family=mp.AddressFamily.IP6, correlation="abc")
CONFIGURE_RESERVED = mp.ConfigureReservedBfcpTermination(
    12,
    TERMINATION,
    ("2001:db8::1", 50000),
    psk=b"\xff" * 32,
    psk_identity="a.2",
    start_tcp=True,
    start_tls=True,
    correlation="abc",
)
RELEASE = mp.ReleaseBfcpTermination(12, TERMINATION)
PROCEDURES: tuple[mp.Procedure, ...] = (
    CONFIGURE,
    RESERVE,
    CONFIGURE_RESERVED,
    RELEASE,
    mp.ReleaseBfcpTermination(12),
    mp.ReleaseBfcpTermination(v.ALL_CONTEXTS),
    mp.AuditHeartbeat(),
    mp.ConfigureConference(12, POLICIES),
    mp.DesignateFloorChair(12, TERMINATION, (1, 2), "abc"),
    mp.DesignateFloorChair(12, TERMINATION, ()),
    mp.FloorRequestDecision(12, TERMINATION, 5, mp.Decision.REVOKE, 'time is "over", 100 %'),
    mp.ConfirmMediaUpdate(12, TERMINATION, 5),
    mp.ConfirmMediaUpdate(12, TERMINATION, 5, False, "no mixer"),
)
ACKNOWLEDGEMENTS: tuple[tuple[mp.Procedure, mp.Acknowledgement], ...] = (
    (CONFIGURE, mp.TerminationConfigured(12, TERMINATION, ("192.0.2.1", 5000))),
    (RESERVE, mp.TerminationConfigured(12, TERMINATION, ("2001:db8::2", 5000))),
    (CONFIGURE_RESERVED, mp.TerminationConfigured(12, TERMINATION)),
    (RELEASE, mp.TerminationReleased(12, TERMINATION)),
    (mp.ReleaseBfcpTermination(12), mp.TerminationReleased(12)),
    (mp.AuditHeartbeat(), mp.HeartbeatAnswered()),
    (mp.ConfigureConference(12, POLICIES), mp.ContextConfigured(12)),
    (mp.DesignateFloorChair(12, TERMINATION, (1,)), mp.TerminationConfigured(12, TERMINATION)),
    (
        mp.FloorRequestDecision(12, TERMINATION, 5, mp.Decision.GRANT),
        mp.TerminationConfigured(12, TERMINATION),
    ),
    (mp.ConfirmMediaUpdate(12, TERMINATION, 5), mp.TerminationConfigured(12, TERMINATION)),
)
INDICATIONS: tuple[mp.NotifyIndication, ...] = (
    mp.TcpEstablishmentFailed(12, TERMINATION, "refused"),
    mp.TlsEstablishmentFailed(12, TERMINATION, 'no "ClientHello", 100 %'),
    mp.BearerReleased(12, TERMINATION),
    mp.TlsEstablished(12, TERMINATION, "TLSv1.3 TLS_AES_128_GCM_SHA256", 9),
    mp.TerminationHeartbeat(12, TERMINATION),
    mp.FloorRequestReport(
        12, TERMINATION, 5, (1, 2), mp.FloorRequestState.ACCEPTED, (3, 1), 9, "please, 1 %", 4
    ),
    mp.FloorRequestReport(12, TERMINATION, 65535, (2,), mp.FloorRequestState.GRANTED),
)
REGISTRATION = mp.ServiceChange(mp.ServiceMethod.RESTART, 901)


def _request(*actions: v.Action) -> v.Message:
    return v.Message(3, v.DomainAddress("192.0.2.1", 2944), (v.TransactionRequest(10, actions),))


def _reply(*actions: v.Action) -> v.Message:
    return v.Message(3, v.DomainName("mg.example", 2944), (v.TransactionReply(10, actions),))


FACTS = mp.TerminationFacts(
    12,
    TERMINATION,
    7,
    mp.Transport.TCP_TLS_BFCP,
    ("192.0.2.20", 5000),
    ("192.0.2.7", 40000),
    "55667788.1",
    start_tcp=True,
    correlation="abc",
)
INVENTORY = mp.Inventory(mp.RootFacts(v.ServiceState.IN_SERVICE, 100, 200, 1.0), {12: CONFERENCE}, (FACTS,))
EVERYTHING = v.AuditDescriptor(
    (
        v.AuditToken.MEDIA,
        v.AuditToken.EVENTS,
        v.AuditToken.SIGNALS,
        v.AuditToken.PACKAGES,
        v.AuditToken.STATISTICS,
    )
)


def _audits() -> dict[str, tuple[v.Action, ...]]:
    def asked(kind: v.CommandKind, context: int, name: str) -> tuple[v.Action, ...]:
        command = v.Command(kind, (name,), (EVERYTHING,))
        return mp.audit(v.Action(context, (command,)), command, INVENTORY)

    return {
        "Audit of ROOT": asked(v.CommandKind.AUDIT_VALUE, v.NULL_CONTEXT, v.ROOT),
        "Audit of a termination": asked(v.CommandKind.AUDIT_VALUE, 12, TERMINATION),
        "Audit of capabilities": asked(v.CommandKind.AUDIT_CAPABILITY, 12, TERMINATION),
    }


def _mp_messages() -> dict[str, v.Message]:
    found = {}
    for number, procedure in enumerate(PROCEDURES):
        found[f"{number} {mp.procedure_name(procedure)}"] = _request(*mp.request_actions(procedure))
    for number, (procedure, answer) in enumerate(ACKNOWLEDGEMENTS):
        found[f"{number} {mp.procedure_name(procedure)} reply"] = _reply(mp.reply_action(procedure, answer))
    for number, indication in enumerate(INDICATIONS):
        name = f"{number} {mp.indication_name(indication)}"
        actions = mp.notify_actions(indication, "20260102T03040506")
        found[name] = _request(*actions)
        reply = mp.notify_reply_action(actions[0], actions[0].commands[0])
        found[name + " reply"] = _reply(reply)
    found["Watch MRFP"] = _request(*mp.watch_actions(mp.WatchMrfp(inactivity=30)))
    found["congestion"] = _request(*mp.root_notify_actions(mp.MrfpCongestion(50)))
    found["inactivity"] = _request(*mp.root_notify_actions(mp.MrfcInactivity()))
    found |= {f"{name} answer": _reply(*actions) for name, actions in _audits().items()}
    actions = mp.service_change_actions(REGISTRATION)
    found["registration"] = v.Message(1, v.DeviceName("mrfp1"), (v.TransactionRequest(1, actions),))
    accepted = mp.service_change_reply_action(mp.ServiceChangeAccepted())
    found["registration reply"] = v.Message(1, v.DeviceName("mgc"), (v.TransactionReply(1, (accepted,)),))
    return found


_SIGNAL = v.Signal(
    "cg/rt",
    (v.Property("volume", ("3",)),),
    1,
    v.SignalType.TIME_OUT,
    300,
    (v.NotificationReason.TIME_OUT, v.NotificationReason.OTHER),
    True,
    v.SignalDirection.EXTERNAL,
    8,
    20,
)
_SIGNALS = v.SignalsDescriptor((_SIGNAL, v.SignalList(4, (v.Signal("cg/bt"), v.Signal("cg/ct")))))
_EMBED = v.Embed(
    v.SignalsDescriptor((v.Signal("cg/dt"),)),
    v.EventsDescriptor(6, (v.RequestedEvent("al/on", embed=v.Embed(v.SignalsDescriptor())),)),
)
_EVENTS = v.EventsDescriptor(
    5,
    (
        v.RequestedEvent("al/of", (v.Property("strict", ("exact",)),), 1, True, _EMBED, reset_events=True),
        v.RequestedEvent("dd/ce", digit_map=v.DigitMapDescriptor("dialplan0")),
        v.RequestedEvent("dd/ce", digit_map=v.DigitMapDescriptor(None, "(0|00|[1-7]xxx)")),
        v.RequestedEvent("al/fl", notify=v.NotifyBehaviour(v.NotifyKind.REGULATED, _EMBED)),
        v.RequestedEvent("al/on", notify=v.NotifyBehaviour(v.NotifyKind.NEVER)),
    ),
)
_MEDIA = v.MediaDescriptor(
    (
        v.Stream(
            1,
            v.LocalControl(
                v.StreamMode.SEND_RECEIVE,
                True,
                False,
                (
                    v.Property("x/eq", ("a b",)),
                    v.Property("x/ne", ("1",), v.Relation.NOT_EQUAL),
                    v.Property("x/lt", ("2",), v.Relation.LESS),
                    v.Property("x/gt", ("3",), v.Relation.GREATER),
                    v.Property("x/range", ("1", "9"), v.Relation.RANGE),
                    v.Property("x/all", ("1", "2"), v.Relation.ALL_OF),
                    v.Property("x/any", ("", "Local"), v.Relation.ANY_OF),
                ),
            ),
            SDP,
            SDP,
            v.StatisticsDescriptor((v.Statistic("nt/dur", ("1",)),)),
        ),
        v.Stream(2, v.LocalControl(v.StreamMode.INACTIVE)),
    ),
    v.TerminationState(
        v.ServiceState.OUT_OF_SERVICE, v.EventBufferControl.LOCK_STEP, (v.Property("ab/c", ("1",)),)
    ),
)
_PROPERTIES = v.ContextProperties(
    (
        v.Topology("a/1", "a/2", v.TopologyDirection.ONEWAY),
        v.Topology("a/1", "a/3", v.TopologyDirection.BOTHWAY, 2, v.TopologyDirection.ONEWAY_BOTH),
    ),
    15,
    True,
    False,
    (v.Property("ab/cd", ("1",)), v.Property("ab/ce", ("x", "y"), v.Relation.ALL_OF)),
)
_AUDIT = v.AuditDescriptor(
    (
        v.AuditToken.SIGNALS,
        v.IndAudMedia(
            (
                v.IndAudStream(
                    2,
                    local_control=v.IndAudLocalControl(
                        ("ReservedGroup",),
                        v.StreamMode.INACTIVE,
                        v.Relation.EQUAL,
                        (v.IndAudProperty("a/b"), v.IndAudProperty("a/c", ("1",), v.Relation.LESS)),
                    ),
                ),
                v.IndAudStream(
                    3,
                    statistics=v.IndAudStatistics("nt/os"),
                ),
            ),
            v.IndAudTerminationState((), v.ServiceState.TEST),
        ),
        v.IndAudEvents("al/of", 4),
        v.IndAudEventBuffer("al/on", parameter="strict"),
        v.IndAudSignals(v.Signal("cg/rt")),
        v.IndAudSignals(v.Signal("ct/ct"), 4321),
        v.IndAudDigitMap("dialplan0"),
        v.IndAudStatistics("nt/dur"),
        v.IndAudPackages(v.PackageItem("al", 1)),
    )
)
_AUDIT_RETURN: tuple[v.Descriptor, ...] = (
    _MEDIA,
    v.AuditReturnItem(v.AuditToken.PACKAGES),
    v.EventsDescriptor(),
    v.SignalsDescriptor(),
    v.EventBufferDescriptor((v.ObservedEvent("al/on"),)),
    v.DigitMapDescriptor("dialplan0", "T:1,S:23,(0|00)"),
    v.StatisticsDescriptor((v.Statistic("nt/dur"), v.Statistic("nt/os", ("1", "2"), sublist=True))),
    v.PackagesDescriptor((v.PackageItem("al", 1), v.PackageItem("cg", 2))),
    v.ObservedEventsDescriptor(
        4, (v.ObservedEvent("al/of", (v.Property("a", ("b",)),), 1, "20260102T03040506"),)
    ),
    v.MuxDescriptor("H223", ("a/1", "a/2")),
    v.ErrorDescriptor(500),
)


def _grammar_messages() -> dict[str, v.Message]:
    add, modify = v.CommandKind.ADD, v.CommandKind.MODIFY
    return {
        "everything": _request(
            v.Action(
                v.CHOOSE_CONTEXT,
                (
                    v.Command(add, ("$",), (_MEDIA, _EVENTS, _SIGNALS, v.DigitMapDescriptor("d", "x.S"))),
                    v.Command(modify, ("a/1", "a/2"), (v.MuxDescriptor("H221", ("a/3",)),), optional=True),
                    v.Command(v.CommandKind.MOVE, ("*",), (v.EventBufferDescriptor(),), wildcard=True),
                    v.Command(v.CommandKind.SUBTRACT, ("a/4",), (v.AuditDescriptor(),), True, True),
                ),
                _PROPERTIES,
            )
        ),
        "one stream": _request(
            v.Action(
                1,
                (
                    v.Command(
                        add, ("$",), (v.MediaDescriptor((v.Stream(None, local=SDP),)), v.SignalsDescriptor())
                    ),
                ),
            )
        ),
        "audit": _request(
            v.Action(
                v.ALL_CONTEXTS,
                (
                    v.Command(v.CommandKind.AUDIT_VALUE, ("*",), (_AUDIT,)),
                    v.Command(
                        v.CommandKind.AUDIT_CAPABILITY, ("a/1",), (v.AuditDescriptor((v.AuditToken.MEDIA,)),)
                    ),
                ),
                None,
                v.ContextAudit(
                    True,
                    True,
                    True,
                    True,
                    ("ab/cd",),
                    v.ContextProperties(priority=3, emergency=False, ieps=True),
                    v.SelectLogic.OR,
                ),
            )
        ),
        "audit reply": _reply(
            v.Action(
                1,
                (
                    v.Command(v.CommandKind.AUDIT_VALUE, ("a/1",), _AUDIT_RETURN),
                    v.Command(v.CommandKind.AUDIT_VALUE, ("a/1", "a/2"), context_audit=True),
                    v.Command(
                        v.CommandKind.AUDIT_CAPABILITY,
                        (),
                        (v.ErrorDescriptor(431, "none"),),
                        context_audit=True,
                    ),
                ),
                v.ContextProperties(context_list=(1, 2, 3)),
                error=v.ErrorDescriptor(500, "stopped"),
            ),
            v.Action(2),
        ),
        "service change": _request(
            v.Action(
                v.NULL_CONTEXT,
                (
                    v.Command(
                        v.CommandKind.SERVICE_CHANGE,
                        ("ROOT",),
                        (
                            v.ServiceChangeDescriptor(
                                "HandOff",
                                "903 MGC directed",
                                10,
                                None,
                                v.DomainAddress("2001:db8::9", 2944),
                                "resgw/1",
                                3,
                                "20260102T03040506",
                                True,
                                (v.Property("X-foo", ("1",)),),
                            ),
                        ),
                    ),
                    v.Command(
                        v.CommandKind.SERVICE_CHANGE,
                        ("a/1",),
                        (v.ServiceChangeDescriptor("Forced", "905 x", address=55555),),
                    ),
                ),
            )
        ),
        "transactions": v.Message(
            3,
            v.DomainAddress("2001:db8::1"),
            (
                v.TransactionPending(1),
                v.TransactionResponseAck(((1, 1), (3, 9))),
                v.TransactionReply(5, (), v.ErrorDescriptor(413, "too many"), True),
                v.TransactionReply(6, (v.Action(1),), None, False, 2, True),
                v.TransactionReply(6, (v.Action(1),), None, False, 1),
                v.SegmentReply(4, 2, True),
            ),
            auth=v.AuthenticationHeader("0123abcd", "00000001", "ab" * 12),
        ),
        "message error": v.Message(2, v.MtpAddress("12AB"), error=v.ErrorDescriptor(406, "Version")),
    }


def _beyond_otp() -> dict[str, v.Message]:
    """Lawful messages that Erlang/OTP 25 cannot read: its scanner has no escaped brace and another word for Iteration;
    its grammar has no "#" in a selection and no line break after a segment."""
    escaped = v.Stream(1, local="a=x:{braces\\}", remote="}}\\} }")
    selecting = v.IndAudLocalControl((), v.StreamMode.INACTIVE, v.Relation.NOT_EQUAL)
    streams = (
        v.IndAudStream(1, ""),
        v.IndAudStream(1, remote="m=audio"),
        v.IndAudStream(2, local_control=selecting),
    )
    state = v.IndAudTerminationState((), v.ServiceState.TEST, v.Relation.NOT_EQUAL)
    audit = v.AuditDescriptor((v.IndAudMedia(streams, state),))
    signal = v.Signal("a/b", notify_completion=(v.NotificationReason.ITERATION,))
    change = v.ServiceChangeDescriptor("Forced", "905", audit=(v.AuditToken.MEDIA, v.IndAudDigitMap("d")))
    return {
        "escaped braces": _request(
            v.Action(
                1,
                (
                    v.Command(
                        v.CommandKind.ADD,
                        ("$",),
                        (v.MediaDescriptor((escaped,)), v.SignalsDescriptor((signal,))),
                    ),
                ),
            )
        ),
        "audit of Local": _request(v.Action(1, (v.Command(v.CommandKind.AUDIT_VALUE, ("*",), (audit,)),))),
        "service change with audit": _request(
            v.Action(1, (v.Command(v.CommandKind.SERVICE_CHANGE, ("*",), (change,)),))
        ),
        "segment first": v.Message(
            3,
            v.DeviceName("a/b"),
            (v.SegmentReply(4, 2), v.SegmentReply(4, 3, True), v.TransactionPending(1)),
        ),
    }


MP_MESSAGES = _mp_messages()
READABLE_BY_OTP = MP_MESSAGES | _grammar_messages()
MESSAGES = READABLE_BY_OTP | _beyond_otp()
