"""The HTTP server of the KMS: POST for tickets, GET /health and /metrics."""

import asyncio
import json
import logging
import os
import signal
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from aiohttp import web

from mrf_kms.client import CONTENT_TYPE, CORRELATION_HEADER, header_text
from mrf_kms.config import Http, KmsConfig
from mrf_kms.replay import ReplayCache
from mrf_kms.service import KmsService, Outcome, RequestType
from mrf_kms.store import TICKET_KEY_LENGTH, Store, StoreError
from mrf_ops import logs
from mrf_ops.config import ConfigError, changed_keys
from mrf_ops.metrics import CONTENT_TYPE as METRICS_TYPE
from mrf_ops.metrics import Metrics
from mrf_ops.pulse import Pulse
from mrf_ops.service import Service as ServiceManager
from mrf_ops.service import cannot_listen
from mrf_ops.trace import Tracer, open_sink
from mrf_protocols.mikey import KmsRules, PolicyFlag

log = logging.getLogger(__name__)


class KmsServer:
    """One KMS: store, service, HTTP. Raises StoreError when the store cannot be used."""

    def __init__(self, config: KmsConfig) -> None:
        self._config = config
        kms = config.kms
        self._store = Store(config.store.file)
        if not self._store.image().ticket_keys:
            key = os.urandom(TICKET_KEY_LENGTH)
            name = self._store.rotate_ticket_key(
                key, time.time(), longest_ticket=kms.ticket_lifetime, grace=0.0
            )
            log.info("made the first ticket key, %s", name)
        self._store.note_lifetime(kms.ticket_lifetime)
        replay_file = config.store.file.with_name(config.store.file.name + ".replay")
        self._replay = ReplayCache(2 * kms.clock_skew, replay_file, time.time())
        self._service = KmsService(
            rules=KmsRules(
                kms.identity,
                skew=kms.clock_skew,
                max_lifetime=kms.ticket_lifetime,
                cleared_flags=PolicyFlag(0) if kms.allow_reuse else PolicyFlag.J,
            ),
            image=self._store.image,
            replay=self._replay,
            rand=os.urandom,
            self_made=kms.allow_self_made,
        )
        self._tracer = Tracer("KMS", open_sink(config.trace.file))
        self._metrics = Metrics("kms", process=True)
        self._requests = self._metrics.counter("requests", "Requests answered", ("type", "status"))
        self._seconds = self._metrics.histogram(
            "request_seconds", "Time to answer a request, in seconds", ("type",)
        )
        self._metrics.watch_tracer(self._tracer)
        self._refused = self._metrics.counter(
            "refused", "Requests refused, by the code of the MIKEY error", ("type", "reason")
        )
        self._metrics.gauge("users", "Users with a key").set_function(lambda: self._count("users"))
        self._metrics.gauge("ticket_keys", "Ticket keys, old ones included").set_function(
            lambda: self._count("ticket_keys")
        )
        self._service_manager = ServiceManager()
        self._pulse = Pulse(self._metrics, self._service_manager)
        self._runner: web.AppRunner | None = None
        self._tls: ssl.SSLContext | None = None
        self._url = ""

    async def start(self) -> str:
        """Listen; gives the URL. Raises OSError (ssl.SSLError included) when that cannot be."""
        http = self._config.http
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
        self._service_manager.stopping()
        self._pulse.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        self._replay.close()
        self._store.close()
        self._tracer.close()

    async def _post(self, request: web.Request) -> web.Response:
        began = time.perf_counter()
        correlation = header_text(request.headers.get(CORRELATION_HEADER, ""))
        try:
            kind = RequestType(request.query.get("requesttype", ""))
        except ValueError:
            return self._plain(400, "requesttype is ticketrequest or ticketresolve", correlation)
        if request.content_type != CONTENT_TYPE:
            return self._plain(415, f"the body must be {CONTENT_TYPE}", correlation)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return self._plain(413, "the body is too long", correlation)
        try:
            outcome = self._service.handle(kind, body, time.time())
        except StoreError as error:
            log.error("%s", error, extra={"call": correlation})
            return self._plain(503, "the store cannot be read", correlation)
        self._tell(kind, outcome, correlation)
        self._requests.labels(kind.value, str(outcome.status)).inc()
        if outcome.fault:
            self._refused.labels(kind.value, outcome.fault.lower()).inc()
        self._seconds.labels(kind.value).observe(time.perf_counter() - began)
        return web.Response(status=outcome.status, body=outcome.body, content_type=CONTENT_TYPE)

    def _plain(self, status: int, text: str, correlation: str) -> web.Response:
        log.warning("refused with %d: %s", status, text, extra={"call": correlation})
        self._requests.labels("none", str(status)).inc()
        return web.Response(status=status, text=text + "\n")

    def _tell(self, kind: RequestType, outcome: Outcome, correlation: str) -> None:
        """One log line, and both trace events: what came and what went."""
        ids = {"call": correlation, "user": outcome.psk_id}
        if outcome.reason:
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

    def _count(self, what: str) -> float:
        try:
            return len(getattr(self._store.image(), what))
        except StoreError:
            return float("nan")

    async def _health(self, request: web.Request) -> web.Response:
        try:
            image = self._store.image()
            image.current_key()
        except StoreError as error:
            return web.json_response({"status": "failing", "reason": str(error)}, status=503)
        state = {"status": "ok", "users": len(image.users), "ticket_keys": len(image.ticket_keys)}
        return web.json_response(state, dumps=json.dumps)

    async def _live(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _show_metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": METRICS_TYPE})


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
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(http.certificate, http.private_key)
    except OSError as error:
        keys = "http.certificate, http.private_key"
        raise OSError(
            f"certificate {http.certificate} with key {http.private_key} cannot be used: {error}: see {keys}"
        ) from error
    return context


def check_certificate(http: Http) -> None:
    """Raises OSError when the certificate or its key cannot be used."""
    _tls_context(http)


def _given(path: Path | None) -> Path:
    if path is None:
        raise ValueError("no certificate is configured")
    return path
