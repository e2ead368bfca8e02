"""Command line of the KMS: mrf-kms serve, check, user, ticket-key."""

import argparse
import asyncio
import ipaddress
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from mrf_kms.config import KmsConfig, load
from mrf_kms.server import check_certificate, serve
from mrf_kms.store import TICKET_KEY_LENGTH, Store, StoreError
from mrf_ops import logs
from mrf_ops.config import ConfigError, read_secret
from mrf_ops.service import EXIT_CANNOT_RUN, EXIT_CONFIGURATION

DEFAULT_CONFIG = Path("/etc/ims-floor-control/kms.toml")
PSK_LENGTH = 32


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit status: 0 done, 1 could not be done, 2 wrong usage, 78 configuration."""
    options = _parser().parse_args(arguments)
    try:
        config = load(options.config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIGURATION
    try:
        status: int = options.run(config, options)
    except (StoreError, OSError, ValueError) as error:
        print(f"mrf-kms: {error}", file=sys.stderr)
        return EXIT_CANNOT_RUN
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mrf-kms", description="KMS: MIKEY-TICKET over HTTP")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="default: %(default)s")
    commands = parser.add_subparsers(required=True)
    commands.add_parser(
        "serve", parents=[common], help="answer requests; SIGHUP reads log settings and certificate again"
    ).set_defaults(run=_serve)
    commands.add_parser("check", parents=[common], help="check configuration, store and keys").set_defaults(
        run=_check
    )

    user = commands.add_parser("user", help="who has a key").add_subparsers(required=True)
    add = user.add_parser("add", parents=[common], help="add a user")
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
    add.add_argument("--replace", action="store_true", help="replace a user of that name")
    add.set_defaults(run=_add_user)
    user.add_parser("list", parents=[common], help="list users").set_defaults(run=_list_users)
    remove = user.add_parser("remove", parents=[common], help="remove a user")
    remove.add_argument("psk_id")
    remove.set_defaults(run=_remove_user)

    keys = commands.add_parser("ticket-key", help="keys that tickets are made with").add_subparsers(
        required=True
    )
    keys.add_parser("rotate", parents=[common], help="make a new key").set_defaults(run=_rotate)
    keys.add_parser("list", parents=[common], help="list keys").set_defaults(run=_list_keys)
    return parser


def _serve(config: KmsConfig, options: argparse.Namespace) -> int:
    logs.setup("KMS", config.log.level, config.log.form)
    asyncio.run(serve(config, lambda: load(options.config)))
    return 0


def _check(config: KmsConfig, options: argparse.Namespace) -> int:
    """Nothing is changed: a store that is not there yet is not made."""
    check_certificate(config.http)
    if config.store.file.exists():
        store = Store(config.store.file)
        try:
            image = store.image()
        finally:
            store.close()
        print(f"{config.store.file}: {len(image.users)} users, {len(image.ticket_keys)} ticket keys")
    elif not os.access(config.store.file.parent, os.W_OK | os.X_OK):
        raise StoreError(f"store.file: {config.store.file} cannot be made: see owner and mode of its folder")
    else:
        print(f"{config.store.file} does not exist yet; it is made when the KMS starts")
    if config.http.certificate is None and not is_loopback(config.http.host):
        print("warning: plain HTTP beyond this host; http.certificate and http.private_key make it HTTPS")
    print(f"{options.config}: no faults")
    return 0


def is_loopback(host: str) -> bool:
    """Whether only this host gets there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _add_user(config: KmsConfig, options: argparse.Namespace) -> int:
    psk = _psk(options)
    store = Store(config.store.file)
    try:
        store.add_user(options.psk_id, psk, options.identity, replace=options.replace)
    finally:
        store.close()
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
    store = Store(config.store.file)
    for user in store.image().users.values():
        print(user.psk_id, *user.identities, sep="\t")
    store.close()
    return 0


def _remove_user(config: KmsConfig, options: argparse.Namespace) -> int:
    store = Store(config.store.file)
    try:
        store.remove_user(options.psk_id)
    finally:
        store.close()
    return 0


def _rotate(config: KmsConfig, options: argparse.Namespace) -> int:
    store = Store(config.store.file)
    kms = config.kms
    name = store.rotate_ticket_key(
        os.urandom(TICKET_KEY_LENGTH), time.time(), longest_ticket=kms.ticket_lifetime, grace=kms.clock_skew
    )
    store.close()
    print(name)
    return 0


def _list_keys(config: KmsConfig, options: argparse.Namespace) -> int:
    store = Store(config.store.file)
    for key in store.image().ticket_keys:
        until = "in use" if key.resolves_until is None else f"resolves until {_date(key.resolves_until)}"
        print(key.name, f"made {_date(key.created)}", until, sep="\t")
    store.close()
    return 0


def _date(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


if __name__ == "__main__":
    sys.exit(main())
