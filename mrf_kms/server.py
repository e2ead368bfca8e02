"""The HTTP server of the KMS: POST for tickets, GET /health and /metrics."""

import asyncio
import json
import logging
import os
import signal
import ssl
import time

from aiohttp import web

from mrf_kms.client import CONTENT_TYPE, CORRELATION_HEADER, header_text
from mrf_kms.config import KmsConfig
from mrf_kms.replay import ReplayCache
from mrf_kms.service import KmsService, Outcome, RequestType
from mrf_kms.store import TICKET_KEY_LENGTH, Store, StoreError
from mrf_ops.metrics import CONTENT_TYPE as METRICS_TYPE
from mrf_ops.metrics import Metrics
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
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listen; gives the URL. Raises OSError (ssl.SSLError included) when that cannot be."""
        http = self._config.http
        app = web.Application(client_max_size=http.body_limit)
        app.router.add_post(http.path, self._post)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._show_metrics)
        self._runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=75.0, shutdown_timeout=http.stop_grace
        )
        await self._runner.setup()
        tls = None
        if http.certificate is not None:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(http.certificate, http.private_key)
        await web.TCPSite(self._runner, http.host, http.port, ssl_context=tls, backlog=1024).start()
        host, port = self._runner.addresses[0][:2]
        shown = f"[{host}]" if ":" in host else host
        return f"{'http' if tls is None else 'https'}://{shown}:{port}{http.path}"

    async def stop(self) -> None:
        """Answer what is under way, then close everything."""
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

    async def _health(self, request: web.Request) -> web.Response:
        try:
            image = self._store.image()
            image.current_key()
        except StoreError as error:
            return web.json_response({"status": "failing", "reason": str(error)}, status=503)
        state = {"status": "ok", "users": len(image.users), "ticket_keys": len(image.ticket_keys)}
        return web.json_response(state, dumps=json.dumps)

    async def _show_metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": METRICS_TYPE})


async def serve(config: KmsConfig) -> None:
    """Run until SIGTERM or SIGINT. Raises StoreError and OSError when it cannot start."""
    server = KmsServer(config)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    try:
        url = await server.start()
        log.info("ready: %s at %s", config.kms.identity, url)
        await ended.wait()
        log.info("stopping")
    finally:
        await server.stop()
