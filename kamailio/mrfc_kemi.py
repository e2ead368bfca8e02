"""The MRFC inside Kamailio: the script that app_python3 loads, and the only file that knows KSR.

SIP workers take requests apart, suspend their transactions and post jobs; the engine, an asyncio loop in one Kamailio
process, answers. What the focus does with them is in the package mrfc, which knows nothing of Kamailio.

Environment: MRFC_CONFIG is the configuration file (default /etc/ims-floor-control/mrfc.toml); MRFC_SITE is the
site-packages folder of the virtual environment with this project (default below /opt/ims-floor-control/venv).
"""

from __future__ import annotations

import functools
import logging
import os
import re
import secrets
import site
import sys
from collections.abc import Callable
from typing import Any

import KSR

# Before the system's packages, which may be older than what the project needs
sys.path.insert(
    0,
    os.environ.get("MRFC_SITE")
    or f"/opt/ims-floor-control/venv/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages",
)
site.addsitedir(sys.path[0])

from mrfc import jobs, start
from mrfc.channel import JobTooLargeError
from mrfc.config import ConfigError, Sip
from mrfc.host import Host, InHand
from mrfc.log_lines import FocusLog
from mrfc.sip import capabilities, headers, uri
from mrfc.sip.port import OutgoingRequest, Response
from mrfc.trunks import certificates, paths
from mrfc.trunks.guard import SERVED, Verdict
from mrfc.trunks.settings import OTHERS

log = logging.getLogger("mrfc.worker")

CONFIG = os.environ.get("MRFC_CONFIG", "/etc/ims-floor-control/mrfc.toml")
DONE = 1
NOT_OURS = -1
COUNTS, RATES, NONCES = "mrfc_counts", "mrfc_rates", "mrfc_nonces"  # tables of the module htable
RENEWED = "renewed -"  # in COUNTS: how many times the engine has read trunks anew
NO_ENGINE = "the engine cannot start"  # 1 in COUNTS meanwhile: then nobody shall wait for it
NATIVE = "native"  # what mrfc-include.cfg says where it calls
ALLOW = f"Allow: {capabilities.ALLOW}\r\n"
RETRY_LATER = "Retry-After: 5\r\n"

# sanity module: all checks on requests but Proxy-Require, P-Require and digest credentials, not ours to judge, and
# Content-Length, where it refuses a datagram that goes on behind its body (RFC 3261 18.3).
SANITY_CHECKS = 17767
SANITY_URI_CHECKS = 7

# The suspended phase of an INVITE, in ms: longer than KMS and MRFP may take together, since their limits answer better.
SUSPEND_LIMIT = 20_000

# CSeq numbers are below it (RFC 3261 8.1.1.5); Kamailio passes on any row of digits.
CSEQ_LIMIT = 2**31

# What of the guard is told in the log; the others happen in ordinary service, too, or Kamailio tells of them
TOLD = frozenset({"stranger", "rate", "flood", "message_size", "body_size", "certificate", "bad_credentials"})
TOLD_AT_ONCE = 3

# 2xx that no transaction waits for, but the engine is told of, in some seconds
LATE_ANSWERS = 100

SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
SCHEMES = frozenset({"sip", "sips", "tel"})

Entry = Callable[..., int]


class MalformedError(Exception):
    """A message with something that Kamailio lets pass; the text says what it is."""


def entry(*, answers: bool = False) -> Callable[[Callable[..., Any]], Entry]:
    """Wrap a function that Kamailio calls: it never raises and always returns an int.

    answers: a request waits for a response, also when the function fails: 400 when the message is malformed or is not
    UTF-8 (RFC 3261 7), which Kamailio passes on and Python cannot read, else 500.

    Kamailio 5.6 leaves the Python error of a callback that returned no int pending, and the next call of that process
    fails with it, so one bad request would cost an innocent one.
    """

    def decorate(function: Callable[..., Any]) -> Entry:
        @functools.wraps(function)
        def wrapped(self: Any, *args: Any) -> int:
            try:
                function(self, *args)
            except (UnicodeDecodeError, MalformedError) as error:
                unreadable = isinstance(error, UnicodeDecodeError)
                what = "not UTF-8" if unreadable else str(error)
                tally(OTHERS, "malformed")
                source = f"{KSR.pv.get('$si')}:{KSR.pv.get('$sp')}"
                log.warning("message from %s is %s", source, what, extra=whose())
                if answers:
                    reply(400, "Bad Request")
            except Exception:  # Kamailio must not see it: the next request would pay for it
                log.exception("a callback failed", extra=whose())
                if answers:
                    reply(500, "Server Internal Error")
            return DONE

        return wrapped

    return decorate


