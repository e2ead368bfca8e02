"""The guard: who gets in, and why others do not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from certificates import certify

from mrf_ops.config import ConfigError
from mrfc import config
from mrfc.trunks.digest import Algorithm, Challenge, Login, ha1, parameters
from mrfc.trunks.guard import CAUSES, WINDOW, Gate, Verdict

DOMAIN = "conf.example"
URI = "sip:meeting@conf.example"
PASSWORD = "correct horse"


@dataclass
class Request:
    """A request as the guard sees it."""

    source: str = "192.0.2.1"
    transport: str = "udp"
    port: int = 5060
    method: str = "INVITE"
    in_dialog: bool = False
    octets: int = 1000
    body: int = 100
    pem: str = ""
    authorizations: list[str] = field(default_factory=list)
    again: bool = False

    def size(self) -> int:
        return self.octets

    def body_size(self) -> int:
        return self.body

    def certificate(self) -> str:
        return self.pem

    def authorization(self) -> list[str]:
        return self.authorizations

    def repeated(self) -> bool:
        return self.again

    def request_uri(self) -> str:
        return URI


class Memory:
    """What workers share, in one process."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def rate(self, key: str) -> int:
        self.counts[key] += 1
        return self.counts[key]

    use = rate


class World:
    """A gate, its clock, and the memory behind it."""

    def __init__(self, folder: Path, toml: str) -> None:
        (folder / "kms.psk").touch(mode=0o600)
        (folder / "kms.psk").write_text("00" * 32)
        path = folder / "mrfc.toml"
        path.write_text(
            f'[sip]\ndomain = "{DOMAIN}"\ncontact = "{DOMAIN}"\n[mp]\nport = 1\n[kms]\nurl = "http://k"\n'
            f'identity = "k"\npsk_identity = "m"\npsk_file = "kms.psk"\n{toml}'
        )
        self.now = 1_000_000.0
        self.memory = Memory()
        self.randoms = 0
        read = config.load(path)
        self.gate = Gate(read.guard, read.trunk, read.sip.domain, b"secret", lambda: self.now, self.random)

    def random(self) -> str:
        self.randoms += 1
        return f"{self.randoms:x}"

    def judge(self, request: Request) -> Verdict:
        verdict = self.gate.judge(request, self.memory)
        assert verdict.cause in (*CAUSES, "repeated")
        assert verdict.trunk in self.gate.names
        return verdict


def users_file(folder: Path, *algorithms: Algorithm) -> None:
    path = folder / "pbx.users"
    path.touch(mode=0o600)
    lines = [f"pbx:{DOMAIN}:{ha1(algorithm, 'pbx', DOMAIN, PASSWORD)}" for algorithm in algorithms]
    path.write_text("\n".join(lines))


def status(verdict: Verdict) -> tuple[str, int]:
    return verdict.cause, verdict.status


def test_without_trunks_everybody_is_served(tmp_path: Path) -> None:
    verdict = World(tmp_path, "").judge(Request())
    assert (verdict.served, verdict.trunk) == (True, "-")


@pytest.mark.parametrize(("strangers", "answer"), [("refuse", 403), ("drop", 0)])
def test_strangers(tmp_path: Path, strangers: str, answer: int) -> None:
    world = World(
        tmp_path,
        f'[guard]\nstrangers = "{strangers}"\n[[trunk]]\nname = "a"\nnetworks = ["192.0.2.0/28", "2001:db8::/32"]\n',
    )
    for own in ("192.0.2.1", "::ffff:192.0.2.1", "2001:db8:5::1", "[2001:db8:5::1]"):
        assert world.judge(Request(own)).trunk == "a"
    for foreign in ("192.0.2.16", "2001:db9::1", "::1"):
        verdict = world.judge(Request(foreign))
        assert (verdict.trunk, *status(verdict)) == ("-", "stranger", answer)


def test_strangers_may_be_served(tmp_path: Path) -> None:
    world = World(
        tmp_path, '[guard]\nstrangers = "serve"\n[[trunk]]\nname = "a"\nnetworks = ["192.0.2.0/28"]\n'
    )
    assert world.judge(Request("198.51.100.1")).served


