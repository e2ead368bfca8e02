"""Failure responses carry what the standards ask for, and docs/errors.md tells all of them."""

from pathlib import Path

from mrfc.sip.refusal import Cause, Refusal

DOCS = Path(__file__).parents[3] / "docs" / "errors.md"


def test_a_warning_is_one_quoted_line() -> None:
    headers = dict(Refusal(Cause.TICKET_UNACCEPTABLE, 'bad "type"\r\nX: y').response("mrf.example").headers)
    assert headers["Warning"] == "399 mrf.example \"bad 'type'''X: y\""


def test_a_fault_may_bring_its_own_warn_code() -> None:
    headers = dict(Refusal(Cause.OFFER_REJECTED, "no BFCP", warning=304).response("h").headers)
    assert headers["Warning"].startswith("304 ")


def test_service_unavailable_says_when_to_come_again() -> None:
    for cause in Cause:
        response = Refusal(cause).response("h")
        assert (response.status == 503) <= ("Retry-After" in dict(response.headers))


def test_unsupported_extension_is_named() -> None:
    assert ("Unsupported", "100rel") in Refusal(Cause.BAD_EXTENSION, "100rel").response("h").headers


def test_every_cause_stands_in_the_documentation() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for cause in Cause:
        line = f"| {cause.name.lower()} | {cause.value.status} {cause.value.reason} | {cause.value.warning or ''} |"
        assert line in text
