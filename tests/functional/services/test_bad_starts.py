"""Each element started with everything that can be wrong: one sentence says what, and how to mend it."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab import tool
from mrf_kms.client import KmsClient, KmsRefused
from mrf_protocols.mikey import TicketRequestExchange

Bench = Any  # of conftest.py, which tests cannot import
ELEMENTS = ["kms", "mrfp", "mrfc"]
KAMAILIO_GAVE_UP = 255
SECONDS = 60.0
Something = subprocess.CompletedProcess[str]


def refused(bench: Bench, element: str, text: str | None, *words: str) -> None:
    """The element does not start, says why in one line, without a traceback; so does its check."""
    started = bench.start(element, text)
    status = started.ended()
    assert status == os.EX_CONFIG
    said = started.output()
    assert "Traceback" not in said
    for word in words:
        assert any(word in line for line in said.splitlines()), said
    checked = bench.check(element)
    assert checked.returncode == os.EX_CONFIG
    for word in words:
        assert word in checked.stderr


@pytest.mark.parametrize("element", ELEMENTS)
def test_no_file(bench: Bench, element: str) -> None:
    refused(
        bench, element, None, f"{element}.toml: cannot be read: No such file or directory; name another one"
    )


@pytest.mark.parametrize(
    ("element", "words"),
    [
        ("kms", "http: is missing; allowed: a table with"),
        ("mrfp", "media: is missing"),
        ("mrfc", "sip: is missing"),
    ],
)
def test_empty_file(bench: Bench, element: str, words: str) -> None:
    refused(bench, element, "\n", words)


@pytest.mark.parametrize(
    ("element", "key", "words"),
    [
        ("kms", "port", 'http.port: is "many"; allowed: a whole number from 0 to 65535'),
        ("mrfp", "retry", 'mp.retry: is "many"; allowed: a number above 0'),
        ("mrfc", "port", 'mp.port: is "many"; allowed: a whole number from 0 to 65535'),
    ],
)
def test_wrong_type_and_unknown_key_are_told_together(
    bench: Bench, element: str, key: str, words: str
) -> None:
    lines = [
        f'{key} = "many"' if line.startswith(f"{key} =") else line
        for line in bench.good(element).splitlines()
    ]
    refused(
        bench,
        element,
        "\n".join([*lines, "colour = 1"]) + "\n",
        words,
        "colour: is not a known key; allowed:",
    )


def test_a_secret_that_others_may_read(bench: Bench) -> None:
    (bench.folder / "kms.psk").chmod(0o644)
    refused(bench, "mrfc", "", "kms.psk is open to everybody (mode 0644); run: chmod o=")


def test_a_master_key_that_others_may_read(bench: Bench) -> None:
    key = bench.folder / "master.key"
    key.write_text(secrets.token_hex(32))
    key.chmod(0o644)
    text = bench.good("kms").replace("[store]", '[store]\nmaster_key_file = "master.key"')
    refused(bench, "kms", text, "master.key is open to everybody (mode 0644); run: chmod o=")


def test_a_secret_that_is_not_there(bench: Bench) -> None:
    (bench.folder / "kms.psk").unlink()
    refused(
        bench, "mrfc", "", "kms.psk_file: secret file", "kms.psk cannot be read: No such file or directory"
    )


def test_a_secret_of_the_environment(bench: Bench) -> None:
    text = bench.good("mrfc").replace('"kms.psk"', '"env:MRFC_PSK"')
    refused(bench, "mrfc", text, "environment variable MRFC_PSK is not set; it should hold the secret")
    psk = secrets.token_hex(16)
    started = bench.start("mrfc", text, {"MRFC_PSK": psk})
    started.says("ready: Mp on")
    assert psk not in started.output()


def asked(bench: Bench, method: str) -> str:
    """The final response of the MRFC to a request over UDP."""
    with socket.socket(type=socket.SOCK_DGRAM) as peer:
        peer.settimeout(SECONDS)
        peer.connect(("127.0.0.1", bench.ports["sip"]))
        host, port = peer.getsockname()
        peer.send(
            f"{method} sip:meeting@conf.example SIP/2.0\r\nFrom: <sip:a@b.example>;tag=1\r\n"
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{secrets.token_hex(8)}\r\n"
            f"To: <sip:meeting@conf.example>\r\nCall-ID: {secrets.token_hex(8)}\r\nCSeq: 1 {method}\r\n"
            f"Contact: <sip:a@{host}:{port}>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n".encode()
        )
        while (response := peer.recv(65536).decode()).startswith("SIP/2.0 1"):
            pass
        return response


def until(condition: Callable[[], object]) -> None:
    """Wait for something that a process does, and tells nobody."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)  # the same


