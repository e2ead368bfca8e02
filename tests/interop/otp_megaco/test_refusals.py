"""What becomes of lawful messages by chance: Erlang/OTP's decoder and ours read the same and refuse the same.

Where they differ, a rule of the grammar must say who is right. A message that only we read is shown to be lawful: with
no more than the form in question replaced by another lawful one, OTP reads it, too. A message that only OTP reads is
shown to be unlawful: the token that stopped us is none that the rule named allows.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from otp_messages import Mutator, composed, verdicts
from unit.h248.messages import READABLE_BY_OTP

from mrf_protocols.h248 import H248Error, decode, encode
from mrf_protocols.h248.text_cursor import Cursor

ROOT = Path(__file__).parents[3]
CORPUS = sorted((ROOT / "tests" / "unit" / "h248" / "corpus").glob("read_*.msg"))
MUTANTS = 12_000

pytestmark = pytest.mark.skipif(shutil.which("escript") is None, reason="Erlang/OTP is not installed")


# -- what only we read -----------------------------------------------------------------------------------------------


def octet_strings(octets: bytes, _: str) -> Iterator[bytes]:
    """OTP wants lines of SDP, and no escaped brace."""
    form = rb"(?i)\b(L|Local|R|Remote)(\s*\{)(?:[^}\\\0]|\\\}?)*\}"
    yield re.sub(form, rb"\1\2v=0\r\n}", octets)


def digit_maps(octets: bytes, _: str) -> Iterator[bytes]:
    """OTP takes a semicolon in one for the beginning of a comment, whose line need not end."""
    yield re.sub(rb"(?i)\b(DM|DigitMap)(\s*=\s*[^\s{},]*\s*\{)[^}]*\}", rb"\1\2x}", octets)


def empty_signals(octets: bytes, _: str) -> Iterator[bytes]:
    """OTP wants no braces when there is nothing in them."""
    space = rb"(?:\s|;[\t -~]*[\r\n])*"
    yield re.sub(rb"(?i)\b(SG|Signals)" + space + rb"\{" + space + rb"\}", rb"\1", octets)


def words_as_names(octets: bytes, reason: str) -> Iterator[bytes]:
    """OTP takes many tokens for nothing else, names and values though they are here."""
    found = re.search(r'syntax error before: ",\["\\"([^"\\]+)\\""\]', reason)
    if found:
        for place in re.finditer(
            rb"(?i)(?<![\w/.*-])" + re.escape(found[1].encode()) + rb"(?![\w/.*-])", octets
        ):
            yield octets[: place.start()] + b"zz1" + octets[place.end() :]
    if b"MTP" in octets.upper():  # and takes what is in braces behind this one for an address
        yield re.sub(rb"(?i)(=\s*)MTP(?=\s*\{)", rb"\1zz1", octets)
    elif "'EQUAL'" in reason:
        yield re.sub(
            rb"(?i)\b(KA|KeepActive|EM|Embed|NB[IR]?NN?|\w+Notify|RSE|ResetEventsDescriptor)\s*=",
            b"zz1=",
            octets,
        )


def audit_order(octets: bytes, _: str) -> Iterator[bytes]:
    """OTP knows no bare token behind an individual item of an audit."""
    bare = rb"(?i),\s*(?:Mux|MX|Modem|MD|Media|M|DigitMap|DM|Statistics|SA|ObservedEvents|OE|Packages|PG|Signals|SG|"
    bare += rb"EventBuffer|EB|Events|E)(?=\s*[,}])"
    yield re.sub(bare, b"", octets)


def device_names_as_addresses(octets: bytes, _: str) -> Iterator[bytes]:
    """OTP takes a ServiceChangeAddress that is no address for a port."""
    yield re.sub(rb"(?i)\b(AD|ServiceChangeAddress)(\s*=\s*)[^\s,}]+", rb"\1\g<2>[192.0.2.1]", octets)


def selected_properties(octets: bytes, reason: str) -> Iterator[bytes]:
    """OTP knows a property with a value in an individual audit only behind one without."""
    if "bad_indAud" in reason:
        for place in re.finditer(rb"([\w*]+/[\w*]+)\s*[=<>#]\s*[^\s,}]+", octets):
            yield octets[: place.start()] + place[1] + octets[place.end() :]


def registrations_without_reason(octets: bytes, reason: str) -> Iterator[bytes]:
    """OTP wants one, though the first message of RFC 3525 appendix I has none."""
    if "missing_required_serviceChangeParm,[serviceChangeReason]" in reason:
        for place in re.finditer(rb"(?i)\b(MT|Method)\s*=\s*\w+", octets):
            yield octets[: place.end()] + b',RE="901"' + octets[place.end() :]


def methods_of_packages(octets: bytes, _: str) -> Iterator[bytes]:
    """OTP knows the six."""
    yield re.sub(rb"(?i)\b(MT|Method)(\s*=\s*)X[-+]\w{1,6}", rb"\1\2FO", octets)


def quotes_in_comments(octets: bytes, _: str) -> Iterator[bytes]:
    """OTP has %22 for %x22."""
    yield re.sub(rb";[\t -~]*", lambda found: found[0].replace(b'"', b"x"), octets)


def errors_with_events(octets: bytes, _: str) -> Iterator[bytes]:
    """OTP knows either of them in a Notify, not both."""
    yield re.sub(rb"(?i),\s*(ER|Error)\s*=\s*\d+\s*\{[^}]*\}", b"", octets)


def segments(octets: bytes, _: str) -> Iterator[bytes]:
    """OTP knows no white space behind one."""
    yield re.sub(rb"(?i)\b(SM|Segment)\s*=\s*(\d+)/[\w&/]+", rb"Pending=\2{}", octets)


def later_versions(octets: bytes, _: str) -> Iterator[bytes]:
    """OTP reads a message by the version in it; here the grammar is the latest one, which contains the others."""
    yield re.sub(rb"(?i)(MEGACO|!)/0?[12]\b", rb"\1/3", octets, count=1)


LAWFUL: dict[str, Callable[[bytes, str], Iterator[bytes]]] = {
    "octetString": octet_strings,
    "digitMapValue": digit_maps,
    "signalsDescriptor": empty_signals,
    "note 2 of B.2": words_as_names,
    "auditItem": audit_order,
    "serviceChangeAddress": device_names_as_addresses,
    "indAudlocalParm": selected_properties,
    "serviceChangeReason": registrations_without_reason,
    "serviceChangeMethod": methods_of_packages,
    "COMMENT": quotes_in_comments,
    "notifyRequest": errors_with_events,
    "segmentReply": segments,
    "version 3": later_versions,
}
"""What OTP does not read, by the rule that has it, as another form that OTP reads."""


# -- what only OTP reads ---------------------------------------------------------------------------------------------

NAME = r"[A-Za-z]\w{0,63}"
COMMANDS = r"(?i)(O-)?(W-)?(A|Add|MV|Move|MF|Modify|S|Subtract|AV|AuditValue|AC|AuditCapability|N|Notify|SC|"
COMMANDS += "ServiceChange)"
UNLAWFUL: dict[str, tuple[str, str]] = {
    "number": ("UINT16, UINT32", r"\d{1,10}"),
    "name": ("NAME", NAME),
    "domain name": ("domainName", r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}"),
    "MTP address": ("mtpAddress", r"[0-9A-Fa-f]{4,8}"),
    "package-version": ("packagesItem", rf"{NAME}-\d{{1,5}}"),
    "package/item": ("pkgdName", rf"(?:{NAME}|\*)/(?:{NAME}|\*)"),
    "multiplex type": ("MuxType", r"(?i)H22[136]|V76|Nx64k|X[-+]\w{1,6}"),
    "profile/version": ("serviceChangeProfile", rf"{NAME}/\d{{1,2}}"),
    "parameter": ("extensionParameter", r"[Xx][-+][A-Za-z0-9]{1,6}"),
    "command": ("commandRequestList", COMMANDS),
    "transaction identifier": ("TransactionID, segmentNumber", r"\d{1,10}(?:/\d{1,5}(?:/(?:END|&))?)?"),
    "transaction identifiers": ("transactionAck", r"\d{1,10}(?:-\d{1,10})?"),
}
"""What our refusal says, the rule, and what it allows."""
DIRECTIONS = r"(?i)Bothway|BW|Isolate|IS|Oneway|OW|OnewayExternal|OWE|OnewayBoth|OWB"


def unlawful(octets: bytes, refusal: str) -> str | None:
    """The rule that the message breaks where we stopped; None when there is none."""
    said = re.search(r"Syntax error: (.+) expected at token (\d+)", refusal)
    if said is None:
        return None
    what, number = said[1], int(said[2])
    tokens = Cursor(octets.decode("utf-8", "surrogateescape")).tokens
    token = tokens[number - 1]
    if what in UNLAWFUL:
        rule, allowed = UNLAWFUL[what]
        return None if re.fullmatch(allowed, token) else rule
    if what == "IP address":
        address = "".join(tokens[:number]).split("[")[-1].split("]")[0]
        return (
            "domainAddress"
            if re.search(r":::|^:[^:]|[^:]:$|::.*::|[^0-9A-Fa-f.:]|^$|\.\.", address)
            else None
        )
    if what == "transaction" and token.startswith(";"):
        return "COMMENT" if not re.search(r"[\r\n]", token) else None
    if what == "stream parameter" and b"\\}" in octets:
        return "octetString"
    if what.startswith("each "):  # the comment of the rule says so, OTP leaves it to others
        return {"each descriptor once": "ammParameter", "each audit item once": "indAudlocalParm"}.get(what)
    if what == "=" and token in set("<>#"):
        return "eventStream" if re.fullmatch("(?i)Stream|ST", tokens[number - 2]) else None
    if what == "}":
        digits = re.search(rb"(?i)\bMTP\s*\{\s*([^}]*?)\s*\}", octets)
        return "mtpAddress" if digits and not re.fullmatch(rb"[0-9A-Fa-f]{4,8}", digits[1]) else None
    if what == "," or what.startswith("one of Bothway"):
        before = "".join(tokens[:number]).rsplit("{", 1)[0]
        in_topology = re.search(r"(?i)(Topology|TP)$", before) is not None
        return "topologyTriple" if in_topology and not re.fullmatch(DIRECTIONS, token) else None
    return None


# -- the comparison --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """A message, and what both say."""

    octets: bytes
    otp: str
    ours: str

    @property
    def differs(self) -> bool:
        return (self.otp == "ok") != (self.ours == "ok")


def ours(octets: bytes) -> str:
    try:
        decode(octets)
    except H248Error as error:
        return str(error)
    return "ok"


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> list[Judged]:
    lawful = [encode(each, pretty=pretty) for each in READABLE_BY_OTP.values() for pretty in (True, False)]
    lawful += [encode(each, pretty=number % 2 == 0) for number, each in enumerate(composed(100, "H.248"))]
    lawful += [path.read_bytes() for path in CORPUS]
    assert {ours(octets) for octets in lawful} == {"ok"}
    mutators = [Mutator(octets) for octets in lawful]
    mutants = [mutator.mutate() for mutator in mutators for _ in range(MUTANTS // len(lawful))]
    theirs = verdicts(mutants, tmp_path_factory.mktemp("mutants"))
    return [Judged(octets, otp, ours(octets)) for octets, otp in zip(mutants, theirs, strict=True)]


def test_both_read_many_and_refuse_many(judged: list[Judged]) -> None:
    agreed = Counter(each.ours == "ok" for each in judged if not each.differs)
    assert agreed[True] >= len(judged) // 50
    assert agreed[False] >= len(judged) // 2


def unproven(questions: list[Judged], folder: Path) -> list[Judged]:
    """Those that OTP does not read, however the forms that it does not know are replaced; several of them may meet."""
    steps = [(number, each.octets, each.otp) for number, each in enumerate(questions)]
    lawful: set[int] = set()
    for _ in range(4):
        candidates = {
            (number, octets)
            for number, before, reason in steps
            for rewrite in LAWFUL.values()
            for octets in rewrite(before, reason)
            if octets != before
        }
        asked = sorted(candidates)
        answers = verdicts([octets for _, octets in asked], folder)
        steps = [(*each, answer) for each, answer in zip(asked, answers, strict=True)]
        lawful |= {number for number, _, answer in steps if answer == "ok"}
        steps = [step for step in steps if step[0] not in lawful]
    return [each for number, each in enumerate(questions) if number not in lawful]


def test_what_only_we_read_is_lawful(judged: list[Judged], tmp_path: Path) -> None:
    questions = [each for each in judged if each.differs and each.ours == "ok"]
    assert questions
    assert unproven(questions, tmp_path) == []


def test_what_only_otp_reads_is_unlawful(judged: list[Judged]) -> None:
    questions = [each for each in judged if each.differs and each.otp == "ok"]
    assert questions
    assert [each for each in questions if unlawful(each.octets, each.ours) is None] == []


def test_the_document_lists_the_rules() -> None:
    text = (ROOT / "docs" / "h248.md").read_text()
    named = [*LAWFUL, *(rule for rules, _ in UNLAWFUL.values() for rule in rules.split(", "))]
    named += ["ammParameter", "domainAddress", "eventStream", "topologyTriple"]
    assert [rule for rule in named if rule not in text] == []
