"""The store of the KMS on SQLite: users, keys, permissions, revocations, what was answered, audit, and faults."""

import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from mrf_kms import database
from mrf_kms.database import SqliteDatabase, StoreError
from mrf_kms.entries import AuditRecord, Entry
from mrf_kms.image import KEY_PREFIX, Image, Revocation, RevocationKind
from mrf_kms.store import Store
from mrf_kms.vault import Vault
from mrf_protocols.mikey import Credential

PSK = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kms.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store(path)
    yield store
    store.close()


def user_of(image: Image, psk_id: str) -> Credential:
    return image.users[psk_id].credential


def rotate(store: Store, now: float, longest: float = 100.0) -> str:
    return store.rotate_ticket_key(bytes(32), now, longest_ticket=longest, grace=10.0)


def test_file_is_for_its_owner_only(store: Store, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_users_come_and_go(store: Store) -> None:
    store.add_user("alice-psk", PSK, ["sip:alice@home.example", "sip:a@home.example"])
    store.add_user("mrfc-psk", PSK, ["sip:*@conf.example"])
    image = store.image()
    alice = image.credential("alice-psk", None)
    assert alice is not None
    assert (alice.psk, alice.identities) == (PSK, ("sip:a@home.example", "sip:alice@home.example"))
    assert image.credential(None, "alice@home.example") == alice
    assert image.credential(None, "sip:room@conf.example") is None
    assert image.credential("nobody", "sip:alice@home.example") is None
    store.remove_user("alice-psk", 1000.0, 100.0)
    assert list(store.image().users) == ["mrfc-psk"]
    assert list(image.users) == ["alice-psk", "mrfc-psk"]


def test_a_name_is_taken_once(store: Store) -> None:
    store.add_user("alice-psk", PSK, ["sip:alice@home.example"])
    with pytest.raises(StoreError, match="already"):
        store.add_user("alice-psk", PSK, ["sip:bob@home.example"])
    assert user_of(store.image(), "alice-psk").identities == ("sip:alice@home.example",)
    store.add_user("alice-psk", bytes(16), ["sip:bob@home.example"], replace=True)
    assert user_of(store.image(), "alice-psk").identities == ("sip:bob@home.example",)


def test_identities_of_several_users_find_nobody(store: Store) -> None:
    store.add_user("one", PSK, ["sip:alice@home.example"])
    store.add_user("two", PSK, ["alice@HOME.example"])
    assert store.image().credential(None, "sip:alice@home.example") is None


def test_certificates_and_rates(store: Store) -> None:
    store.add_user("alice", b"", ["sip:a@b"], certificate=b"DER", rate=5.0, opens_tickets=True)
    image = store.image()
    user = image.users["alice"]
    assert (user.credential.certificate, user.credential.psk, user.rate) == (b"DER", b"", 5.0)
    assert image.by_certificate == {b"DER": "alice"}
    assert image.opening == ("alice",)


@pytest.mark.parametrize(
    ("psk_id", "psk", "identities"),
    [
        ("", PSK, ["sip:a@b"]),
        (KEY_PREFIX + "7", PSK, ["sip:a@b"]),
        ("a\nb", PSK, ["sip:a@b"]),
        ("a", bytes(15), ["sip:a@b"]),
        ("a", bytes(65), ["sip:a@b"]),
        ("a", PSK, []),
        ("a", PSK, [""]),
    ],
)
def test_what_is_no_user(store: Store, psk_id: str, psk: bytes, identities: list[str]) -> None:
    with pytest.raises(StoreError):
        store.add_user(psk_id, psk, identities)
    assert not store.image().users


def test_removing_nobody(store: Store) -> None:
    with pytest.raises(StoreError, match="no user"):
        store.remove_user("nobody", 1000.0, 100.0)


def test_without_ticket_key_no_ticket(store: Store) -> None:
    with pytest.raises(StoreError, match="rotate"):
        store.image().current_key()


def test_replaced_key_resolves_until_its_tickets_have_expired(store: Store) -> None:
    first = rotate(store, 1000.0)
    second = rotate(store, 2000.0)
    image = store.image()
    assert image.current_key().identifier == second
    assert image.ticket_key(first, 2110.0, False) is not None
    assert image.ticket_key(first, 2110.5, False) is None
    assert image.ticket_key(second, 1e9, False) is not None
    store.tidy(2111.0, 1.0)
    assert first not in {key.name for key in store.image().ticket_keys}


def test_key_is_kept_for_the_longest_life_it_was_used_with(store: Store) -> None:
    first = rotate(store, 1000.0, longest=100.0)
    store.note_lifetime(5000.0)
    rotate(store, 2000.0, longest=100.0)
    assert store.image().ticket_key(first, 7010.0, False) is not None
    assert store.image().ticket_key(first, 7010.5, False) is None


def test_names_of_keys_are_not_used_again(store: Store) -> None:
    names = [rotate(store, now) for now in (1000.0, 2000.0, 3000.0, 4000.0)]
    store.tidy(4050.0, 1.0)
    assert len(set(names)) == 4
    assert len(store.image().ticket_keys) == 2


def test_users_key_makes_tickets_only_when_allowed(store: Store) -> None:
    store.add_user("alice-psk", PSK, ["sip:alice@home.example"])
    key = store.image().ticket_key("alice-psk", 0.0, True)
    assert key is not None
    assert key.owner == ("sip:alice@home.example",)
    assert store.image().ticket_key("alice-psk", 0.0, False) is None
    assert store.image().ticket_key(None, 0.0, True) is None


def test_changes_of_another_process_are_seen(store: Store, path: Path) -> None:
    assert not store.image().users
    other = Store(path)
    other.add_user("alice-psk", PSK, ["sip:alice@home.example"])
    assert list(store.image().users) == ["alice-psk"]
    other.remove_user("alice-psk", 1000.0, 100.0)
    assert not store.image().users


def test_a_file_that_is_no_store(tmp_path: Path) -> None:
    noise = tmp_path / "noise"
    noise.write_bytes(b"this is not SQLite" * 100)
    for path in (noise, tmp_path / "missing" / "kms.sqlite"):
        with pytest.raises(StoreError, match="cannot be used"):
            Store(path)


def test_keys_do_not_show_in_text(store: Store) -> None:
    store.add_user("alice-psk", b"very secret key.", ["sip:a@b"])
    store.rotate_ticket_key(b"very secret key!", 0.0, longest_ticket=1.0, grace=0.0)
    assert "secret" not in repr(store.image())


# --- permissions and revocations


def test_permissions_and_groups(store: Store) -> None:
    first = store.allow("@staff", "sip:*@conf.example", None)
    second = store.allow("sip:a@b", "*", 60.0)
    store.add_members("staff", ["sip:a@b", "sip:c@d", "sip:a@b"])
    image = store.image()
    assert [(p.number, p.initiator, p.lifetime) for p in image.permissions] == [
        (first, "@staff", None),
        (second, "sip:a@b", 60.0),
    ]
    assert image.groups == {"staff": ("sip:a@b", "sip:c@d")}
    store.remove_members("staff", ["sip:c@d"])
    store.disallow(first)
    assert store.image().groups == {"staff": ("sip:a@b",)}
    store.remove_members("staff", [])
    assert store.image().groups == {}
    for wrong in (
        lambda: store.disallow(first),
        lambda: store.remove_members("staff", []),
        lambda: store.remove_members("staff", ["sip:c@d"]),
        lambda: store.allow("", "x", None),
        lambda: store.add_members("", ["x"]),
    ):
        with pytest.raises(StoreError):
            wrong()


@pytest.mark.parametrize("removed", [False, True])
def test_revoked_users_take_their_tickets_along(store: Store, removed: bool) -> None:
    store.add_user("alice", PSK, ["sip:alice@b", "sip:al@b"])
    (store.remove_user if removed else store.revoke_user)("alice", 1000.0, 500.0)
    image = store.image()
    assert [(r.subject, r.revoked, r.until) for r in image.revoked_initiators] == [
        ("sip:al@b", 1000.0, 1500.0),
        ("sip:alice@b", 1000.0, 1500.0),
    ]
    assert image.credential("alice", None) is None
    assert image.credential(None, "sip:alice@b") is None
    if not removed:
        store.restore_user("alice")
        assert store.image().credential("alice", None) is not None
    assert store.image().revoked_initiators
    store.tidy(1501.0, 1.0)
    assert not store.image().revoked_initiators
    with pytest.raises(StoreError, match="no user"):
        store.restore_user("nobody")


def test_certificates_are_revoked_and_restored(store: Store) -> None:
    store.revoke(Revocation(RevocationKind.CERTIFICATE, "ab", 5.0, 100.0))
    assert store.image().revoked_certificates == {"ab": 5.0}
    assert store.image().revoked_tickets == {}
    store.restore_certificate("ab")
    assert store.image().revoked_certificates == {}
    with pytest.raises(StoreError, match="no certificate ab is revoked"):
        store.restore_certificate("ab")


def test_a_ticket_is_revoked_twice(store: Store) -> None:
    for now in (1000.0, 2000.0):
        store.revoke(Revocation(RevocationKind.TICKET, "ab12", now, now + 5))
    assert store.image().revoked_tickets == {"ab12": 2000.0}


# --- what was answered, and the audit log


def record(number: int, result: str = "granted", psk_id: str = "alice") -> AuditRecord:
    responders = ("sip:r@b", "sip:with a space@b")
    return AuditRecord(float(number), "REQUEST_INIT_PSK", psk_id, "sip:a@b", responders, "ab", result, "call")


def test_messages_are_answered_once_whoever_answers(store: Store, path: Path) -> None:
    other = Store(path)
    version = store.version()
    one, two = Entry(b"1" * 20, 500.0, record(1)), Entry(b"2" * 32, 500.0, record(2))
    assert store.record(version, [one, two, one]) == [True, True, False]
    assert other.record(version, [two, Entry(b"3" * 20, 500.0, None)]) == [False, True]
    assert [r.at for r in other.audit()] == [1.0, 2.0]
    assert other.audit()[0] == record(1)
    store.tidy(501.0, 1000.0)
    assert other.record(version, [one]) == [True]


def test_nothing_is_written_that_was_decided_on_old_knowledge(store: Store, path: Path) -> None:
    version = store.version()
    Store(path).add_user("alice", PSK, ["sip:a@b"])
    assert store.record(version, [Entry(b"1" * 20, 500.0, record(1))]) is None
    assert store.audit() == []
    assert store.record(store.version(), [Entry(b"1" * 20, 500.0, record(1))]) == [True]


def test_refusals_are_recorded_and_remember_nothing(store: Store) -> None:
    entry = Entry(None, 0.0, record(1, "refused"))
    assert store.record(store.version(), [entry, entry, Entry(None, 0.0, None)]) == [True, True, True]
    assert [r.result for r in store.audit()] == ["refused", "refused"]


def test_the_audit_log_is_asked_and_ends(store: Store) -> None:
    entries = [Entry(None, 0.0, record(at, psk_id="bob" if at % 2 else "alice")) for at in range(1, 7)]
    store.record(store.version(), entries)
    assert [r.at for r in store.audit(psk_id="bob")] == [1.0, 3.0, 5.0]
    assert [r.at for r in store.audit(since=4.0)] == [4.0, 5.0, 6.0]
    assert [r.at for r in store.audit(limit=2)] == [5.0, 6.0]
    store.tidy(10.0, 5.0)
    assert [r.at for r in store.audit()] == [5.0, 6.0]


# --- rotation by time


def test_the_ticket_key_is_rotated_when_due_by_one_of_two(store: Store, path: Path) -> None:
    other = Store(path)

    def due(of: Store, now: float) -> str | None:
        return of.rotate_when_due(bytes(32), now, after=100.0, longest_ticket=50.0, grace=5.0)

    assert due(store, 1000.0) == "kms-key-1"
    assert due(other, 1000.0) is None
    assert due(store, 1099.0) is None
    assert due(other, 1100.0) == "kms-key-2"
    assert due(store, 1100.0) is None
    assert store.image().ticket_keys[1].resolves_until == 1155.0


# --- keys at rest


def test_keys_are_sealed_under_the_master_key(path: Path) -> None:
    secret, ticket_key = b"a pre-shared key that is secret!", b"a ticket key that is as secret!!"
    store = Store(path, Vault(bytes(32)))
    store.add_user("alice", secret, ["sip:a@b"])
    store.rotate_ticket_key(ticket_key, 0.0, longest_ticket=1.0, grace=0.0)
    assert user_of(store.image(), "alice").psk == secret
    store.close()
    files = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"alice" in files
    assert secret not in files
    assert ticket_key not in files
    with pytest.raises(StoreError, match="not the one"):
        Store(path, Vault(b"\1" * 32))
    with pytest.raises(StoreError, match="missing"):
        Store(path)
    with pytest.raises(StoreError, match="32 octets"):
        Vault(bytes(31))


def test_a_sealed_key_opens_under_its_own_name_only(path: Path) -> None:
    """Whoever can write the file cannot give one user the key of another."""
    vault = Vault(bytes(32))
    store = Store(path, vault)
    store.add_user("alice", PSK, ["sip:a@b"])
    store.add_user("mallory", bytes(32), ["sip:m@b"])
    store.close()
    with sqlite3.connect(path) as db:
        db.execute(
            "UPDATE users SET psk = (SELECT psk FROM users WHERE psk_id = 'mallory') WHERE psk_id = 'alice'"
        )
    db.close()
    with pytest.raises(StoreError):
        Store(path, vault).image()


def test_the_master_key_comes_changes_and_goes(path: Path) -> None:
    store = Store(path)
    store.add_user("alice", PSK, ["sip:a@b"])
    store.add_user("cert", b"", ["sip:c@b"], certificate=b"DER")
    rotate(store, 0.0)
    before = store.image()
    for new, old in (
        (Vault(bytes(32)), None),
        (Vault(b"\1" * 32), Vault(bytes(32))),
        (Vault(), Vault(b"\1" * 32)),
    ):
        if new.seals and old is None:
            with pytest.raises(StoreError, match="not sealed yet"):
                Store(path, new)
        store = Store(path, old)
        store.change_master_key(new)
        store.close()
        again = Store(path, new).image()
        assert (again.users, again.ticket_keys) == (before.users, before.ticket_keys)


# --- a database that is locked, full, or gone


def test_a_locked_database(store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.05)
    store = Store(path)
    version = store.version()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="locked"):
        store.record(version, [Entry(b"1" * 20, 500.0, record(1))])
    other.execute("ROLLBACK")
    assert store.record(version, [Entry(b"1" * 20, 500.0, record(1))]) == [True]
    other.close()