def cseq() -> int:
    """The number in CSeq. Raises MalformedError."""
    digits = KSR.pv.get("$cs")
    if len(digits) > len(str(CSEQ_LIMIT)) or int(digits) >= CSEQ_LIMIT:
        raise MalformedError("malformed: CSeq is out of its range")
    return int(digits)


def whose() -> dict[str, str]:
    """Who the message in hand is about, for a log line: Call-ID, conference and caller as far as they can be read."""
    return {
        "call": readable("$ci"),
        "conference": uri.user_or_nothing(readable("$ru")),
        "user": readable("$fu"),
    }


def readable(name: str) -> str:
    """A pseudo-variable, "" where there is none or it is not UTF-8."""
    try:
        return KSR.pv.get(name) or ""
    except UnicodeDecodeError:
        return ""


def reply(status: int, reason: str) -> None:
    """Answer a request that could not be served, whether it has a transaction or not; ACK has no response."""
    try:
        if KSR.pv.get("$rm") != "ACK":
            KSR.sl.send_reply(status, reason)
    except Exception:  # nothing is left to do but to say so
        log.exception("a request has no response", extra=whose())


def tally(trunk: str, result: str) -> None:
    """Count for the metric mrfc_trunk_requests_total; the engine reads what all processes have counted."""
    KSR.htable.sht_inc(COUNTS, f"{result} {trunk}")


def peer_certificate() -> str:
    """The verified certificate of who has sent the message in hand, "" without one."""
    if KSR.pv.get("$proto") != "tls" or KSR.tls.is_peer_verified() < 0:
        return ""
    return KSR.pv.get("$tls_peer_raw_cert") or ""


def engine_fails() -> bool:
    """Whether the engine cannot start just now, as its process has told all others."""
    fails: bool = KSR.htable.sht_get(COUNTS, NO_ENGINE) == 1
    return fails


class Arrival:
    """The request in hand, as the guard looks at it (mrfc.trunks.guard.Arrival)."""

    def __init__(self) -> None:
        self.source: str = KSR.pv.get("$si")
        self.transport: str = KSR.pv.get("$proto")
        self.port: int = KSR.pv.get("$Rp")
        self.method: str = KSR.pv.get("$rm")
        self.in_dialog: bool = KSR.pv.get("$tt") is not None

    def size(self) -> int:
        return int(KSR.pv.get("$ml"))

    def body_size(self) -> int:
        return int(KSR.pv.get("$bs") or 0)

    def certificate(self) -> str:
        return peer_certificate()

    def authorization(self) -> tuple[str, ...]:
        return header_values("Authorization")

    def repeated(self) -> bool:
        if KSR.tmx.t_precheck_trans() > 0:  # another worker has it in hand right now
            KSR.tm.t_check_trans()
            return True
        repeated: bool = KSR.tm.t_check_trans() == 0
        return repeated

    def request_uri(self) -> str:
        return KSR.pv.get("$ru") or ""


class Shared:
    """What the workers count together (mrfc.trunks.guard.Shared)."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def rate(self, key: str) -> int:
        count: int = KSR.htable.sht_inc(RATES, key)
        return count

    def use(self, nonce_and_count: str) -> int:
        count: int = KSR.htable.sht_inc(NONCES, nonce_and_count)
        if count == 1:
            KSR.htable.sht_setex(NONCES, nonce_and_count, self._host.config.guard.nonce_lifetime)
        return count


def body() -> str:
    """The body, as long as Content-Length says: what follows in a datagram is nobody's (RFC 3261 18.3)."""
    text: str = KSR.pv.get("$rb") or ""
    length = KSR.pv.get("$cl")
    if length is None or int(KSR.pv.get("$bs") or 0) <= int(length):
        return text
    return text.encode()[: int(length)].decode()