def test_a_trunk_is_bound_to_transports_and_ports(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        '[[trunk]]\nname = "a"\nnetworks = ["192.0.2.0/28"]\ntransports = ["tcp"]\nports = [5070]\n'
        '[[trunk]]\nname = "b"\nnetworks = ["192.0.2.0/24"]\nports = [5060]\n',
    )
    assert world.judge(Request(transport="tcp", port=5070)).trunk == "a"
    assert world.judge(Request(transport="tcp", port=5060)).trunk == "b"
    assert status(world.judge(Request(transport="udp", port=5070))) == ("stranger", 403)


def test_rate_and_flood(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        '[guard]\nrate = 5\nflood = 10\n[[trunk]]\nname = "a"\nnetworks = ["192.0.2.0/28"]\nrate = 2\nflood = 4\n'
        '[[trunk]]\nname = "b"\nnetworks = ["192.0.2.0/24"]\n',
    )
    for _ in range(2 * WINDOW):
        assert world.judge(Request()).served
    verdict = world.judge(Request())
    assert (*status(verdict), verdict.headers) == ("rate", 503, (("Retry-After", "5"),))
    assert world.judge(Request(method="BYE", in_dialog=True)).served, "what stands goes on"
    assert world.judge(Request(method="CANCEL")).served
    assert world.judge(Request("192.0.2.2")).served, "another source is another matter"
    assert world.judge(Request("192.0.2.100")).served
    world.judge(Request())
    assert status(world.judge(Request(in_dialog=True))) == ("flood", 0)
    world.now += WINDOW
    assert world.judge(Request()).served


def test_a_host_has_a_whole_64_of_ipv6(tmp_path: Path) -> None:
    world = World(tmp_path, "[guard]\nrate = 1\nflood = 9\n")
    verdicts = [world.judge(Request(f"2001:db8::{number}")).cause for number in range(1, 4)]
    assert verdicts == ["served", "served", "rate"]
    assert world.judge(Request("2001:db8:0:1::1")).served


