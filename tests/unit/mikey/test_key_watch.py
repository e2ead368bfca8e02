"""The watch for keys in words finds them in every form, and nothing else."""

import base64
import logging

import key_watch
import pytest
from key_watch import KeyWatch, holds_key
from mikey_pair import Pair

KEY = bytes(range(7, 39))


def test_keys_are_found_in_every_form() -> None:
    for text in (
        KEY.hex(),
        f"key={KEY.hex().upper()};",
        KEY.hex(":"),
        KEY.hex(" "),
        base64.b64encode(KEY).decode(),
        repr(KEY),
        f"{KEY!r} and more",
        base64.b64encode(KEY + b"x").decode(),
    ):
        assert holds_key(text, {KEY}), text
        assert not holds_key(text, {KEY[::-1]}), text


def test_keys_of_an_exchange_are_known() -> None:
    pair = Pair()
    known = key_watch.WATCH.new | key_watch.WATCH.keys
    assert {pair.tek, pair.user.psk, pair.ticket.keys.mpki, pair.tpk.key} <= known


def test_a_key_in_a_log_line_is_seen() -> None:
    watch = KeyWatch()
    watch.learn(KEY)
    handler = key_watch.WatchHandler(watch)
    handler.handle(logging.LogRecord("x", logging.INFO, "", 0, "nothing in %s", ("here",), None))
    handler.handle(logging.LogRecord("x", logging.INFO, "", 0, "the key is %s", (KEY.hex(),), None))
    assert watch.found("here") == f"the key is {KEY.hex()}"
    assert watch.found("here") == ""
    later = logging.LogRecord("x", logging.INFO, "", 0, "later: %s", (KEY.hex(),), None)
    handler.handle(later)
    assert watch.found("here") == f"later: {KEY.hex()}"
    handler.handle(later)
    assert watch.found("there") == ""  # of a test in another file


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.WARNING])
@pytest.mark.parametrize("bound", [False, True])
def test_a_key_in_a_line_of_any_level_is_seen(level: int, bound: bool) -> None:
    """Whatever level this run logs at: elsewhere an element logs at another."""
    logger = logging.getLogger("mrf_ue.quiet")
    quiet = logging.LoggerAdapter(logger, {}) if bound else logger
    watch = KeyWatch()
    watch.learn(KEY)
    watch.start()
    handler = key_watch.WatchHandler(watch)
    logger.addHandler(handler)
    try:
        {logging.DEBUG: quiet.debug, logging.INFO: quiet.info, logging.WARNING: quiet.warning}[level](
            "the key is %s", KEY.hex()
        )
    finally:
        logger.removeHandler(handler)
        watch.patch.undo()
    assert watch.found("here") == f"the key is {KEY.hex()}"
