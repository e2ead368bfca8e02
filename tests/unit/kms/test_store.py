"""The store of the KMS: users, ticket keys and their rotation, and changes made by another process."""

import stat
from pathlib import Path

import pytest

from mrf_kms.store import KEY_PREFIX, Store, StoreError

PSK = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kms.sqlite"


@pytest.fixture
def store(path: Path) -> Store:
    return Store(path)


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
    assert (alice.psk, alice.identities) == (PSK, ("sip:alice@home.example", "sip:a@home.example"))
    assert image.credential(None, "alice@home.example") == alice
    assert image.credential(None, "sip:room@conf.example") is None
    assert image.credential("nobody", "sip:alice@home.example") is None
    store.remove_user("alice-psk")
    assert list(store.image().users) == ["mrfc-psk"]
    assert list(image.users) == ["alice-psk", "mrfc-psk"]


def test_a_name_is_taken_once(store: Store) -> None:
    store.add_user("alice-psk", PSK, ["sip:alice@home.example"])
    with pytest.raises(StoreError, match="already"):
        store.add_user("alice-psk", PSK, ["sip:bob@home.example"])
    assert store.image().users["alice-psk"].identities == ("sip:alice@home.example",)
    store.add_user("alice-psk", bytes(16), ["sip:bob@home.example"], replace=True)
    assert store.image().users["alice-psk"].identities == ("sip:bob@home.example",)


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
        store.remove_user("nobody")


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
    rotate(store, 2111.0)
    assert first not in {key.name for key in store.image().ticket_keys}


def test_key_is_kept_for_the_longest_life_it_was_used_with(store: Store) -> None:
    first = rotate(store, 1000.0, longest=100.0)
    store.note_lifetime(5000.0)
    rotate(store, 2000.0, longest=100.0)
    assert store.image().ticket_key(first, 7010.0, False) is not None
    assert store.image().ticket_key(first, 7010.5, False) is None


def test_names_of_keys_are_not_used_again(store: Store) -> None:
    names = [rotate(store, now) for now in (1000.0, 2000.0, 3000.0, 4000.0)]
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
    assert store.image() is store.image()
    other.remove_user("alice-psk")
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
