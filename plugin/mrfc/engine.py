"""The engine of the MRFC: one asyncio loop that owns KMS sessions, Mp associations, conferences, dialogs and timers.

It takes jobs from SIP workers and hands them to the focus, and has what the focus works with.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
from collections.abc import Callable

import msgspec

from mrf_ops import logs
from mrf_ops.logs import BoundLogger, bind
from mrf_ops.metrics import Metrics
from mrf_ops.pulse import Pulse
from mrf_ops.recent import RecentCalls
from mrf_ops.service import Service
from mrf_ops.trace import Tracer, open_sink
from mrfc import jobs
from mrfc.channel import MAX_DATAGRAM, EngineChannel
from mrfc.composition import Outside, assemble
from mrfc.config import MrfcConfig
from mrfc.measures import Measures
from mrfc.mp.bearer import Bearers
from mrfc.neighbours import Neighbours
from mrfc.operator.calls import OperatorCalls
from mrfc.operator.floors import OperatorFloors
from mrfc.operator.operations import Operations
from mrfc.operator.page import Page
from mrfc.operator.queries import Queries
from mrfc.reload import take_over
from mrfc.sip.port import SipPort
from mrfc.state.store import Store
from mrfc.trunks.guard import CAUSES
from mrfc.trunks.outgoing import Outgoing
from mrfc.trunks.settings import OTHERS

log = logging.getLogger(__name__)

JOBS_PER_TURN = 64  # a burst of jobs must not keep timers and connections waiting


class Engine:
    """Everything long-lived of one MRFC."""

    def __init__(
        self,
        config: MrfcConfig,
        channel: EngineChannel,
        sip: SipPort,
        log_handler: logging.Handler,
        read_again: Callable[[], MrfcConfig] | None = None,
    ) -> None:
        """`read_again` reads the configuration for a reload; it raises ConfigError."""
        self._config = config
        self._log_handler = log_handler
        self._read_again = read_again or (lambda: config)
        self._channel = channel
        logs.setup("MRFC", config.log.level, config.log.form, log_handler)
        sink = open_sink(config.trace.file)
        recent = RecentCalls(sink, config.web.recent_calls) if config.web.page else None
        self._tracer = Tracer("MRFC", recent or sink)
        registry = Metrics("mrfc", process=True)
        registry.watch_tracer(self._tracer)
        self._service = Service()
        self._pulse = Pulse(registry, self._service)
        self._up = False
        self._measures = Measures(registry)
        self._store = Store()
        self._neighbours = Neighbours.of(config, self._tracer)
        self._mp = self._neighbours.mp
        self._bearers = Bearers(self._mp, self._store)
        self._answers: set[asyncio.Task[None]] = set()
        self.outgoing = self._trunks(sip)
        self.focus = assemble(config, self._outside())
        registry.totals(
            "trunk_requests", "Requests by trunk, and what became of them", ("trunk", "result"), self._guarded
        )
        self._mp.on_lost = self.focus.on_mrfp_lost
        self._mp.on_notify = self.focus.on_indication
        self._mp.on_registered = self.focus.floors.returned
        self._queries = self._operators(Page(recent))

    def _trunks(self, sip: SipPort) -> Outgoing:
        def stands(key: jobs.CallKey) -> bool:
            return self._store.call_with(key) is not None or self.focus.mixer.has(key)

        outgoing = Outgoing(
            sip,
            self._config.sip,
            self._config.trunk,
            stands,
            lambda: secrets.token_hex(8),
            verify=self._config.guard.verify_servers,
        )
        outgoing.on_impostor = lambda trunk: self._measures.impostors.labels(trunk).inc()
        return outgoing

    def _outside(self) -> Outside:
        return Outside(
            sip=self.outgoing,
            kms=self._neighbours.kms,
            mp=self._mp,
            store=self._store,
            bearers=self._bearers,
            replay=self._neighbours.replay,
            used_tickets=self._neighbours.used_tickets,
            hook=self._neighbours.hook,
            tracer=self._tracer,
            measures=self._measures,
            random=os.urandom,
        )

    def _guarded(self) -> dict[tuple[str, ...], float]:
        names = (*(trunk.name for trunk in self._config.trunk), OTHERS)
        counted = self.outgoing.counted
        return {(name, cause): counted(name, cause) for name in names for cause in CAUSES}

    def _operators(self, page: Page) -> Queries:
        dial_out, focus = self._config.dial_out, self.focus
        return Queries(
            self._store,
            self._bearers,
            self._mp,
            self._measures,
            OperatorCalls(dial_out, self._store, focus.dial_outs, focus.permits),
            OperatorFloors(dial_out.operator_token_file, focus.floors),
            Operations(dial_out.operator_token_file, self._store, focus.calls, focus.rekeys, self._reload),
            page,
            focus.notifier,
        )

    def _reload(self) -> dict[str, list[str]]:
        outcome = take_over(self._config, self._read_again(), self._store)
        self.focus.floors.policies_changed()
        self.focus.notifier.configuration_changed()
        self.focus.endings.configuration_changed()
        if any(key.partition(".")[0] in ("guard", "trunk") for key in outcome["changed"]):
            self.outgoing.take_over(self._config.trunk, verify=self._config.guard.verify_servers)
        logs.setup("MRFC", self._config.log.level, self._config.log.form, self._log_handler)
        log.info("reloaded: %s", ", ".join(outcome["changed"]) or "nothing that can change now has changed")
        if outcome["need_restart"]:
            keys = ", ".join(outcome["need_restart"])
            log.warning("changed, but used only after a restart of Kamailio, which ends all calls: %s", keys)
        return outcome

    async def start(self) -> None:
        """Open the Mp port and listen to the workers. Raises OSError when the port is taken."""
        await self._mp.start()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel.receiver, self._read_jobs)
        gc.collect()
        gc.freeze()  # what is there now stays for good: no collection, in the middle of a call, need look at it again
        self._pulse.start()
        self._up = True
        self._service.ready(f"Mp on {self._config.mp.host}:{self._config.mp.port}")
        if self._config.bfcp.unsecured == "allow":
            log.warning(
                'bfcp.unsecured = "allow": BFCP of participants may run WITHOUT TLS, open to all on the way'
            )
        log.info(
            "ready: Mp on %s:%d, KMS at %s", self._config.mp.host, self._config.mp.port, self._config.kms.url
        )

    async def stop(self) -> None:
        """End all calls and close what is open."""
        if self._up:
            self._service.stopping()
        self._pulse.stop()
        asyncio.get_running_loop().remove_reader(self._channel.receiver)
        await self.focus.stop()
        await self._neighbours.close()
        self._tracer.close()

    def _read_jobs(self) -> None:
        for _ in range(JOBS_PER_TURN):
            try:
                datagram = self._channel.receiver.recv(MAX_DATAGRAM + 512)
            except BlockingIOError:
                return
            try:
                job = self._channel.unwrap(datagram)
            except msgspec.MsgspecError as error:
                log.error("a worker posted something that is no job: %s", error)
                continue
            if job is not None:
                self._run(job)

    def _run(self, job: jobs.Job) -> None:
        try:
            match job:
                case jobs.InviteJob():
                    self.focus.on_invite(job)
                case jobs.AckJob():
                    self.focus.on_ack(job)
                case jobs.ByeJob():
                    self.focus.on_bye(job)
                case jobs.ReferJob():
                    self.focus.referrals.on_refer(job)
                case jobs.DialogRequestJob():
                    self.focus.on_request(job)
                case jobs.SubscribeJob():
                    self.focus.notifier.on_subscribe(job)
                case jobs.CancelJob():
                    self.focus.on_cancel(job)
                case jobs.TimeoutJob():
                    self.focus.on_timeout(job)
                case jobs.ResponseJob():
                    if (response := self.outgoing.on_response(job)) is not None:
                        self.focus.on_response(response)
                case jobs.QueryJob():
                    self._answer(job)
        except Exception:  # a fault of one job must not stop the engine
            self._named(job).exception("a %s job failed; the others go on", type(job).__name__)

    def _named(self, job: jobs.Job) -> BoundLogger:
        calls = self.focus.calls
        match job:
            case jobs.RequestJob():
                return calls.logger_of_request(job)
            case jobs.QueryJob():
                return bind(log)
            case jobs.CancelJob():
                return bind(log, call=job.call_id)
        return calls.logger_of(job.dialog)

    def _answer(self, job: jobs.QueryJob) -> None:
        answer = self._queries.answer(job)
        if isinstance(answer, jobs.QueryAnswer):
            self._channel.answer_query(job, answer)
            return

        async def work() -> None:
            try:
                self._channel.answer_query(job, await answer)
            except Exception:  # likewise for a query that goes on by itself
                log.exception("%s %s failed", job.method, job.path)
                self._channel.answer_query(job, jobs.QueryAnswer(500, "text/plain", "a fault of the MRFC\n"))

        task = asyncio.get_running_loop().create_task(work())
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)