def malformed() -> tuple[int, str] | None:
    """What a request gets that Kamailio's sanity checks let pass, or answer with another status than RFC 3261 has."""
    # Kamailio gives no URI of a scheme that it does not know
    uri: str = KSR.pv.get("$ru") or KSR.pv.get("$mb").split(" ", 2)[1]
    scheme = uri.partition(":")[0].lower()
    if SCHEME.fullmatch(scheme) and scheme not in SCHEMES:
        return 416, "Unsupported URI Scheme"  # 8.2.2.1
    length = KSR.pv.get("$cl")
    if length is not None and int(length) > int(KSR.pv.get("$bs") or 0):
        return 400, "Content-Length Mismatch"  # 18.3
    return None


def display_name() -> str:
    """The display name in From, "" where it is not UTF-8: nobody is turned away for his name."""
    try:
        return KSR.pv.get("$fn") or ""
    except UnicodeDecodeError:
        return ""


def readable_values(name: str) -> tuple[str, ...]:
    """The values of a field; none where it may have names in it that are not UTF-8."""
    try:
        return header_values(name)
    except UnicodeDecodeError:
        if name in headers.IDENTITY:
            return ()
        raise


def header_values(name: str) -> tuple[str, ...]:
    """The values of a header field, one entry per line."""
    values: list[str] = []
    while (value := KSR.hdr.get_idx(name, len(values))) is not None:
        values.append(value)
    return tuple(values)


class KamailioLog(FocusLog):
    """Log lines of the focus go where Kamailio's own go, unless they are JSON."""

    def to_kamailio(self, level: int, text: str) -> None:
        if level >= logging.ERROR:
            KSR.err(text)
        elif level >= logging.WARNING:
            KSR.warn(text)
        elif level >= logging.INFO:
            KSR.notice(text)
        else:
            KSR.dbg(text)


class KamailioSip:
    """The SIP port of the focus (mrfc.sip.port.SipPort) on Kamailio's transaction layer."""

    def __init__(self, config: Sip, shared: InHand) -> None:
        self.config = config
        self.shared = shared
        self.native = False  # Kamailio's own language routes: mrfc-include.cfg

    def answer(self, transaction: jobs.TransactionId, response: Response) -> bool:
        self.shared.response = response
        if (
            self.native
        ):  # KEMI's t_continue knows functions of the script only, not the routes of a configuration
            KSR.pv.seti("$var(mrfc_index)", transaction.index)
            KSR.pv.seti("$var(mrfc_label)", transaction.label)
            KSR.route("MRFC_CONTINUE")
        else:
            KSR.tmx.t_continue(transaction.index, transaction.label, "ksr_answer")
        # t_continue also returns 1 when the transaction was cancelled, without calling us back
        sent, self.shared.response = self.shared.response is None, None
        return sent

    def send_response(self) -> None:
        response, self.shared.response = self.shared.response, None
        if response is None:
            return
        path = paths.Path(KSR.pv.get("$proto"), ":" in KSR.pv.get("$si"))
        for name, value in paths.readdressed(response.headers, self.config, path):
            KSR.hdr.append_to_reply(f"{name}: {value}\r\n")
        if response.body:
            KSR.textops.set_reply_body(response.body, response.content_type)
        KSR.tm.t_reply(response.status, response.reason)
        if response.status < 200 and KSR.tmx.t_suspend() < 0:  # its slots are used up (max_branches)
            KSR.tm.t_reply(500, "Server Internal Error")

    def provisional(self, transaction: jobs.TransactionId, response: Response) -> bool:
        return self.answer(transaction, response)

    def send(self, request: OutgoingRequest) -> bool:
        headers = "".join(f"{name}: {value}\r\n" for name, value in request.headers)
        self.shared.sending, self.shared.followed = True, False
        try:
            sent: int = KSR.tm.t_uac_send(
                request.method, request.request_uri, request.next_hop, "", headers, request.body
            )
        finally:
            self.shared.sending = False
        if sent > 0 and not self.shared.followed:
            log.error(
                "tm does not tell of the requests that it sends, so their responses do not arrive: "
                "event_route[tm:local-request] has to call route(MRFC_SENT)"
            )
        return sent > 0 and self.shared.followed

    def follow(self) -> bool:
        """Whether the request that tm sends just now is of the focus."""
        self.shared.followed = self.shared.followed or self.shared.sending
        return self.shared.sending

    def cancel(self, call_id: str, cseq: int, status: int) -> bool:
        cancelled: int = KSR.tmx.t_cancel_callid_reason(call_id, str(cseq), 0, status)
        return cancelled > 0

    def publish(self, event: str) -> bool:
        if not hasattr(KSR, "evapi"):  # MRFC_LISTEN_EVENTS is not set
            return False
        relayed: int = KSR.evapi.relay(event)
        return relayed > 0

    def renewed(self) -> None:
        KSR.htable.sht_inc(COUNTS, RENEWED)

    def counted(self, trunk: str, result: str) -> int:
        return int(KSR.htable.sht_get(COUNTS, f"{result} {trunk}") or 0)


