"""The C programs of the TLS-PSK figures: against each other in both TCP roles, and against the MRFP."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from kernel_tables import has_ended
from mrfp_support import CONFERENCE, IDENTITY, KEY, LocalMrfp, until

from mrf_protocols.h248.mp import BearerReleased, ConfigureBfcpTermination

BENCH = Path(__file__).parents[3] / "bench"
SUITES = ["psk-gcm", "ecdhe-chacha", "ecdhe-cbc", "tls13"]
WRONG_KEY = KEY[::-1]
ANY = "127.0.0.1:0"


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both programs, built without a warning."""
    folder = tmp_path_factory.mktemp("programs")
    for name in ("c_tls_psk_server", "c_tls_psk_load"):
        source = BENCH / f"{name}.c"
        strict = ["-O2", "-Wall", "-Wextra", "-Werror"]
        subprocess.run(["cc", *strict, "-o", folder / name, source, "-lssl", "-lcrypto"], check=True)
    return folder


@pytest.fixture
def targets(tmp_path: Path) -> Path:
    """Where a test writes its targets."""
    return tmp_path / "targets"


def target(port: int, key: bytes = KEY, *bfcp: int) -> str:
    """A line of the targets file."""
    return " ".join(map(str, (port, IDENTITY, key.hex(), *bfcp))) + "\n"


