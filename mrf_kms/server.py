"""The HTTP server of the KMS: POST for tickets, GET /health and /metrics."""

import asyncio
import logging
import os
import signal
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from aiohttp import web

from mrf_kms.client import CONTENT_TYPE, CORRELATION_HEADER, header_text
from mrf_kms.config import Http, KmsConfig
from mrf_kms.database import StoreError
from mrf_kms.journal import Journal, Verdict
from mrf_kms.key_source import KeySource, KeySourceError, ZnProxy
from mrf_kms.rates import RateExceeded, RateLimiter
from mrf_kms.service import KmsService, Outcome, RequestType, Settings, claims, key_names
from mrf_kms.store import Store
from mrf_kms.ticket_keys import TICKET_KEY_LENGTH
from mrf_ops import logs
from mrf_ops.config import ConfigError, changed_keys
from mrf_ops.metrics import CONTENT_TYPE as METRICS_TYPE
from mrf_ops.metrics import Metrics
from mrf_ops.pulse import Pulse
from mrf_ops.service import Service as ServiceManager
from mrf_ops.service import cannot_listen
from mrf_ops.trace import Tracer, open_sink
from mrf_protocols.mikey import SUITE_128, SUITE_256, Credential, EnvelopeOpener
from mrf_protocols.mikey.certificates import pem_chain

log = logging.getLogger(__name__)
TIDY_EVERY = 20.0
"""Seconds between two looks at what is over, and whether the ticket key is due."""
LINGER = 0.5
"""Seconds that connections without a request under way stay open when the KMS stops."""
SENDING = 10.0
"""Seconds that a client has to send the body of a request."""
ATTEMPTS = 5
"""How often a request is decided again because the store changed meanwhile."""


