"""Command line of the MRFP: `mrfp-agent run`, `mrfp-agent check`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence

from mrf_ops import logs
from mrf_ops.config import ConfigError
from mrf_ops.service import EXIT_CANNOT_RUN, EXIT_CONFIGURATION
from mrf_protocols.tls_psk import TlsPskError
from mrfp_agent.agent import Agent, StartError, check_host
from mrfp_agent.config import MrfpConfig, load

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 1 (cannot run here), 2 (usage), 78 (configuration)."""
    options = _parser().parse_args(arguments)
    try:
        config = load(options.config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIGURATION
    try:
        if options.command == "check":
            return asyncio.run(_check(config))
        logs.setup("MRFP", config.log.level, config.log.form)
        asyncio.run(_run(config, options.config))
    except (StartError, TlsPskError, OSError) as error:
        print(f"mrfp-agent: {error}", file=sys.stderr)
        return EXIT_CANNOT_RUN
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mrfp-agent", description="MRFP: BFCP over TLS-PSK and floor control"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, purpose in (
        ("run", "serve until SIGTERM or SIGINT; SIGHUP reads the configuration again"),
        ("check", "check the configuration and this host, and change nothing"),
    ):
        command = commands.add_parser(name, help=purpose, description=purpose)
        command.add_argument("--config", default="configs/mrfp.toml", help="TOML file (%(default)s)")
    return parser


async def _check(config: MrfpConfig) -> int:
    for warning in await check_host(config):
        print(f"warning: {warning}")
    print("the configuration can be used on this host")
    return 0


async def _run(config: MrfpConfig, path: str) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    agent = Agent(config, loop)
    loop.add_signal_handler(signal.SIGHUP, _reload, agent, path)
    try:
        await agent.start()
        await stop.wait()
    finally:
        await agent.close()


def _reload(agent: Agent, path: str) -> None:
    try:
        config = load(path)
    except ConfigError as error:
        for fault in error.faults:
            _log.error("not reloaded: %s", fault)
        return
    agent.reload(config)


if __name__ == "__main__":
    sys.exit(main())