@asynccontextmanager
async def running(program: Path, *arguments: object, stdin: int = DEVNULL) -> AsyncIterator[Process]:
    """A program that is killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(program, *map(str, arguments), stdin=stdin, stdout=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def told(process: Process) -> dict[str, Any]:
    """The next line of JSON that a program prints."""
    assert process.stdout is not None
    async with asyncio.timeout(60):
        line: dict[str, Any] = json.loads(await process.stdout.readline())
    return line


async def load(programs: Path, *arguments: object) -> dict[str, Any]:
    """One run of the load generator, which connects."""
    async with running(programs / "c_tls_psk_load", *arguments) as process:
        return await told(process)


def server_arguments(*arguments: object) -> tuple[object, ...]:
    """Arguments of the C server with the usual key."""
    return ("--identity", IDENTITY, "--psk", KEY.hex(), *arguments)


@asynccontextmanager
async def listening_server(programs: Path, *arguments: object) -> AsyncIterator[tuple[int, int]]:
    """The C server: its port and its process number."""
    given = server_arguments("--listen", ANY, *arguments)
    async with running(programs / "c_tls_psk_server", *given) as process:
        yield (await told(process))["listening"], process.pid


@pytest.mark.parametrize("suite", SUITES)
async def test_every_suite(programs: Path, targets: Path, suite: str) -> None:
    async with listening_server(programs) as (port, pid):
        targets.write_text(target(port) + target(port, KEY, 4321, 7))
        result = await load(
            programs,
            "--targets",
            targets,
            "--suite",
            suite,
            "--count",
            20,
            "--pid",
            pid,
            "--pid",
            os.getpid(),
        )
    assert (result["operations"], result["failures"]) == (20, 0)
    assert result["cpu_us"] > 0
    assert result["per_second_and_core"] == pytest.approx(1e6 / result["cpu_us"], rel=0.01)
    assert result["rss_after_kb"] >= result["rss_before_kb"] > 0


@pytest.mark.parametrize(
    ("suite", "says"),
    [("psk-gcm", "bad record mac"), ("ecdhe-cbc", "bad record mac"), ("tls13", "illegal parameter")],
)
async def test_wrong_key(programs: Path, targets: Path, suite: str, says: str) -> None:
    async with listening_server(programs) as (port, _):
        targets.write_text(target(port, WRONG_KEY))
        result = await load(programs, "--targets", targets, "--suite", suite, "--count", 3)
        assert (result["operations"], result["failures"]) == (0, 3)
        assert says in result["first_failure"]


async def test_no_common_suite(programs: Path, targets: Path) -> None:
    async with listening_server(programs, "--suite", "psk-gcm") as (port, _):
        targets.write_text(target(port))
        assert (await load(programs, "--targets", targets, "--suite", "tls13"))["failures"] == 1
        assert (await load(programs, "--targets", targets, "--suite", "psk-gcm"))["failures"] == 0


@pytest.mark.parametrize("suite", SUITES)
async def test_server_that_opens_tcp(programs: Path, targets: Path, suite: str) -> None:
    targets.write_text(target(0))
    given = ("--targets", targets, "--suite", suite, "--count", 20, "--listen", ANY)
    async with running(programs / "c_tls_psk_load", *given) as generator:
        there = f"127.0.0.1:{(await told(generator))['listening']}"
        arguments = server_arguments("--connect", there, "--count", 20, "--concurrency", 3)
        async with running(programs / "c_tls_psk_server", *arguments) as server:
            assert await told(server) == {"connections": 20, "failures": 0}
        assert (await told(generator))["operations"] == 20


async def test_connections_held_and_let_go(programs: Path, targets: Path) -> None:
    async with listening_server(programs) as (port, pid):
        targets.write_text(target(port))
        given = ("--targets", targets, "--count", 50, "--hold", "--pid", pid)
        async with running(programs / "c_tls_psk_load", *given, stdin=PIPE) as generator:
            result = await told(generator)
            assert (result["operations"], result["failures"]) == (50, 0)
            assert result["rss_kb_each"] > 0
            assert generator.stdin is not None
            generator.stdin.close()
            assert await told(generator) == {"held": 50, "lost": 0}
            assert await generator.wait() == 0


async def test_held_connections_that_the_server_drops(programs: Path, targets: Path) -> None:
    async with listening_server(programs) as (port, pid):
        targets.write_text(target(port))
        given = ("--targets", targets, "--count", 5, "--hold")
        async with running(programs / "c_tls_psk_load", *given, stdin=PIPE) as generator:
            assert (await told(generator))["operations"] == 5
            os.kill(pid, 9)
            async with asyncio.timeout(30):
                while not has_ended(pid):
                    await asyncio.sleep(0.02)
            assert generator.stdin is not None
            generator.stdin.close()
            assert await told(generator) == {"held": 0, "lost": 5}
            assert await generator.wait() == 1


async def test_silent_server_runs_into_the_time_limit(programs: Path, targets: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        targets.write_text(target(silent.getsockname()[1]))
        result = await load(programs, "--targets", targets, "--count", 2, "--timeout", 1)
    assert result["failures"] == 2
    assert "handshake takes too long" in result["first_failure"]
    assert result["wall_s"] < 30


@pytest.mark.parametrize(
    "text", ["", "5000 id\n", "5000 id 0\n", "5000 id 0g\n", "70000 id 00\n", "5000 id 00 1\n"]
)
def test_targets_that_make_no_sense(programs: Path, targets: Path, text: str) -> None:
    targets.write_text(text)
    done = subprocess.run(
        [programs / "c_tls_psk_load", "--targets", targets], capture_output=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr


def test_other_machines_are_left_alone(programs: Path) -> None:
    given = map(str, server_arguments("--connect", "192.0.2.1:5000", "--count", 1))
    done = subprocess.run([programs / "c_tls_psk_server", *given], capture_output=True, check=False)
    assert done.returncode == 1
    assert b"not a loopback address" in done.stderr


@pytest.mark.parametrize("suite", SUITES)
async def test_mrfp_that_listens(programs: Path, targets: Path, suite: str) -> None:
    """Three users, each with a termination of his own: Hello, HelloAck, and the MRFP closes as it should."""
    mrfp = LocalMrfp()
    made = [
        mrfp.configure(
            ConfigureBfcpTermination(
                ("127.0.0.1", 9), user, conference=CONFERENCE, psk=KEY, psk_identity=IDENTITY
            )
        )
        for user in (1, 2, 3)
    ]
    ports = [configured.local[1] for configured in made if configured.local]
    targets.write_text("".join(target(port, KEY, 4321, user) for user, port in enumerate(ports, 1)))
    result = await load(programs, "--targets", targets, "--suite", suite)
    assert (result["operations"], result["failures"]) == (3, 0)
    await until(lambda: sum(isinstance(each, BearerReleased) for each in mrfp.indications) == 3)
    for configured in made:
        mrfp.release(configured)


async def test_error_of_the_mrfp_is_no_answer(programs: Path, targets: Path) -> None:
    mrfp = LocalMrfp()
    configured = mrfp.configure(
        ConfigureBfcpTermination(("127.0.0.1", 9), 1, conference=CONFERENCE, psk=KEY, psk_identity=IDENTITY)
    )
    assert configured.local
    targets.write_text(target(configured.local[1], KEY, 4321, 2))
    result = await load(programs, "--targets", targets)
    assert (result["failures"], result["first_failure"]) == (1, f"port {configured.local[1]}: wrong answer")
    mrfp.release(configured)


@pytest.mark.parametrize("suite", SUITES)
async def test_mrfp_that_opens_tcp(programs: Path, targets: Path, suite: str) -> None:
    """The ports of the MRFP are not known before it connects: the users have one key, as port 0 says."""
    mrfp = LocalMrfp()
    targets.write_text(target(0, KEY, 4321, 1))
    given = ("--targets", targets, "--suite", suite, "--listen", ANY)
    async with running(programs / "c_tls_psk_load", *given) as generator:
        here = ("127.0.0.1", (await told(generator))["listening"])
        configured = mrfp.configure(
            ConfigureBfcpTermination(
                here, 1, conference=CONFERENCE, psk=KEY, psk_identity=IDENTITY, start_tcp=True
            )
        )
        assert (await told(generator))["operations"] == 1
    mrfp.release(configured)