@pytest.mark.parametrize(("element", "port"), [("kms", "port"), ("mrfp", "port"), ("mrfc", "mp")])
def test_taken_port(bench: Bench, element: str, port: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", bench.ports[port]))
        other.listen()
        started = bench.start(element)
        line = started.says(f"cannot listen on 127.0.0.1:{bench.ports[port]}: another program has it")
        assert "stop that, or change" in line
        assert "Traceback" not in started.output()
        if element != "mrfc":
            assert started.ended() == 1
            return
        # Kamailio lives, and nobody has to wait for the engine, which tries again
        until(lambda: " 503 " in asked(bench, "OPTIONS"))
        refused_at_once = asked(bench, "INVITE")
        assert refused_at_once.startswith("SIP/2.0 503 ")
        assert "Retry-After: 5" in refused_at_once
        url = f"http://127.0.0.1:{bench.ports['port']}"
        one_sentence(
            tried("mrfc-ctl", "status", "--url", url), 1, "503 the engine does not answer: it cannot start"
        )
    started.says("ready: Mp on")
    until(lambda: " 200 " in asked(bench, "OPTIONS"))


@pytest.mark.parametrize(
    ("element", "old", "new", "words"),
    [
        ("kms", "[http]", '[http]\nhost = "192.0.2.77"', "no interface of this host has the address"),
        ("mrfp", "[http]", '[http]\nhost = "192.0.2.77"', "no interface of this host has the address"),
        (
            "mrfp",
            'ipv4 = "127.0.0.1"',
            'ipv4 = "192.0.2.77"',
            "media: no interface of this host has 192.0.2.77",
        ),
        (
            "mrfc",
            "[mp]",
            '[mp]\nallow_cleartext = true\nhost = "192.0.2.77"',
            "no interface of this host has the address",
        ),
    ],
)
def test_an_address_that_is_not_there(bench: Bench, element: str, old: str, new: str, words: str) -> None:
    started = bench.start(element, bench.good(element).replace(old, new))
    assert "192.0.2.77" in started.says(words)
    if element != "mrfc":
        assert started.ended() == 1


@pytest.mark.parametrize(
    ("port", "kind"), [("sip", socket.SOCK_DGRAM), ("sip", socket.SOCK_STREAM), ("port", socket.SOCK_STREAM)]
)
def test_a_taken_port_of_kamailio(bench: Bench, port: str, kind: int) -> None:
    """SIP over UDP and TCP, and HTTP. Kamailio opens them and gives up by itself; we say why before it does."""
    with socket.socket(type=kind) as other:
        other.bind(("127.0.0.1", bench.ports[port]))
        if kind == socket.SOCK_STREAM:
            other.listen()
        started = bench.start("mrfc")
        line = started.says(f"cannot listen on 127.0.0.1:{bench.ports[port]}: another program has it")
        assert "stop that, or change listen in kamailio.cfg" in line
        assert started.ended() == KAMAILIO_GAVE_UP


def test_an_address_of_kamailio_that_is_not_there(bench: Bench) -> None:
    bench.sip_host = "192.0.2.77"
    started = bench.start("mrfc")
    line = started.says("cannot listen on 192.0.2.77:")
    assert "no interface of this host has the address (ip address shows them): change listen" in line
    assert started.ended() == KAMAILIO_GAVE_UP


@pytest.mark.parametrize("element", ["mrfp", "mrfc"])
def test_a_certificate_for_mp_that_is_not_there(bench: Bench, element: str) -> None:
    """The MRFP ends, and is tried again; Kamailio lives, and the engine tries again."""
    tables = (
        bench.good(element).replace('"127.0.0.1:', '"tls:127.0.0.1:')
        if element == "mrfp"
        else bench.good("mrfc")
    )
    more = '[mp]\ncertificate = "mp.pem"\nkey = "mp.key"\nauthority = "ca.pem"\n'
    more += 'transports = ["tls"]\n' if element == "mrfc" else ""
    started = bench.start(element, tables.replace("[mp]\n", more))
    words = "mp.certificate, mp.key, mp.authority cannot be used:"
    assert f"{bench.folder}/mp.pem: No such file or directory" in started.says(words)
    if element == "mrfp":
        assert started.ended() == 1
    checked = bench.check(element)
    assert checked.returncode == 1
    assert words in checked.stderr


@pytest.mark.parametrize("element", ELEMENTS)
def test_a_folder_for_traces_that_is_not_there(bench: Bench, element: str) -> None:
    more = '[mikey]\nreplay_file = "/nowhere/replay"\n' if element == "mrfc" else ""
    started = bench.start(element, bench.good(element) + '[trace]\nfile = "/nowhere/trace.jsonl"\n' + more)
    line = started.says("trace.file: /nowhere/trace.jsonl cannot be written")
    if element == "mrfc":
        assert "mikey.replay_file: /nowhere/replay cannot be written: there is no folder /nowhere" in line
        checked = bench.check(element)
        assert checked.returncode == 0, "a folder may be made by systemd"
        assert "there is no folder /nowhere; make it, or change trace.file" in checked.stdout
    else:
        assert started.ended() == 1


def tried(command: str, *arguments: object) -> Something:
    """One of the commands that a person types."""
    return subprocess.run(
        [tool(command), *map(str, arguments)], check=False, capture_output=True, text=True, timeout=SECONDS
    )


def one_sentence(done: Something, status: int, *words: str) -> None:
    assert done.returncode == status, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_an_operator_whose_mrfc_or_files_are_not_there(bench: Bench) -> None:
    url = f"http://127.0.0.1:{bench.ports['port']}"
    one_sentence(
        tried("mrfc-ctl", "status", "--url", url), 1, f"{url} does not answer", "is the MRFC running"
    )
    secret = bench.folder / "operator.token"
    drain = ("drain", "--url", url, "--token-file", secret)
    one_sentence(tried("mrfc-ctl", *drain), 1, f"{secret} cannot be read: No such file or directory")
    secret.write_text("token")
    secret.chmod(0o644)
    one_sentence(tried("mrfc-ctl", *drain), 1, f"{secret} is open to everybody (mode 0644); run: chmod o=")
    trace = bench.folder / "trace.jsonl"
    one_sentence(tried("mrfc-ctl", "ladder", "--trace", trace), 1, f"no trace file {trace}")
    one_sentence(
        tried("mrfc-ctl", "check", bench.folder),
        os.EX_CONFIG,
        f"{bench.folder}: cannot be read: Is a directory",
    )


def test_a_ue_whose_key_address_or_kms_is_not_there(bench: Bench) -> None:
    secret, kms = bench.folder / "kms.psk", f"http://127.0.0.1:{bench.ports['kms']}"
    proxy = f"127.0.0.1:{bench.ports['sip']}"
    common: list[object] = [
        "dial-in",
        "sip:meeting@conf.example",
        "--identity",
        "sip:alice@ue.example",
        "--proxy",
        proxy,
    ]
    common += ["--kms", kms, "--kms-identity", "kms.example", "--psk-id", "alice", "--psk-file"]
    here: list[object] = ["--local-address", "127.0.0.1"]
    one_sentence(
        tried("mrf-ue", *common, secret, *here), 4, "the KMS gives no ticket", proxy.partition(":")[0]
    )
    one_sentence(
        tried("mrf-ue", *common, secret, "--local-address", "192.0.2.77"),
        3,
        "cannot use 192.0.2.77",
        "for SIP",
    )
    one_sentence(
        tried("mrf-ue", *common, bench.folder, *here), 2, f"secret file {bench.folder} cannot be read"
    )


def ask(port: int, path: str) -> tuple[int, dict[str, Any]]:
    """Status and JSON of an HTTP answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_no_mrfp_and_no_kms(bench: Bench) -> None:
    """The MRFC is up and says that it is not ready; what a call is answered then is tested with the system."""
    bench.start("mrfc").says("ready: Mp on")
    assert ask(bench.ports["port"], "/ready") == (503, {"status": "no MRFP is registered"})
    assert ask(bench.ports["port"], "/live") == (200, {"status": "ok"})


def test_no_mrfc(bench: Bench) -> None:
    """The MRFP is up, says that nobody commands it, and tries on."""
    started = bench.start("mrfp")
    assert "Connect" in started.says("no MRFC at 127.0.0.1")
    assert ask(bench.ports["port"], "/ready") == (503, {"registered": False, "media": True})
    assert started.process.poll() is None


def test_full_disk_for_the_store(bench: Bench, small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("full")
    (disk / "ballast").write_bytes(bytes(256 * 1024))
    text = bench.good("kms").replace('"kms.sqlite"', f'"{disk}/kms.sqlite"')
    started = bench.start("kms", text)
    assert started.ended() == 1
    said = started.output()
    assert "Traceback" not in said
    assert (
        f"{disk}/kms.sqlite cannot be used: database or disk is full; df -h shows the disk: make room" in said
    )


def test_a_folder_for_the_store_that_is_not_there(bench: Bench) -> None:
    started = bench.start("kms", bench.good("kms").replace('"kms.sqlite"', '"/nowhere/kms.sqlite"'))
    assert started.ended() == 1
    line = started.says("store /nowhere/kms.sqlite cannot be used: No such file or directory")
    assert "see owner and mode of it and of its folder" in line


async def test_a_clock_ten_minutes_off(bench: Bench) -> None:
    """The KMS refuses, and its log says how far the clocks are apart and what to do."""
    psk = secrets.token_bytes(16)
    psk_file = bench.folder / "alice.psk"
    psk_file.touch(mode=0o600)
    psk_file.write_text(psk.hex())
    bench.file("kms").write_text(bench.good("kms"))
    command = [
        sys.executable,
        "-m",
        "mrf_kms.cli",
        "user",
        "add",
        "alice",
        "--identity",
        "sip:alice@ue.example",
    ]
    command += ["--psk-file", str(psk_file), "--config", str(bench.file("kms"))]
    subprocess.run(command, check=True)
    started = bench.start("kms")
    started.says("ready: kms.example")
    client = KmsClient(f"http://127.0.0.1:{bench.ports['port']}", timeout=30.0)
    try:
        for seconds, where in ((600.0, "ahead of"), (-600.0, "behind")):
            exchange = TicketRequestExchange(
                psk=psk,
                psk_id="alice",
                initiator="sip:alice@ue.example",
                kms="kms.example",
                responders=["sip:meeting@conf.example"],
                csb_id=1,
                rand=os.urandom,
                now=time.time() + seconds,
            )
            with pytest.raises(KmsRefused):
                await client.ticket_request(exchange.request(), "call-1")
            line = started.says(f"s {where} this clock, 60 s are accepted: are both clocks set by NTP?")
            assert "call=call-1" in line
    finally:
        await client.close()
