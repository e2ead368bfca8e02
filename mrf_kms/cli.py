"""Command line of the KMS: mrf-kms serve, check, user, certificate, allow, group, ticket, ticket-key, audit, backup,
master-key."""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from string import hexdigits

from mrf_kms.access import TICKET_NAME_LENGTH
from mrf_kms.config import KmsConfig, load
from mrf_kms.database import StoreError
from mrf_kms.image import Image, Revocation, RevocationKind
from mrf_kms.server import check_files, serve
from mrf_kms.store import Store
from mrf_kms.ticket_keys import TICKET_KEY_LENGTH
from mrf_kms.vault import MASTER_KEY_LENGTH, Vault
from mrf_ops import logs
from mrf_ops.config import ConfigError, read_secret
from mrf_ops.lines import is_loopback
from mrf_ops.service import EXIT_CANNOT_RUN, EXIT_CONFIGURATION
from mrf_protocols.mikey import MikeyError
from mrf_protocols.mikey.certificates import marks_of, pem_chain, public_key

DEFAULT_CONFIG = Path("/etc/ims-floor-control/kms.toml")
PSK_LENGTH = 32
FINGERPRINT_DIGITS = 64
FOR_EVER = 253402300799.0
"""The end of the year 9999: certificates do not come back by themselves."""
Command = Callable[[KmsConfig, argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit status: 0 done, 1 could not be done, 2 wrong usage, 78 configuration."""
    options = _parser().parse_args(arguments)
    if options.run is None:  # the configuration may name the file that this goes to
        print(os.urandom(MASTER_KEY_LENGTH).hex())
        return 0
    try:
        config = load(options.config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIGURATION
    try:
        status: int = options.run(config, options)
    except (StoreError, MikeyError, OSError, ValueError) as error:
        print(f"mrf-kms: {error}", file=sys.stderr)
        return EXIT_CANNOT_RUN
    return status


# --- what there is to say


class _Words:
    """Builds the parser: groups of commands, each with --config."""

    def __init__(self) -> None:
        self.parser = argparse.ArgumentParser(prog="mrf-kms", description="KMS: MIKEY-TICKET over HTTP")
        self._common = argparse.ArgumentParser(add_help=False)
        self._common.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="default: %(default)s")
        self._groups = {"": self.parser.add_subparsers(required=True, metavar="COMMAND")}

    def group(self, name: str, about: str) -> None:
        """Add a group of commands."""
        commands = self._groups[""].add_parser(name, help=about)
        self._groups[name] = commands.add_subparsers(required=True, metavar="COMMAND")

    def command(self, group: str, name: str, about: str, run: Command | None) -> argparse.ArgumentParser:
        """Add a command to a group, or with "" to none."""
        parser = self._groups[group].add_parser(name, parents=[self._common], help=about)
        parser.set_defaults(run=run)
        return parser


def _parser() -> argparse.ArgumentParser:
    words = _Words()
    words.command("", "serve", "answer requests; SIGHUP reads log settings and certificate again", _serve)
    words.command("", "check", "check configuration, store and keys", _check)
    _user_words(words)
    _certificate_words(words)
    _access_words(words)
    words.group("ticket", "tickets that were made")
    revoke = words.command("ticket", "revoke", "let tickets not resolve any more", _revoke_ticket)
    which = revoke.add_mutually_exclusive_group(required=True)
    which.add_argument("--id", help="one ticket, as the audit log names it")
    which.add_argument("--initiator", metavar="PATTERN", help="all made until now for such initiators")
    words.command("ticket", "revoked", "list what is revoked", _list_revoked)
    words.group("ticket-key", "keys that tickets are made with")
    words.command("ticket-key", "rotate", "make a new key", _rotate)
    words.command("ticket-key", "list", "list keys", _list_keys)
    words.group("audit", "who asked for what, and what came of it")
    audit = words.command("audit", "list", "show the newest records", _list_audit)
    audit.add_argument("--user", metavar="PSK_ID", help="of this user only")
    audit.add_argument(
        "--since", metavar="TIME", type=_moment, default=0.0, help="ISO 8601, UTC without zone"
    )
    audit.add_argument("--limit", type=int, default=1000, help="how many (default: %(default)s)")
    backup = words.command("", "backup", "copy the store (SQLite) while it is in use", _backup)
    backup.add_argument("file", type=Path, help="new file")
    words.group("master-key", "the key that the keys in the store are sealed with")
    words.command("master-key", "generate", "print a new one, and change nothing", None)
    change = words.command("master-key", "change", "seal all keys anew", _change_master_key)
    change.add_argument("--new-file", type=Path, help="file with the new one; the store is unsealed without")
    return words.parser


def _user_words(words: _Words) -> None:
    words.group("user", "who has a key or certificate")
    add = words.command("user", "add", "add a user", _add_user)
    add.add_argument("psk_id", help="name of the pre-shared key (IDRpsk)")
    add.add_argument(
        "--identity",
        action="append",
        required=True,
        help='KMS user identity, "*" for any run of characters without "@"; may be repeated',
    )
    source = add.add_mutually_exclusive_group(required=True)
    source.add_argument("--psk-file", type=Path, help="file with the key in hexadecimal digits")
    source.add_argument(
        "--psk-stdin", action="store_true", help="read the key in hexadecimal digits from stdin"
    )
    source.add_argument("--generate", action="store_true", help="make a key and print it")
    source.add_argument("--certificate", type=Path, help="RSA certificate (PEM) instead of a key")
    add.add_argument("--rate", type=float, help="requests per second; default: [limits] user_rate")
    add.add_argument(
        "--opens-tickets", action="store_true", help="tickets for it may be made with its own key (mode 2)"
    )
    add.add_argument("--replace", action="store_true", help="replace a user of that name")
    words.command("user", "list", "list users", _list_users)
    for name, about, run in (
        ("revoke", "refuse a user, and all tickets made for it until now", _revoke_user),
        ("restore", "serve a revoked user again", _restore_user),
        ("remove", "remove a user, and refuse all tickets made for it until now", _remove_user),
    ):
        words.command("user", name, about, run).add_argument("psk_id")


def _certificate_words(words: _Words) -> None:
    words.group("certificate", "certificates of users that are revoked")
    for name, about, run in (
        ("revoke", "refuse a certificate, also one of a trusted authority", _revoke_certificate),
        ("restore", "take a revoked certificate again", _restore_certificate),
    ):
        which = words.command("certificate", name, about, run).add_mutually_exclusive_group(required=True)
        which.add_argument("--file", type=Path, help="the certificate itself (PEM)")
        which.add_argument("--fingerprint", metavar="HEX", help="SHA-256 of the certificate")
        which.add_argument("--serial", metavar="HEX", help="its serial number, of whichever authority")
    words.command("certificate", "revoked", "list what is revoked", _list_certificates)


def _access_words(words: _Words) -> None:
    words.group("allow", 'who may have tickets for whom, with access = "permitted"')
    add = words.command("allow", "add", "add a permission", _allow)
    add.add_argument("initiator", help='identity pattern, or "@group"')
    add.add_argument("responder", help='identity pattern, or "@group"')
    add.add_argument("--lifetime", type=float, help="longest life of such tickets in seconds")
    words.command("allow", "list", "list permissions", _list_permissions)
    words.command("allow", "remove", "take a permission away", _disallow).add_argument("number", type=int)
    words.group("group", "names for several identity patterns")
    members = words.command("group", "add", "add members", _add_members)
    members.add_argument("group")
    members.add_argument("pattern", nargs="+")
    words.command("group", "list", "list groups", _list_groups)
    members = words.command("group", "remove", "take members out, or all of them", _remove_members)
    members.add_argument("group")
    members.add_argument("pattern", nargs="*")


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no ISO 8601 time") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


# --- what it does


@contextmanager
def _store(config: KmsConfig) -> Iterator[Store]:
    store = Store(config.store.where, config.store.vault())
    try:
        yield store
    finally:
        store.close()


def _image(config: KmsConfig) -> Image:
    with _store(config) as store:
        return store.image()


def _serve(config: KmsConfig, options: argparse.Namespace) -> int:
    logs.setup("KMS", config.log.level, config.log.form)
    asyncio.run(serve(config, lambda: load(options.config)))
    return 0


def _check(config: KmsConfig, options: argparse.Namespace) -> int:
    """Nothing is changed: a store that is not there yet is not made."""
    check_files(config)
    file = config.store.file
    if file is None or file.exists():
        image = _image(config)
        print(f"{file or 'store'}: {len(image.users)} users, {len(image.ticket_keys)} ticket keys")
    elif not os.access(file.parent, os.W_OK | os.X_OK):
        raise StoreError(f"store.file: {file} cannot be made: see owner and mode of its folder")
    else:
        print(f"{file} does not exist yet; it is made when the KMS starts")
    if config.http.certificate is None and not is_loopback(config.http.host):
        print("warning: plain HTTP beyond this host; http.certificate and http.private_key make it HTTPS")
    if not config.store.vault().seals:
        print("warning: keys are stored in the clear; store.master_key_file seals them")
    print(f"{options.config}: no faults")
    return 0


def _add_user(config: KmsConfig, options: argparse.Namespace) -> int:
    certificate = b""
    if options.certificate is not None:
        certificate = pem_chain(options.certificate.read_bytes())[0]
        public_key(certificate)
    psk = b"" if certificate else _psk(options)
    with _store(config) as store:
        store.add_user(
            options.psk_id,
            psk,
            options.identity,
            certificate=certificate,
            opens_tickets=options.opens_tickets,
            rate=options.rate,
            replace=options.replace,
        )
    if options.generate:
        print(psk.hex())
    return 0


def _psk(options: argparse.Namespace) -> bytes:
    if options.generate:
        return os.urandom(PSK_LENGTH)
    if options.psk_file is not None:
        return read_secret(options.psk_file).reveal_hex()
    try:
        return bytes.fromhex(sys.stdin.readline().strip())
    except ValueError:
        raise ValueError("the key on stdin is not written in hexadecimal digits") from None


def _list_users(config: KmsConfig, options: argparse.Namespace) -> int:
    for psk_id, user in _image(config).users.items():
        marks = [] if user.enabled else ["revoked"]
        marks += ["certificate"] if user.credential.certificate else []
        marks += ["opens tickets"] if user.opens_tickets else []
        marks += [f"{user.rate:g}/s"] if user.rate is not None else []
        print(psk_id, *user.credential.identities, *(f"({mark})" for mark in marks), sep="\t")
    return 0


def _remove_user(config: KmsConfig, options: argparse.Namespace) -> int:
    with _store(config) as store:
        store.remove_user(options.psk_id, time.time(), _longest(config))
    return 0


def _revoke_user(config: KmsConfig, options: argparse.Namespace) -> int:
    with _store(config) as store:
        store.revoke_user(options.psk_id, time.time(), _longest(config))
    return 0


def _restore_user(config: KmsConfig, options: argparse.Namespace) -> int:
    with _store(config) as store:
        store.restore_user(options.psk_id)
    return 0


def _mark(options: argparse.Namespace) -> str:
    """What the store calls the certificate. Raises ValueError."""
    if options.file is not None:
        return marks_of(pem_chain(options.file.read_bytes())[0])[0]
    digits = (options.fingerprint or options.serial).replace(":", "").lower()
    try:
        number = int(digits, 16)
    except ValueError:
        raise ValueError(f"{digits} is not written in hexadecimal digits") from None
    if options.serial is not None:
        return f"{number:x}"
    if len(digits) != FINGERPRINT_DIGITS:
        raise ValueError(
            f"a SHA-256 fingerprint has {FINGERPRINT_DIGITS} hexadecimal digits, not {len(digits)}"
        )
    return str(digits)


def _revoke_certificate(config: KmsConfig, options: argparse.Namespace) -> int:
    with _store(config) as store:
        store.revoke(Revocation(RevocationKind.CERTIFICATE, _mark(options), time.time(), FOR_EVER))
    return 0


def _restore_certificate(config: KmsConfig, options: argparse.Namespace) -> int:
    with _store(config) as store:
        store.restore_certificate(_mark(options))
    return 0


def _list_certificates(config: KmsConfig, options: argparse.Namespace) -> int:
    for mark, when in _image(config).revoked_certificates.items():
        print("fingerprint" if len(mark) == FINGERPRINT_DIGITS else "serial", mark, _date(when), sep="\t")
    return 0


def _longest(config: KmsConfig) -> float:
    return config.kms.ticket_lifetime + config.kms.clock_skew


def _allow(config: KmsConfig, options: argparse.Namespace) -> int:
    with _store(config) as store:
        print(store.allow(options.initiator, options.responder, options.lifetime))
    return 0


def _list_permissions(config: KmsConfig, options: argparse.Namespace) -> int:
    for permission in _image(config).permissions:
        life = "any life" if permission.lifetime is None else f"{permission.lifetime:g} s"
        print(permission.number, permission.initiator, permission.responder, life, sep="\t")
    return 0


def _disallow(config: KmsConfig, options: argparse.Namespace) -> int:
    with _store(config) as store:
        store.disallow(options.number)
    return 0


def _add_members(config: KmsConfig, options: argparse.Namespace) -> int:
    with _store(config) as store:
        store.add_members(options.group, options.pattern)
    return 0


def _remove_members(config: KmsConfig, options: argparse.Namespace) -> int:
    with _store(config) as store:
        store.remove_members(options.group, options.pattern)
    return 0


def _list_groups(config: KmsConfig, options: argparse.Namespace) -> int:
    for group, members in _image(config).groups.items():
        print(f"@{group}", *members, sep="\t")
    return 0


def _revoke_ticket(config: KmsConfig, options: argparse.Namespace) -> int:
    now = time.time()
    kind = RevocationKind.INITIATOR if options.id is None else RevocationKind.TICKET
    subject = options.initiator if options.id is None else _ticket_name(options.id)
    with _store(config) as store:
        store.revoke(Revocation(kind, subject, now, now + _longest(config)))
    return 0


def _ticket_name(text: str) -> str:
    """Give the id of a ticket as the store has it. Raises ValueError: nothing is revoked by a name cut short."""
    if len(text) != TICKET_NAME_LENGTH or not set(text.lower()) <= set(hexdigits):
        raise ValueError(f'"{text}" is no id of a ticket: these have {TICKET_NAME_LENGTH} hexadecimal digits')
    return text.lower()


def _list_revoked(config: KmsConfig, options: argparse.Namespace) -> int:
    image = _image(config)
    for ticket, when in image.revoked_tickets.items():
        print("ticket", ticket, _date(when), sep="\t")
    for revocation in image.revoked_initiators:
        print("initiator", revocation.subject, f"made until {_date(revocation.revoked)}", sep="\t")
    return 0


def _rotate(config: KmsConfig, options: argparse.Namespace) -> int:
    kms = config.kms
    with _store(config) as store:
        name = store.rotate_ticket_key(
            os.urandom(TICKET_KEY_LENGTH),
            time.time(),
            longest_ticket=kms.ticket_lifetime,
            grace=kms.clock_skew,
        )
    print(name)
    return 0


def _list_keys(config: KmsConfig, options: argparse.Namespace) -> int:
    for key in _image(config).ticket_keys:
        until = "in use" if key.resolves_until is None else f"resolves until {_date(key.resolves_until)}"
        print(key.name, f"made {_date(key.created)}", until, sep="\t")
    return 0


def _list_audit(config: KmsConfig, options: argparse.Namespace) -> int:
    with _store(config) as store:
        records = store.audit(since=options.since, psk_id=options.user, limit=options.limit)
    for r in records:
        whom = ", ".join(r.responders)
        print(_date(r.at), r.message, r.psk_id, r.initiator, whom, r.ticket, r.result, r.call_id, sep="\t")
    return 0


def _backup(config: KmsConfig, options: argparse.Namespace) -> int:
    with _store(config) as store:
        store.backup(options.file)
    return 0


def _change_master_key(config: KmsConfig, options: argparse.Namespace) -> int:
    """The master key of the configuration opens the store, unless that is not sealed yet."""
    new = None if options.new_file is None else read_secret(options.new_file).reveal_hex()
    with _store(config) as store:
        store.change_master_key(Vault(new))
    return 0


def _date(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


if __name__ == "__main__":
    sys.exit(main())
