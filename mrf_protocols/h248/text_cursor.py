"""A cursor over the tokens of one message: the terminals and the small rules that all others are made of."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

from mrf_protocols.h248.errors import ErrorCode, H248Error
from mrf_protocols.h248.grammar import (
    KEYWORDS,
    LWSP,
    NAME,
    PACKAGES_ITEM,
    TOKEN,
    UINT16,
    UINT32,
)
from mrf_protocols.h248.values import ALL_REQUESTS, PackageItem, Property, Relation

T = TypeVar("T")

NOT_SAFE: Final = frozenset('{},=:[]<>#" \t\r\n') | {""}
"""Last characters of tokens that are no SafeChars."""
RELATIONS: Final = {
    "=": Relation.EQUAL,
    "#": Relation.NOT_EQUAL,
    "<": Relation.LESS,
    ">": Relation.GREATER,
}
_LEADING_LWSP: Final = re.compile(LWSP)


class Cursor:
    """Tokens and the place reached. Grammar depth is fixed, so no rule calls itself without bound."""

    __slots__ = ("answerable", "i", "tokens", "transaction_id")

    def __init__(self, text: str) -> None:
        start = _LEADING_LWSP.match(text)
        tokens: list[str] = TOKEN.findall(text, start.end() if start else 0)
        tokens += ("", "", "", "")  # what look-ahead sees beyond the end
        self.tokens = tokens
        self.i = 0
        self.transaction_id: int | None = None
        self.answerable = True

    def fail(self, what: str) -> NoReturn:
        """Syntax error at the token reached: 403 within a transaction request, else 400."""
        code = (
            ErrorCode.SYNTAX_ERROR_IN_MESSAGE
            if self.transaction_id is None
            else ErrorCode.SYNTAX_ERROR_IN_TRANSACTION
        )
        # the token itself is left out: it may be a key
        raise H248Error(
            code,
            f"Syntax error: {what} expected at token {self.i + 1}",
            transaction_id=self.transaction_id,
            answerable=self.answerable,
        )

    # -- terminals -------------------------------------------------------------------------------------------------

    def expect(self, token: str) -> None:
        """Take a delimiter."""
        if self.tokens[self.i] != token:
            self.fail(token)
        self.i += 1

    def accept(self, token: str) -> bool:
        """Take a delimiter if it is there."""
        if self.tokens[self.i] == token:
            self.i += 1
            return True
        return False

    def keyword(self) -> str | None:
        """The long form of the keyword reached; nothing is taken."""
        token = self.tokens[self.i]
        return KEYWORDS.get(token) or (None if "/" in token else KEYWORDS.get(token.lower()))

    def octets_next(self) -> bool:
        """Whether a descriptor with an octet string stands here, whole in one token."""
        token = self.tokens[self.i]
        return token[-1:] == "}" and len(token) > 1

    def safe(self) -> str:
        """1*SafeChar."""
        token = self.tokens[self.i]
        if token[-1:] in NOT_SAFE:
            self.fail("name")
        self.i += 1
        return token

    def value(self) -> str:
        """VALUE = quotedString / 1*(SafeChar), without its quotes."""
        token = self.tokens[self.i]
        if token[:1] == '"':
            self.i += 1
            return token[1:-1]
        return self.safe()

    def uint(self, limit: int = UINT32) -> int:
        """An unsigned number up to `limit`."""
        token = self.tokens[self.i]
        if not (token.isdigit() and token.isascii()) or len(token) > 10 or int(token) > limit:
            self.fail("number")
        self.i += 1
        return int(token)

    def uint16(self) -> int:
        """UINT16."""
        return self.uint(UINT16)

    def equals_uint16(self) -> int:
        """EQUAL UINT16."""
        self.expect("=")
        return self.uint(UINT16)

    def choice(self, table: dict[str, T]) -> T:
        """A keyword out of a table of long tokens."""
        found = table.get(self.keyword() or "")
        if found is None:
            self.fail("one of " + "/".join(table))
        self.i += 1
        return found

    def on_off(self) -> bool:
        """EQUAL ( OnToken / OffToken )."""
        self.expect("=")
        word = self.keyword()
        if word not in {"ON", "OFF"}:
            self.fail("ON/OFF")
        self.i += 1
        return word == "ON"

    # -- lists -----------------------------------------------------------------------------------------------------

    def items(self, rule: Callable[[], T], opening: str = "{", closing: str = "}") -> tuple[T, ...]:
        """LBRKT item *(COMMA item) RBRKT."""
        self.expect(opening)
        found = [rule()]
        tokens = self.tokens
        while tokens[self.i] == ",":
            self.i += 1
            found.append(rule())
        self.expect(closing)
        return tuple(found)

    def value_list(self, closing: str) -> tuple[str, ...]:
        """VALUE *(COMMA VALUE) and what closes it, from the opening bracket on."""
        tokens = self.tokens
        found: list[str] = []
        while not found or tokens[self.i] == ",":
            self.i += 1
            token = tokens[self.i]
            if token[:1] == '"':
                token = token[1:-1]
            elif token[-1:] in NOT_SAFE:
                self.fail("value")
            found.append(token)
            self.i += 1
        self.expect(closing)
        return tuple(found)

    def each(self, rule: Callable[[], None]) -> None:
        """LBRKT item *(COMMA item) RBRKT, for rules that keep their findings themselves."""
        self.expect("{")
        rule()
        tokens = self.tokens
        while tokens[self.i] == ",":
            self.i += 1
            rule()
        self.expect("}")

    # -- small rules -----------------------------------------------------------------------------------------------

    def pkgd_name(self) -> str:
        """pkgdName: package "/" item."""
        name = self.safe()
        if not 0 < name.find("/") < len(name) - 1:
            self.i -= 1
            self.fail("package/item")
        return name

    def matching(self, pattern: re.Pattern[str], what: str) -> str:
        """A name that is of this pattern as a whole."""
        name = self.safe()
        if pattern.fullmatch(name) is None:
            self.i -= 1
            self.fail(what)
        return name

    def quoted(self) -> str:
        """quotedString, without its quotes."""
        token = self.tokens[self.i]
        if token[:1] != '"':
            self.fail("quoted string")
        self.i += 1
        return token[1:-1]

    def name(self) -> str:
        """NAME = ALPHA *63(ALPHA / DIGIT / "_")."""
        return self.matching(NAME, "name")

    def request_id(self) -> int:
        """RequestID = ( UINT32 / "*" )."""
        if self.accept("*"):
            return ALL_REQUESTS
        return self.uint()

    def termination_id(self) -> str:
        """TerminationID, as written."""
        name = self.safe()
        if len(name) > 128:
            self.fail("termination identifier of at most 128 characters")
        return name

    def termination_list(self) -> tuple[str, ...]:
        """termIDList = TerminationID / LSBRKT TerminationID *(COMMA TerminationID) RSBRKT."""
        if self.tokens[self.i] == "[":
            return self.items(self.termination_id, "[", "]")
        return (self.termination_id(),)

    def parm_value(self, name: str) -> Property:
        """parmValue with its relation, for the property or parameter of that name."""
        sign, value = self.tokens[self.i : self.i + 2]
        if sign == "=" and value[-1:] not in NOT_SAFE:  # by far the most frequent form
            self.i += 2
            return Property(name, (value,))
        relation = RELATIONS.get(sign)
        if relation is None:
            self.fail("= # < >")
        self.i += 1
        if relation is not Relation.EQUAL:
            return Property(name, (self.value(),), relation)
        opening = self.tokens[self.i]
        if opening == "{":
            return Property(name, self.value_list("}"), Relation.ANY_OF)
        if opening != "[":
            return Property(name, (self.value(),))
        if self.tokens[self.i + 2] != ":":
            return Property(name, self.value_list("]"), Relation.ALL_OF)
        self.i += 1
        first = self.value()
        self.i += 1
        last = self.value()
        self.expect("]")
        return Property(name, (first, last), Relation.RANGE)

    def property_parm(self) -> Property:
        """propertyParm = pkgdName parmValue."""
        return self.parm_value(self.pkgd_name())

    def packages_item(self) -> PackageItem:
        """packagesItem = NAME "-" UINT16."""
        found = PACKAGES_ITEM.fullmatch(self.tokens[self.i])
        if found is None or int(found[2]) > UINT16:
            self.fail("package-version")
        self.i += 1
        return PackageItem(found[1], int(found[2]))
