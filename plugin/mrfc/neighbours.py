"""The neighbours of the focus in the field: KMS, MRFPs and whoever moves media, and what is remembered of messages."""

from __future__ import annotations

import time
from dataclasses import dataclass

from mrf_kms.client import KmsClient
from mrf_ops.trace import Tracer
from mrfc.config import MrfcConfig
from mrfc.floors.media_hook import HttpPost, MediaHook
from mrfc.keys.replay import ReplayCache
from mrfc.mp.controller import MpController


@dataclass(frozen=True, slots=True)
class Neighbours:
    """`hook` is None where nobody is told of floors; `replay` remembers messages, `used_tickets` tickets."""

    kms: KmsClient
    mp: MpController
    post: HttpPost
    hook: MediaHook | None
    replay: ReplayCache
    used_tickets: ReplayCache

    @classmethod
    def of(cls, config: MrfcConfig, tracer: Tracer) -> Neighbours:
        """As the configuration has them; nothing is connected yet."""
        kms = KmsClient(
            config.kms.url,
            timeout=config.kms.timeout,
            ca_file=config.kms.ca_file,
            certificate=config.kms.certificate,
            private_key=config.kms.private_key,
        )
        mp = MpController(
            config.mp.host,
            config.mp.port,
            tracer,
            timeout=config.mp.timeout,
            heartbeat=config.mp.heartbeat,
            loss_grace=config.mp.loss_grace,
            transports=config.mp.how(),
        )
        post = HttpPost(config.media_hook)
        replay_file = config.mikey.replay_file
        return cls(
            kms=kms,
            mp=mp,
            post=post,
            hook=MediaHook(config.media_hook, post) if config.media_hook.url else None,
            replay=ReplayCache(2 * config.mikey.clock_skew, replay_file, time.time()),
            used_tickets=ReplayCache.of_tickets(replay_file, time.time()),
        )

    async def close(self) -> None:
        """Give up what waits for an answer, and close all connections and files."""
        if self.hook is not None:
            await self.hook.close()
        await self.post.close()
        await self.mp.close()
        await self.kms.close()
        self.replay.close()
        self.used_tickets.close()