def mod_init() -> Mrfc:
    """Called by Kamailio in its first process, before it forks; it does not start with a faulty configuration.

    The process ends here then, with the status of all elements for that. Kamailio itself would end with 255, whatever
    is wrong, and a supervisor would try again and again.
    """
    try:
        tell_unusable_ports()
        return Mrfc()
    except ConfigError as error:
        for fault in error.faults:
            KSR.err(f"mrfc: {fault}\n")
        KSR.err("mrfc: the configuration cannot be used, see the lines above\n")
        os._exit(start.EXIT_CONFIGURATION)


def tell_unusable_ports() -> None:
    """Before Kamailio opens its ports, say which it will not get; where it does not tell them, nothing."""
    if Host.is_made() or not hasattr(KSR, "jsonrpcs"):  # the script is read anew, and the ports are our own
        return
    if KSR.jsonrpcs.execx(start.LIST_SOCKETS) > 0:
        for sentence in start.unusable_ports(KSR.pv.get("$jsonrpl(body)") or ""):
            KSR.err(f"mrfc: {sentence}\n")


class Mrfc:
    """The callbacks that Kamailio knows by name."""

    def __init__(self) -> None:
        self.host = Host.shared(CONFIG)
        self.sip = KamailioSip(self.host.config.sip, self.host.in_hand)
        self.own_addresses = paths.own_addresses(self.host.config.sip)
        self.shared = Shared(self.host)
        self.log = KamailioLog()

    def child_init(self, rank: int) -> int:
        self.host.channel.open_sender()
        self.host.log_to(self.log)
        return 0

    # for a configuration that serves more than the focus

    def serves(self, msg: object, how: str = "") -> int:
        """1 when a request is for the focus, by its Request-URI: the domain, or our Contact; -1 when not."""
        self.sip.native = how == NATIVE
        host, port = (KSR.pv.get("$rd") or "").lower(), KSR.pv.get("$rp") or "5060"
        ours = host == self.host.config.sip.domain.lower() or f"{host}:{port}" in self.own_addresses
        return DONE if ours else NOT_OURS

    def serves_reply(self, msg: object) -> int:
        """1 when a response is for a request of the focus, by its From; -1 when not."""
        return DONE if (KSR.pv.get("$fd") or "").lower() == self.host.config.sip.domain.lower() else NOT_OURS

    def sends(self, msg: object) -> int:
        """1 when a request that tm sends is of the focus; -1 when not."""
        return DONE if self.sip.follow() else NOT_OURS

    # the engine process

    @entry()
    def ksr_tm_event(self, msg: object, event: str) -> None:
        """A request goes out: responses to those of the focus shall come to `ksr_response`."""
        if self.sip.follow():
            KSR.tm.t_on_reply("ksr_response")

    @entry()
    def ksr_engine(self, msg: object, event: str) -> None:
        self.sip.native = event == NATIVE
        self.host.run_slice(self.sip, self.log)
        if self.host.fails != engine_fails():
            KSR.htable.sht_seti(COUNTS, NO_ENGINE, int(self.host.fails))

    @entry(answers=True)
    def ksr_answer(self, msg: object) -> None:
        self.sip.send_response()

    # requests

    @entry(answers=True)
    def ksr_request_route(self, msg: object) -> None:
        self.renew()
        verdict = self.host.gate.judge(Arrival(), self.shared)
        if not verdict.served:
            self.turn_away(verdict)
            return
        if (fault := malformed()) is not None:
            self.turn_away(Verdict(verdict.trunk, "insane", *fault))
            return
        if KSR.sanity.sanity_check(SANITY_CHECKS, SANITY_URI_CHECKS) < 0:
            tally(verdict.trunk, "insane")
            return
        if KSR.maxfwd.process_maxfwd(70) < 0:
            tally(verdict.trunk, "too_many_hops")
            KSR.sl.sl_send_reply(483, "Too Many Hops")
            return
        tally(verdict.trunk, SERVED)
        if engine_fails() and KSR.pv.get("$rm") not in ("ACK", "CANCEL"):
            KSR.hdr.append_to_reply(RETRY_LATER)
            KSR.sl.sl_send_reply(503, "Service Unavailable")
            return
        route = {
            "INVITE": self.on_invite,
            "ACK": self.on_ack,
            "CANCEL": self.on_cancel,
            "BYE": self.on_bye,
            "REFER": self.on_refer,
            "SUBSCRIBE": self.on_subscribe,
            "OPTIONS": self.on_options,
        }.get(KSR.pv.get("$rm"))
        if self.in_dialog() and route in (None, self.on_options):
            route = self.on_dialog_request
        if route is None:
            KSR.hdr.append_to_reply(ALLOW)
            KSR.sl.sl_send_reply(405, "Method Not Allowed")
            return
        route()

    def renew(self) -> None:
        """Take over the trunks that the engine has read anew, if it has."""
        try:
            self.host.renew(int(KSR.htable.sht_get(COUNTS, RENEWED) or 0))
        except ConfigError as error:
            for fault in error.faults:
                KSR.err(f"mrfc: the trunks stay as they were in this process: {fault}\n")

    def turn_away(self, verdict: Verdict) -> None:
        """Answer what the guard does not let in, if it is to be answered."""
        tally(verdict.trunk, verdict.cause)
        # A few lines of each kind, until some seconds without any have passed
        if (
            verdict.cause in TOLD
            and self.shared.rate(f"told {verdict.cause} {verdict.trunk}") <= TOLD_AT_ONCE
        ):
            source = f"{KSR.pv.get('$proto')}:{KSR.pv.get('$si')}:{KSR.pv.get('$sp')}"
            words = "request from %s turned away: %s, trunk %s"
            log.info(words, source, verdict.cause, verdict.trunk, extra=whose())
        if verdict.status and KSR.pv.get("$rm") != "ACK":
            for name, value in verdict.headers:
                KSR.hdr.append_to_reply(f"{name}: {value}\r\n")
            KSR.sl.sl_send_reply(verdict.status, verdict.reason)

    def on_options(self) -> None:
        config = self.host.config
        required = ", ".join(header_values("Require"))
        if unknown := capabilities.unknown_options(required, capabilities.supported(config).split(", ")):
            KSR.hdr.append_to_reply(f"Unsupported: {unknown}\r\n")
            KSR.sl.sl_send_reply(420, "Bad Extension")
            return
        for name, value in capabilities.of_focus(config):
            KSR.hdr.append_to_reply(f"{name}: {value}\r\n")
        KSR.sl.sl_send_reply(200, "OK")

    def on_invite(self) -> None:
        in_dialog = self.in_dialog()
        if not self.begin():
            return
        KSR.tm.t_set_fr(0, SUSPEND_LIMIT)
        if self.sip.native:
            KSR.route("MRFC_ON_FAILURE")
        else:
            KSR.tm.t_on_failure("ksr_invite_timeout")
        if (transaction := self.suspend()) is None:
            return
        if KSR.tm.t_is_canceled() > 0:
            return
        self.post_or_503(jobs.InviteJob(**self.request(transaction, in_dialog)))

    def on_ack(self) -> None:
        KSR.tm.t_check_trans()  # ends the retransmission of our 200
        self.host.channel.post(
            jobs.AckJob(
                dialog=self.dialog(),
                cseq=cseq(),
                content_type=KSR.pv.get("$cT") or "",
                body=body(),
            )
        )

    def on_cancel(self) -> None:
        if KSR.tm.t_lookup_cancel() > 0:
            KSR.tm.t_relay()  # 200 for the CANCEL, 487 for the suspended INVITE
            self.host.channel.post(jobs.CancelJob(KSR.pv.get("$ci"), KSR.pv.get("$ft") or "", cseq()))
        else:
            KSR.sl.sl_send_reply(481, "Call/Transaction Does Not Exist")

    def on_bye(self) -> None:
        if KSR.tm.t_newtran() != 1:
            return
        if (transaction := self.suspend()) is None:
            return
        self.post_or_503(jobs.ByeJob(transaction, self.dialog(), cseq()))

    def on_refer(self) -> None:
        in_dialog = self.in_dialog()
        if not self.begin():
            return
        if (transaction := self.suspend()) is None:
            return
        self.post_or_503(
            jobs.ReferJob(
                **self.request(transaction, in_dialog),
                refer_to=header_values("Refer-To"),
                referred_by=header_values("Referred-By"),
                refer_sub=", ".join(header_values("Refer-Sub")),
            )
        )

    def on_subscribe(self) -> None:
        in_dialog = self.in_dialog()
        if not self.begin() or (transaction := self.suspend()) is None:
            return
        fields = self.request(transaction, in_dialog)
        fields["headers"] = self.headers(headers.REQUEST + headers.SUBSCRIBE)
        self.post_or_503(jobs.SubscribeJob(**fields))

    def on_dialog_request(self) -> None:
        """Within a dialog the engine knows best, of methods that are not served, too."""
        if not self.begin() or (transaction := self.suspend()) is None:
            return
        self.post_or_503(jobs.DialogRequestJob(**self.request(transaction, True), method=KSR.pv.get("$rm")))

    @entry()
    def ksr_invite_timeout(self, msg: object) -> None:
        self.host.channel.post(jobs.TimeoutJob(self.dialog()))

    @entry()
    def ksr_response(self, msg: object) -> None:
        """A response within its transaction: tm has sent the ACK of a 2xx, so nothing of the engine comes before it."""
        self.post_response()

    @entry()
    def ksr_reply_route(self, msg: object) -> None:
        """Any response, before tm sees it; tm gives it to `ksr_response` when it belongs to a request of ours.

        One that no transaction of ours waits for goes nowhere: Kamailio would send it on by its second Via. A few 2xx
        of them are told all the same, since who answers too late has to be told that nobody waits.
        """
        if KSR.tm.t_check_trans() < 0:
            KSR.set_drop()
            if self.late_answer():
                self.post_response()
            else:
                tally(OTHERS, "stray_response")

    @entry()
    def ksr_xhttp_event(self, msg: object, event: str) -> None:
        try:
            if engine_fails():
                raise OSError("it cannot start, and its log says why (journalctl -u mrfc.service)")
            answer = self.host.channel.query(
                KSR.pv.get("$rm"),
                KSR.pv.get("$hu"),
                KSR.pv.get("$rb") or "",
                KSR.hdr.get("Authorization") or "",
            )
        except OSError as error:
            answer = jobs.QueryAnswer(503, "text/plain", f"the engine does not answer: {error}\n")
        for name, value in answer.headers:
            KSR.hdr.append_to_reply(f"{name}: {value}\r\n")
        reason = "OK" if answer.status < 300 else "Failed"
        KSR.xhttp.xhttp_reply(answer.status, reason, answer.content_type, answer.body)

    # steps

    def post_response(self) -> None:
        """Post a response to what the engine sent; there the local side is From."""
        status, method = int(KSR.pv.get("$rs")), KSR.pv.get("$rm")
        if status < (101 if method == "INVITE" else 200):
            return
        dialog = jobs.DialogId(KSR.pv.get("$ci"), KSR.pv.get("$ft") or "", KSR.pv.get("$tt") or "")
        numbers = (dialog, method, cseq(), status, KSR.pv.get("$rr") or "")
        told = self.headers(headers.RESPONSE)
        transport, certified = KSR.pv.get("$proto"), tuple(sorted(certificates.subjects(peer_certificate())))
        if method not in ("INVITE", "UPDATE"):
            self.host.channel.post(
                jobs.ResponseJob(*numbers, headers=told, transport=transport, certified=certified)
            )
            return
        self.host.channel.post(
            jobs.ResponseJob(
                *numbers,
                from_uri=KSR.pv.get("$fu"),
                to_uri=KSR.pv.get("$tu"),
                contact_uri=self.contact_uri(),
                record_route=header_values("Record-Route"),
                content_type=KSR.pv.get("$cT") or "",
                body=body(),
                headers=told,
                source=KSR.pv.get("$si") or "",
                transport=transport,
                certified=certified,
            )
        )

    def late_answer(self) -> bool:
        """Whether a response without a transaction may be a 2xx for an INVITE that we gave up; some are looked at."""
        if KSR.pv.get("$rm") != "INVITE" or not 200 <= int(KSR.pv.get("$rs")) < 300:
            return False
        return self.shared.rate("late answers") <= LATE_ANSWERS

    def begin(self) -> bool:
        """Open the transaction of a request that may begin a dialog; False for a retransmission, which ends here."""
        if KSR.tmx.t_precheck_trans() > 0:  # another worker has it in hand right now
            KSR.tm.t_check_trans()
            return False
        if KSR.tm.t_check_trans() == 0:  # the last response was sent again
            return False
        if KSR.pv.get("$tt") is None:
            self.add_local_tag()
        opened: int = KSR.tm.t_newtran()
        return opened == 1

    def add_local_tag(self) -> None:
        """Give the request our own, unguessable To-tag, so that every response carries it and we know it now."""
        to = KSR.hdr.get("To")
        KSR.hdr.remove("To")
        KSR.hdr.append(f"To: {to};tag={secrets.token_hex(12)}\r\n")
        KSR.textopsx.msg_apply_changes()

    def suspend(self) -> jobs.TransactionId | None:
        if KSR.tmx.t_suspend() < 0:
            KSR.tm.t_reply(500, "Server Internal Error")
            return None
        return jobs.TransactionId(KSR.pv.get("$T(id_index)"), KSR.pv.get("$T(id_label)"))

    def post_or_503(self, job: jobs.Job) -> None:
        try:
            self.host.channel.post(job)
        except JobTooLargeError:
            KSR.tm.t_reply(513, "Message Too Large")
        except OSError as error:
            log.error("the engine cannot take a job: %s", error, extra=whose())
            KSR.hdr.append_to_reply(RETRY_LATER)
            KSR.tm.t_reply(503, "Service Unavailable")

    def request(self, transaction: jobs.TransactionId, in_dialog: bool) -> dict[str, Any]:
        """The fields of a `jobs.RequestJob`. `in_dialog`: our tag was there before we gave one."""
        return {
            "transaction": transaction,
            "dialog": self.dialog(),
            "cseq": cseq(),
            "request_uri": KSR.pv.get("$ru"),
            "from_uri": KSR.pv.get("$fu"),
            "to_uri": KSR.pv.get("$tu"),
            "contact_uri": self.contact_uri(),
            "record_route": header_values("Record-Route"),
            "content_type": KSR.pv.get("$cT") or "",
            "body": body(),
            "in_dialog": in_dialog,
            "require": ", ".join(header_values("Require")),
            "headers": self.headers(headers.REQUEST),
            "source": KSR.pv.get("$si") or "",
            "from_display": display_name(),
        }

    def headers(self, names: tuple[str, ...]) -> jobs.Headers:
        """Fields with these names, as they came."""
        return tuple((name.lower(), value) for name in names for value in readable_values(name))

    def in_dialog(self) -> bool:
        """Whether a request came within a dialog: its To has a tag."""
        return KSR.pv.get("$tt") is not None

    def dialog(self) -> jobs.DialogId:
        return jobs.DialogId(KSR.pv.get("$ci"), KSR.pv.get("$tt") or "", KSR.pv.get("$ft") or "")

    def contact_uri(self) -> str:
        """The URI in Contact, "" without one, which Kamailio would take for an error of ours."""
        return KSR.pv.get("$(ct{nameaddr.uri})") or "" if KSR.hdr.is_present("Contact") > 0 else ""
