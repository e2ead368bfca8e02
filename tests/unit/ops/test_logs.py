"""Log lines: one line per event whatever the message holds, ids in every line, tracebacks kept together."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from mrf_ops.logs import Form, bind, setup


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def capture(form: Form, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    setup("MRFC", level, form, logging.StreamHandler(stream))
    return stream


def fail(logger: logging.Logger) -> None:
    try:
        raise RuntimeError("two\nlines")
    except RuntimeError:
        logger.exception("broke", extra={"call": "c1"})


def test_text_line_with_ids() -> None:
    stream = capture("text")
    logging.getLogger("mrfc.engine").info(
        "opened %s", "it", extra={"call": "c1", "conference": "conf-1", "user": "alice"}
    )
    assert stream.getvalue() == "MRFC engine: opened it [call=c1 conference=conf-1 user=alice]\n"


def test_text_line_on_a_terminal_has_time_and_level(capsys: pytest.CaptureFixture[str]) -> None:
    setup("KMS")
    logging.getLogger("mrf_kms.server").warning("slow")
    line = capsys.readouterr().err
    assert line[10] == "T"
    assert line[23:] == "Z WARNING KMS server: slow\n"


def test_json_line() -> None:
    stream = capture("json")
    logging.getLogger("mrfc.engine").warning("late\nreply", extra={"call": "c1"})
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "level": "warning",
        "element": "MRFC",
        "logger": "mrfc.engine",
        "message": "late\nreply",
        "call": "c1",
    }


def test_another_form_of_lines_after_a_reload() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    forms: tuple[Form, ...] = ("text", "json", "text")
    for form in forms:
        setup("MRFC", "info", form, handler)
        logging.getLogger("mrfc.engine").info(
            "opened", extra={"bfcp_conference": 4321, "responder": "sip:b@c"}
        )
    first, second, third = stream.getvalue().splitlines()
    assert first == third == "MRFC engine: opened [bfcp_conference=4321]"
    entry = json.loads(second)
    assert (entry["bfcp_conference"], entry["responder"]) == ("4321", "sip:b@c")


def test_a_formatter_of_the_handlers_own_stays() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("own: %(message)s"))
    setup("MRFC", "info", "json", handler)
    logging.getLogger("x").info("line")
    assert stream.getvalue() == "own: line\n"


@pytest.mark.parametrize("form", ["text", "json"])
def test_nobody_outside_forges_a_line(form: Form) -> None:
    stream = capture(form)
    hostile = "a\r\nMRFC engine: forged\x1b[2J\u2028x\x85y\x9b2J\u202egnp"
    logging.getLogger("x").info("from %s", hostile, extra={"user": hostile})
    (line,) = stream.getvalue().splitlines()
    assert not set("\x1b\x9b\u202e") & set(line), "no command to a terminal, no text that runs backwards"


def test_traceback_is_indented_text() -> None:
    stream = capture("text")
    fail(logging.getLogger("x"))
    first, *rest = stream.getvalue().splitlines()
    assert first == "MRFC x: broke [call=c1]"
    assert rest
    assert all(line.startswith("    ") for line in rest)
    assert "RuntimeError: two" in stream.getvalue()


def test_traceback_is_one_json_field() -> None:
    stream = capture("json")
    fail(logging.getLogger("x"))
    (line,) = stream.getvalue().splitlines()
    assert "RuntimeError: two\nlines" in json.loads(line)["traceback"]


def test_level_and_setup_again() -> None:
    first = capture("text", "warning")
    logging.getLogger("x").info("quiet")
    second = capture("text", "debug")
    logging.getLogger("x").debug("loud")
    assert first.getvalue() == ""
    assert second.getvalue() == "MRFC x: loud\n"


def test_foreign_handler_stays() -> None:
    other = io.StringIO()
    logging.getLogger().addHandler(logging.StreamHandler(other))
    capture("text")
    logging.getLogger("x").info("hello")
    assert other.getvalue() == "hello\n"


def test_handler_with_own_formatter_keeps_it() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("mine %(message)s"))
    setup("MRFC", handler=handler)
    logging.getLogger("x").info("hello")
    assert stream.getvalue() == "mine hello\n"


def test_unknown_level() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        setup("MRFC", "loud")


def test_bound_logger_carries_ids_and_the_line_wins() -> None:
    stream = capture("text")
    log = bind(logging.getLogger("x"), call="c1", user="alice")
    log.info("one")
    log.info("two", extra={"user": "bob"})
    assert stream.getvalue() == "MRFC x: one [call=c1 user=alice]\nMRFC x: two [call=c1 user=bob]\n"