def test_a_full_database(store: Store) -> None:
    store.add_user("alice", PSK, ["sip:a@b"])
    version = store.version()
    pages = store._db._open().execute("PRAGMA page_count").fetchone()[0]  # type: ignore[attr-defined] # to make it full
    store._db._open().execute(f"PRAGMA max_page_count = {pages}")  # type: ignore[attr-defined] # the same
    entries = [Entry(number.to_bytes(20), 500.0, record(number)) for number in range(500)]
    with pytest.raises(StoreError, match="full"):
        store.record(version, entries)
    assert store.audit() == []
    image = store.image()
    assert list(image.users) == ["alice"]


def test_a_database_that_is_gone_and_comes_back(store: Store, path: Path) -> None:
    version = store.version()
    entry = Entry(b"1" * 20, 500.0, record(1))
    hidden = path.with_name("hidden")
    path.rename(hidden)
    for _ in range(2):
        with pytest.raises(StoreError, match="cannot be used"):
            store.record(version, [entry])
    assert not path.exists()
    hidden.replace(path)
    assert store.record(version, [entry]) == [True]


def test_a_write_that_fails_in_the_middle_leaves_nothing(store: Store) -> None:
    version = store.version()
    store._db._open().execute("DROP TABLE audit")  # type: ignore[attr-defined] # the second of two statements fails
    with pytest.raises(StoreError, match="audit"):
        store.record(version, [Entry(b"1" * 20, 500.0, record(1))])
    assert store.record(version, [Entry(b"1" * 20, 500.0, None)]) == [True]


def test_backup_while_it_is_in_use(store: Store, tmp_path: Path) -> None:
    store.add_user("alice", PSK, ["sip:a@b"])
    copy = tmp_path / "copy"
    store.backup(copy)
    store.add_user("bob", PSK, ["sip:b@b"])
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert list(Store(copy).image().users) == ["alice"]
    with pytest.raises(StoreError):
        store.backup(copy)


def test_a_record_costs_little(store: Store) -> None:
    """A batch of answers is one transaction, which is far below the time that deciding them takes."""
    version = store.version()
    entries = [Entry(number.to_bytes(20), 500.0, record(number)) for number in range(500)]
    begun: list[str] = []
    assert isinstance(store._db, SqliteDatabase)
    assert store._db._db is not None
    store._db._db.set_trace_callback(
        lambda statement: begun.append(statement) if "BEGIN" in statement else None
    )
    store.record(version, entries)
    assert begun == ["BEGIN IMMEDIATE"]
