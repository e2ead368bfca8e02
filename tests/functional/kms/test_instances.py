"""Several KMS instances on one store: an SQLite file on one host, or a PostgreSQL server, also while that fails."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kms_support import ALICE, Kms, client_of, refused, request, resolution, ticket_from, use
from postgres_support import Postgres

from mrf_kms.client import KmsClient, KmsUnavailable
from mrf_kms.database import StoreError
from mrf_kms.entries import Entry
from mrf_kms.store import Store
from mrf_kms.vault import Vault
from mrf_protocols.mikey import ErrorNumber


@pytest.fixture(params=["sqlite", "postgres"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Kms, Kms]]:
    store = f'file = "{tmp_path}/shared.sqlite"'
    if request.param == "postgres":
        postgres: Postgres = request.getfixturevalue("postgres")
        store = f'url = "{postgres.url}"'
    instances = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        instances.append(Kms(tmp_path / name))
        instances[-1].configure(store=store)
    one, two = instances
    options = ("--generate", "--replace")
    one.keys["alice-psk"] = bytes.fromhex(one.run("user", "add", "alice-psk", "--identity", ALICE, *options))
    added = one.run("user", "add", "mrfc-psk", "--identity", "sip:*@conf.example", *options)
    one.keys["mrfc-psk"] = bytes.fromhex(added)
    two.keys = one.keys
    for instance in instances:
        instance.start()
    yield one, two
    for instance in instances:
        instance.end()


async def test_they_answer_as_one(pair: tuple[Kms, Kms]) -> None:
    one, two = pair
    async with client_of(one) as first, client_of(two) as second:
        await use(two, second, await ticket_from(one, first))
        once = request(one).request()
        assert await first.ticket_request(once, "c")
        await refused(ErrorNumber.INVALID_TS, 403, lambda: second.ticket_request(once, "c"))
        _, _, init = resolution(one, await ticket_from(one, first))
        outcomes = await asyncio.gather(
            first.ticket_resolve(init, "c"), second.ticket_resolve(init, "c"), return_exceptions=True
        )
        assert sorted(isinstance(outcome, bytes) for outcome in outcomes) == [False, True]
        one.run("ticket-key", "rotate")
        await use(one, first, await ticket_from(two, second))
        one.run("user", "revoke", "alice-psk")
        await refused(ErrorNumber.AUTH_FAILURE, 403, lambda: ticket_from(two, second))
        one.run("user", "restore", "alice-psk")
        assert await ticket_from(two, second)
    assert one.stop() == 0
    async with client_of(two) as second:
        assert await ticket_from(two, second)
    both = KmsClient([one.url, two.url])
    assert await ticket_from(two, both)
    await both.close()


async def test_the_audit_log_is_one(pair: tuple[Kms, Kms]) -> None:
    one, two = pair
    since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    async with client_of(one) as first, client_of(two) as second:
        await use(two, second, await ticket_from(one, first))
    lines = [line.split("\t") for line in two.run("audit", "list", "--since", since).splitlines()]
    assert [line[1] for line in lines] == ["REQUEST_INIT_PSK", "RESOLVE_INIT_PSK"]
    assert lines[0][5] == lines[1][5] != ""


# --- PostgreSQL alone


def test_store_on_postgres(postgres: Postgres) -> None:
    """What differs from SQLite underneath: numbers, octets, conflicts."""
    store, other = Store(postgres.url, Vault()), Store(postgres.url, Vault())
    store.change_master_key(Vault(bytes(32)))
    with pytest.raises(StoreError, match="missing"):
        Store(postgres.url)
    store.change_master_key(Vault())
    store.add_user("carol", bytes(16), ["sip:carol@b"], rate=2.5, certificate=b"\0DER")
    user = other.image().users["carol"]
    assert (user.rate, user.credential.certificate, user.credential.psk) == (2.5, b"\0DER", bytes(16))
    with pytest.raises(StoreError, match="already"):
        other.add_user("carol", bytes(16), ["sip:carol@b"])
    number = store.allow("@staff", "*", 60.0)
    assert store.allow("@staff", "*", None) > number
    store.disallow(number)
    with pytest.raises(StoreError, match="no rule"):
        store.disallow(number)
    version = store.version()
    entry = Entry(b"\xff" * 20, 500.0, None)
    assert store.record(version, [entry, entry]) == [True, False]
    assert other.record(version, [entry]) == [False]
    assert other.record(version - 1, [entry]) is None
    with pytest.raises(StoreError, match="pg_dump"):
        store.backup(Path("/nowhere"))
    store.remove_user("carol", 1000.0, 1.0)
    store.tidy(200_000.0, 1.0)  # later than any ticket of the instances that were here before
    assert not [r for r in store.image().revoked_initiators if r.subject == "sip:carol@b"]
    store.close()
    other.close()


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(StoreError, match=r"store postgresql://127\.0\.0\.1:9/kms cannot be used") as caught:
        Store("postgresql://kms:secret@127.0.0.1:9/kms?connect_timeout=1")
    assert "secret" not in str(caught.value)


async def test_postgres_goes_and_comes_back(postgres: Postgres, tmp_path: Path) -> None:
    kms = Kms(tmp_path)
    kms.configure(store=f'url = "{postgres.url}"')
    options = ("--identity", ALICE, "--generate", "--replace")
    kms.keys["alice-psk"] = bytes.fromhex(kms.run("user", "add", "alice-psk", *options))
    kms.start()
    try:
        async with client_of(kms) as client:
            assert await ticket_from(kms, client)
            postgres.stop("immediate")
            try:
                with pytest.raises(KmsUnavailable, match="503"):
                    await ticket_from(kms, client)
            finally:
                postgres.start()
            assert await ticket_from(kms, client)
        assert "cannot be used" in kms.log()
        assert kms.stop() == 0
    finally:
        kms.end()