def test_floods_of_made_up_sources_take_bounded_memory(tmp_path: Path) -> None:
    world = World(tmp_path, "")
    for number in range(70_000):
        world.judge(Request(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"))
    assert len(world.memory.counts) <= 0x10000
    assert len(world.gate._places) <= 0x10000


def test_sizes(tmp_path: Path) -> None:
    world = World(tmp_path, "[guard]\nmax_message = 3000\nmax_body = 2000\n")
    assert world.judge(Request(octets=3000, body=2000)).served
    assert status(world.judge(Request(octets=3001))) == ("message_size", 513)
    assert status(world.judge(Request(octets=3000, body=2001))) == ("body_size", 413)


def test_certificates(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        '[[trunk]]\nname = "a"\ntransports = ["tls"]\nsubjects = ["sip:A.example"]\n'
        '[[trunk]]\nname = "b"\ntransports = ["tls"]\nsubjects = ["sip:b.example", "host.b.example"]\n',
    )
    a = certify("a.example", 1, uris=("sip:other.example", "sip:a.example")).pem.decode()
    b = certify("host.b.example", 2).pem.decode()
    thief = certify("a.example", 3, uris=("sip:thief.example",)).pem.decode()
    assert world.judge(Request(transport="tls", pem=a)).trunk == "a"
    assert world.judge(Request(transport="tls", pem=b)).trunk == "b", (
        "the common name counts without other names"
    )
    for pem in ("", "rubbish", thief):
        assert status(world.judge(Request(transport="tls", pem=pem))) == ("certificate", 403)
    assert status(world.judge(Request(transport="tcp", pem=a))) == ("stranger", 403)


DIGEST = '[[trunk]]\nname = "pbx"\nusers_file = "pbx.users"\n'


def login(
    verdict: Verdict, *, number: int = 0, count: int = 1, password: str = PASSWORD, **changed: str
) -> str:
    """What a client answers to a challenge."""
    challenge = Challenge.parse(verdict.headers[number][1])
    name, method, uri = (
        changed.get(key, value) for key, value in (("name", "pbx"), ("method", "INVITE"), ("uri", URI))
    )
    return Login(name, password).answer(challenge, method, uri, count, "c0ffee")


def test_digest(tmp_path: Path) -> None:
    users_file(tmp_path, Algorithm.MD5, Algorithm.SHA_256)
    world = World(tmp_path, DIGEST)
    challenged = world.judge(Request())
    assert status(challenged) == ("no_credentials", 401)
    offered = [parameters(value)["algorithm"] for _, value in challenged.headers]
    assert offered == ["SHA-256", "MD5"], "the better one first"
    for number in range(2):
        assert world.judge(
            Request(authorizations=[login(challenged, number=number, count=number + 1)])
        ).served
    assert world.judge(Request(method="ACK")).served
    assert world.judge(Request(method="CANCEL")).served
    other_realm = login(challenged).replace(f'realm="{DOMAIN}"', 'realm="elsewhere"')
    assert status(world.judge(Request(authorizations=[other_realm]))) == ("no_credentials", 401)
    assert world.judge(Request(authorizations=[other_realm, login(challenged, count=3)])).served


def test_only_algorithms_with_users_are_offered(tmp_path: Path) -> None:
    users_file(tmp_path, Algorithm.SHA_256)
    assert len(World(tmp_path, DIGEST).judge(Request()).headers) == 1


def test_digest_of_others(tmp_path: Path) -> None:
    users_file(tmp_path, Algorithm.MD5)
    world = World(tmp_path, DIGEST)
    challenged = world.judge(Request())
    for wrong in (
        login(challenged, password="guessed"),
        login(challenged, name="nobody"),
        login(challenged, method="BYE"),
        login(challenged, uri="sip:another@conf.example"),
    ):
        verdict = world.judge(Request(authorizations=[wrong]))
        assert status(verdict) == ("bad_credentials", 401)
        assert "stale" not in verdict.headers[0][1]
    assert status(world.judge(Request(authorizations=["Digest rubbish"]))) == ("bad_credentials", 400)


def test_a_response_is_good_for_one_request(tmp_path: Path) -> None:
    users_file(tmp_path, Algorithm.MD5)
    world = World(tmp_path, DIGEST)
    challenged = world.judge(Request())
    first = login(challenged)
    assert world.judge(Request(authorizations=[first])).served
    assert world.judge(Request(authorizations=[first], again=True)).cause == "repeated", (
        "a retransmission is no replay"
    )
    replayed = world.judge(Request(authorizations=[first]))
    assert status(replayed) == ("stale_nonce", 401)
    assert parameters(replayed.headers[0][1])["stale"] == "true"
    assert world.judge(Request(authorizations=[login(replayed)])).served


def test_nonces_grow_old_and_cannot_be_made_up(tmp_path: Path) -> None:
    users_file(tmp_path, Algorithm.MD5)
    world = World(tmp_path, DIGEST)
    challenged = world.judge(Request())
    answer = login(challenged)
    nonce = parameters(challenged.headers[0][1])["nonce"]
    made_up = Login("pbx", PASSWORD).answer(
        Challenge(DOMAIN, "ffffffff" + nonce[8:], Algorithm.MD5), "INVITE", URI, 1, "c"
    )
    assert status(world.judge(Request(authorizations=[made_up]))) == ("stale_nonce", 401)
    world.now += 301
    assert status(world.judge(Request(authorizations=[answer]))) == ("stale_nonce", 401)


@pytest.mark.parametrize(
    ("toml", "fault"),
    [
        ('[[trunk]]\nname = "a"\n', "has to say who belongs"),
        ('[[trunk]]\nname = "a"\nnetworks = ["192.0.2.1/28"]\n', "host bits"),
        ('[[trunk]]\nname = "a b"\nnetworks = []\n', "name"),
        ('[[trunk]]\nname = "a"\nsubjects = ["sip:a"]\n', "tls"),
        ('[[trunk]]\nname = "a"\nnetworks = ["::/0"]\nusername = "u"\n', "go together"),
        ('[[trunk]]\nname = "a"\nnetworks = ["::/0"]\ntransports = []\n', "transports"),
        (2 * '[[trunk]]\nname = "a"\nnetworks = ["::/0"]\n', "twice"),
        ('[[trunk]]\nname = "a"\nusers_file = "pbx.users"\nrealm = "elsewhere"\n', "nobody in the realm"),
        ("[guard]\nrate = 5\nflood = 4\n", "flood"),
    ],
)
def test_contradictions_are_told_at_the_start(tmp_path: Path, toml: str, fault: str) -> None:
    users_file(tmp_path, Algorithm.MD5)
    with pytest.raises(ConfigError, match=fault):
        World(tmp_path, toml)


def test_a_file_of_users_that_others_can_read_is_refused(tmp_path: Path) -> None:
    users_file(tmp_path, Algorithm.MD5)
    (tmp_path / "pbx.users").chmod(0o644)
    with pytest.raises(ConfigError, match="open to everybody"):
        World(tmp_path, DIGEST)