class KmsServer:
    """One KMS instance: store, service, HTTP. Raises OSError, ValueError and MikeyError for files it cannot use."""

    def __init__(self, config: KmsConfig, key_source: KeySource | None = None) -> None:
        self._config = config
        vault = config.store.vault()
        self._sealed = vault.seals
        self._journal = Journal(lambda: Store(config.store.where, vault))
        limits = config.limits
        limiter = RateLimiter(limits.user_rate, limits.user_burst)
        self._service = KmsService(_settings(config), limiter, os.urandom)
        self._key_source = key_source if key_source is not None else _key_source(config)
        self._audited_refusals = RateLimiter(config.audit.refusal_rate, config.audit.refusal_burst)
        self._tracer = Tracer("KMS", open_sink(config.trace.file))
        self._measure()
        self._pending = 0
        self._stopping = False
        self._keeper: asyncio.Task[None] | None = None
        self._service_manager = ServiceManager()
        self._pulse = Pulse(self._metrics, self._service_manager)
        self._runner: web.AppRunner | None = None
        self._tls: ssl.SSLContext | None = None
        self._url = ""

    def _measure(self) -> None:
        metrics = self._metrics = Metrics("kms", process=True)
        self._requests = metrics.counter("requests", "Requests answered", ("type", "status"))
        self._seconds = metrics.histogram(
            "request_seconds", "Time to answer a request, in seconds", ("type",)
        )
        metrics.watch_tracer(self._tracer)
        self._refused = metrics.counter(
            "refused", "Requests refused, by the code of the MIKEY error", ("type", "reason")
        )
        self._limited = metrics.counter("rate_limited", "Requests refused because a user asked too often")
        self._replays = metrics.counter("replays", "Messages refused because they were answered before")
        self._store_failures = metrics.counter("store_failures", "Times that the store could not be used")
        self._source_failures = metrics.counter("key_source_failures", "Times that the key source failed")
        metrics.gauge("pending", "Requests under way").set_function(lambda: self._pending)
        metrics.gauge("users", "Users with a key").set_function(lambda: self._count("users"))
        metrics.gauge("ticket_keys", "Ticket keys, old ones included").set_function(
            lambda: self._count("ticket_keys")
        )
        metrics.gauge("ticket_key_age_seconds", "Age of the ticket key in use").set_function(self._key_age)

    def _count(self, what: str) -> float:
        try:
            return len(getattr(self._journal.image, what))
        except StoreError:
            return float("nan")

    def _key_age(self) -> float:
        try:
            return time.time() - self._journal.image.ticket_keys[0].created
        except (StoreError, IndexError):
            return float("nan")

    async def start(self) -> str:
        """Listen; gives the URL. Raises StoreError, and OSError (ssl.SSLError included) when that cannot be."""
        http = self._config.http
        await self._journal.open()
        if not self._sealed:
            log.warning("keys are stored in the clear: no master key is configured")
        await self._rotate()
        longest = self._config.kms.ticket_lifetime
        await self._journal.ask(lambda store: store.note_lifetime(longest))
        app = web.Application(client_max_size=http.body_limit)
        app.router.add_post(http.path, self._post)
        app.router.add_get("/health", self._health)
        app.router.add_get("/ready", self._health)
        app.router.add_get("/live", self._live)
        app.router.add_get("/metrics", self._show_metrics)
        self._runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=75.0, shutdown_timeout=http.stop_grace
        )
        await self._runner.setup()
        self._tls = _tls_context(http)
        try:
            await web.TCPSite(self._runner, http.host, http.port, ssl_context=self._tls, backlog=1024).start()
        except OSError as error:
            raise OSError(cannot_listen("http.host, http.port", http.host, http.port, error)) from error
        self._keeper = asyncio.create_task(self._keep())
        host, port = self._runner.addresses[0][:2]
        shown = f"[{host}]" if ":" in host else host
        self._url = f"{'http' if self._tls is None else 'https'}://{shown}:{port}{http.path}"
        self._pulse.start()
        self._service_manager.ready(self._url)
        return self._url

    def reload(self, config: KmsConfig) -> None:
        """Take over what can change while requests are served, and say what cannot."""
        self._service_manager.reloading()
        logs.setup("KMS", config.log.level, config.log.form)
        if self._tls is not None:
            http = self._config.http
            try:
                self._tls.load_cert_chain(_given(http.certificate), http.private_key)
                log.info("certificate %s read again", http.certificate)
            except OSError as error:
                log.error("certificate %s cannot be used, the old one stays: %s", http.certificate, error)
        changed = changed_keys(self._config, config)
        later = [key for key in changed if not key.startswith("log.")]
        if later:
            log.warning("changed, but used only after a restart, which loses nothing: %s", ", ".join(later))
        log.info("reloaded")
        self._config = msgspec.structs.replace(self._config, log=config.log)
        self._service_manager.ready(self._url)

    async def stop(self) -> None:
        """Answer what is under way, then close everything."""
        self._stopping = True
        self._service_manager.stopping()
        self._pulse.stop()
        if self._keeper is not None:
            self._keeper.cancel()
        if self._runner is not None:
            await self._linger(self._runner)
            await self._runner.cleanup()
        if self._key_source is not None:
            await self._key_source.close()
        try:
            await self._journal.close()
        except StoreError as error:
            log.error("%s", error)
        self._tracer.close()

    async def _linger(self, runner: web.AppRunner) -> None:
        """Take no new connections, but answer what comes on those that are open, until none has anything more.

        A request may be on its way while its client cannot know yet that we stop. Every answer ends its connection,
        so that clients go elsewhere.
        """
        for site in tuple(runner.sites):
            await site.stop()
        server, end = runner.server, time.monotonic() + min(LINGER, self._config.http.stop_grace)
        while server is not None and server.connections and time.monotonic() < end:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.02)

    async def _post(self, request: web.Request) -> web.Response:
        response = await self._respond(request)
        if self._stopping:
            response.force_close()
        return response

    async def _respond(self, request: web.Request) -> web.Response:
        began = time.perf_counter()
        correlation = header_text(request.headers.get(CORRELATION_HEADER, ""))
        try:
            kind = RequestType(request.query.get("requesttype", ""))
        except ValueError:
            return self._plain(400, "requesttype is ticketrequest or ticketresolve", correlation)
        if request.content_type != CONTENT_TYPE:
            return self._plain(415, f"the body must be {CONTENT_TYPE}", correlation)
        try:
            async with asyncio.timeout(SENDING):
                body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return self._plain(413, "the body is too long", correlation)
        except TimeoutError:
            response = self._plain(408, f"the body did not come within {SENDING:g} s", correlation)
            response.force_close()
            return response
        # Who is slow to send is not under way yet: nobody keeps others out by sending nothing.
        if self._pending >= self._config.http.pending_limit:
            return self._plain(503, "too many requests are under way", correlation)
        self._pending += 1
        try:
            outcome = await self._answer(kind, body, correlation)
        except StoreError as error:
            self._store_failures.inc()
            log.error("%s", error, extra=_ids(correlation, *claims(body)))
            return self._plain(503, "the store cannot be used", correlation, body)
        except KeySourceError as error:
            self._source_failures.inc()
            log.error("%s", error, extra=_ids(correlation, *claims(body)))
            return self._plain(503, "the key source cannot be used", correlation, body)
        finally:
            self._pending -= 1
        self._tell(kind, outcome, correlation)
        self._requests.labels(kind.value, str(outcome.status)).inc()
        if outcome.fault:
            self._refused.labels(kind.value, outcome.fault.lower()).inc()
        self._seconds.labels(kind.value).observe(time.perf_counter() - began)
        if outcome.rate_exceeded:
            headers = {"Retry-After": "1"}
            return web.Response(status=outcome.status, text=outcome.reason + "\n", headers=headers)
        return web.Response(status=outcome.status, body=outcome.body, content_type=CONTENT_TYPE)

    async def _answer(self, kind: RequestType, body: bytes, correlation: str) -> Outcome:
        """Decide, and have it written down before anybody hears of it. Raises StoreError, KeySourceError."""
        extra = await self._keys_from_elsewhere(body)
        for _ in range(ATTEMPTS):
            image, now = self._journal.image, time.time()
            outcome = self._service.handle(kind, body, image, now, extra)
            entry = outcome.entry(now, correlation, audited=self._is_audited(outcome, now))
            verdict = await self._journal.enter(image.version, entry)
            if verdict is Verdict.WRITTEN:
                return outcome
            if verdict is Verdict.REPLAYED:
                refusal = self._service.replayed(outcome, body, now)
                entry = refusal.entry(now, correlation, audited=self._is_audited(refusal, now))
                await self._journal.enter(self._journal.image.version, entry)
                return refusal
            self._service.take_back(outcome)
        raise StoreError("the store changes all the time")

    async def _keys_from_elsewhere(self, body: bytes) -> Sequence[Credential]:
        source = self._key_source
        if source is None:
            return ()
        known = self._journal.image.users
        found = [await source.find(name) for name in key_names(body) if name not in known]
        return [credential for credential in found if credential is not None]

    def _is_audited(self, outcome: Outcome, now: float) -> bool:
        """Every ticket granted or resolved; of refusals so many that strangers cannot fill the store with them."""
        if not outcome.reason:
            return True
        if outcome.repeated:
            return False
        try:
            self._audited_refusals.take("", now)
        except RateExceeded:
            return False
        return True

    def _plain(self, status: int, text: str, correlation: str, body: bytes = b"") -> web.Response:
        log.warning("refused with %d: %s", status, text, extra=_ids(correlation, *claims(body)))
        self._requests.labels("none", str(status)).inc()
        headers = {"Retry-After": "1"} if status == 503 else {}
        return web.Response(status=status, text=text + "\n", headers=headers)

    def _tell(self, kind: RequestType, outcome: Outcome, correlation: str) -> None:
        """One log line, and both trace events: what came and what went."""
        ids = _ids(correlation, outcome.psk_id, outcome.initiator, outcome.responders)
        if outcome.rate_exceeded:
            self._limited.inc()
        if outcome.replayed:
            self._replays.inc()
        if outcome.reason:
            if not outcome.repeated:
                log.warning("%s refused: %s", outcome.request, outcome.reason, extra=ids)
        else:
            responders = ", ".join(outcome.responders)
            log.info("%s answered: %s to %s", outcome.request, outcome.initiator, responders, extra=ids)
        if not self._tracer.enabled:
            return
        trace = self._config.trace
        usual = trace.requester if kind is RequestType.TICKET_REQUEST else trace.resolver
        peer = trace.peers.get(outcome.psk_id, usual)
        csb_id = f"{outcome.csb_id:08x}"
        self._tracer.emit(
            correlation,
            "received",
            peer,
            "KMS",
            outcome.request,
            csb_id,
            initiator=outcome.initiator,
            responders=outcome.responders,
        )
        result = outcome.reason or "granted"
        self._tracer.emit(correlation, "sent", peer, "KMS", outcome.response, csb_id, result=result)

    async def _keep(self) -> None:
        """From time to time delete what is over, and rotate the ticket key when it is due."""
        while True:
            await asyncio.sleep(min(TIDY_EVERY, self._config.ticket_keys.rotate_after / 4))
            try:
                keep = self._config.audit.keep
                await self._journal.ask(lambda store, keep=keep: store.tidy(time.time(), keep))  # type: ignore[misc] # keep is bound now
                await self._rotate()
                await self._journal.reload()
            except StoreError as error:
                self._store_failures.inc()
                log.error("%s", error)

    async def _rotate(self) -> None:
        kms, after = self._config.kms, self._config.ticket_keys.rotate_after
        name = await self._journal.ask(
            lambda store: store.rotate_when_due(
                os.urandom(TICKET_KEY_LENGTH),
                time.time(),
                after=after,
                longest_ticket=kms.ticket_lifetime,
                grace=kms.clock_skew,
            )
        )
        if name is not None:
            log.info("tickets are made with a new key, %s", name)
            await self._journal.reload()

    async def _health(self, request: web.Request) -> web.Response:
        if self._stopping:
            return web.json_response({"status": "stopping"}, status=503)
        try:
            async with asyncio.timeout(2.0):
                await self._journal.reload()
            image = self._journal.image
            image.current_key()
        except (StoreError, TimeoutError) as error:
            reason = str(error) or "the store does not answer"
            return web.json_response({"status": "failing", "reason": reason}, status=503)
        return web.json_response(
            {"status": "ok", "users": len(image.users), "ticket_keys": len(image.ticket_keys)}
        )

    async def _live(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _show_metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": METRICS_TYPE})


def _ids(call: str, user: str, initiator: str, responders: Sequence[str]) -> dict[str, str]:
    """Whose a request is, for log lines. A KMS knows no conferences: they are initiators and responders to it."""
    return {"call": call, "user": user, "initiator": initiator, "responder": ", ".join(responders)}


def _settings(config: KmsConfig) -> Settings:
    kms, public = config.kms, config.public_key
    openers: tuple[EnvelopeOpener, ...] = ()
    trusted: tuple[bytes, ...] = ()
    if public is not None:
        openers = (EnvelopeOpener.from_pem(public.private_key.read_bytes(), public.certificate.read_bytes()),)
        trusted = () if public.trusted is None else pem_chain(public.trusted.read_bytes())
    return Settings(
        kms.identity,
        kms.clock_skew,
        kms.ticket_lifetime,
        kms.allow_reuse,
        kms.allow_self_made,
        kms.access == "open",
        tuple({"128": SUITE_128, "256": SUITE_256}[name] for name in kms.suites),
        openers,
        trusted,
    )


def _key_source(config: KmsConfig) -> KeySource | None:
    gba = config.gba
    if gba is None:
        return None
    return ZnProxy(
        gba.url,
        gba.naf_id,
        names=gba.names,
        timeout=gba.timeout,
        ca_file=gba.ca_file,
        certificate=gba.certificate,
        private_key=gba.private_key,
    )


async def serve(config: KmsConfig, read_again: Callable[[], KmsConfig]) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP calls `read_again`. Raises StoreError and OSError when it cannot start."""
    server = KmsServer(config)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGHUP, _reload, server, read_again)
    try:
        url = await server.start()
        log.info("ready: %s at %s", config.kms.identity, url)
        await ended.wait()
        log.info("stopping")
    finally:
        await server.stop()


def _reload(server: KmsServer, read_again: Callable[[], KmsConfig]) -> None:
    try:
        config = read_again()
    except ConfigError as error:
        for fault in error.faults:
            log.error("not reloaded: %s", fault)
        return
    server.reload(config)


def _tls_context(http: Http) -> ssl.SSLContext | None:
    """What HTTPS needs, or None for HTTP. Raises OSError (ssl.SSLError included), in one sentence."""
    if http.certificate is None:
        return None
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=http.client_ca)
    except OSError as error:
        raise OSError(f"http.client_ca {http.client_ca} cannot be used: {error}") from error
    try:
        context.load_cert_chain(http.certificate, http.private_key)
    except OSError as error:
        keys = "http.certificate, http.private_key"
        raise OSError(
            f"certificate {http.certificate} with key {http.private_key} cannot be used: {error}: see {keys}"
        ) from error
    if http.client_ca is not None:
        required = http.require_client_certificate
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context


def check_files(config: KmsConfig) -> None:
    """Raises OSError or MikeyError when a certificate or key cannot be used."""
    _tls_context(config.http)
    _settings(config)


def _given(path: Path | None) -> Path:
    if path is None:
        raise ValueError("no certificate is configured")
    return path
