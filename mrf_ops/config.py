"""Configuration: one TOML file per element becomes one msgspec Struct, or a list of all its faults.

Declare a Struct with `forbid_unknown_fields=True` (nested tables are Structs, too) and call
`load(path, Type)`. Field types with a meaning of their own:

* `pathlib.Path`: a relative path counts from the folder of the configuration file (defaults are taken as
  they are);
* `Secret`: the file holds a path; the secret is read from there, from a file that others may not read
  (`chmod o=`); or it holds "env:NAME", and the secret is in that environment variable;
* `Port`, `Seconds`, `Count`: bounded numbers whose faults are told in words.
"""

from __future__ import annotations

import hmac
import os
import stat
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect

T = TypeVar("T")

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
PortOrAny = Annotated[int, msgspec.Meta(ge=0, le=65535)]
"""0 lets the system choose a port (tests)."""
Seconds = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
_ENVIRONMENT = "env:"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in a file: where (`key` is a path like "kms.url", "" for the whole file), what, what
    is allowed."""

    file: str
    key: str
    wrong: str
    allowed: str = ""

    def __str__(self) -> str:
        place = f"{self.file}: {self.key}: " if self.key else f"{self.file}: "
        return place + self.wrong + (f"; allowed: {self.allowed}" if self.allowed else "")


class ConfigError(Exception):
    """The file cannot be used; `faults` has them all, str() one sentence per line."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class Secret:
    """Bytes that do not show in repr, str, logs or traces; `reveal()` gives them."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The content of the file, without the line end that editors add."""
        return self._value

    def reveal_hex(self) -> bytes:
        """The bytes that the file's hexadecimal digits stand for; ValueError when they are none."""
        try:
            return bytes.fromhex(self._value.decode("ascii"))
        except ValueError:
            raise ValueError("the secret is not written in hexadecimal digits") from None

    def __repr__(self) -> str:
        return "Secret(...)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(self._value)


def read_secret(path: Path) -> Secret:
    """Read a secret from a file. Raises ValueError (one sentence) when it is missing, empty or open to
    others."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & stat.S_IRWXO:
                raise ValueError(
                    f"secret file {path} is open to everybody (mode {mode:04o}); run: chmod o= {path}"
                )
            value = file.read().rstrip(b"\r\n")
    except OSError as error:
        raise ValueError(f"secret file {path} cannot be read: {error.strerror}") from None
    if not value:
        raise ValueError(f"secret file {path} is empty")
    return Secret(value)


def secret_of_environment(name: str, environment: Mapping[str, str]) -> Secret:
    """Read a secret from an environment variable. Raises ValueError (one sentence) when it is not set."""
    value = environment.get(name, "").strip()
    if not value:
        raise ValueError(f"environment variable {name} is not set; it should hold the secret")
    return Secret(value.encode())


def changed_keys(old: msgspec.Struct, new: msgspec.Struct) -> list[str]:
    """The keys whose values differ between two readings of a file ("log.level"), in their order."""
    found: list[str] = []
    for field in msgspec.structs.fields(type(new)):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if isinstance(after, msgspec.Struct) and type(before) is type(after):
            found += [_join(field.encode_name, key) for key in changed_keys(before, after)]
        elif isinstance(after, Secret) and isinstance(before, Secret):
            if not hmac.compare_digest(before.reveal(), after.reveal()):
                found.append(field.encode_name)
        elif before != after:
            found.append(field.encode_name)
    return found


def refuse_doubles(what: str, values: Sequence[object]) -> None:
    """For a Struct's __post_init__: raise ValueError when a value that must be unique, `what`, is there twice."""
    doubles = sorted({str(value) for value in values if values.count(value) > 1})
    if doubles:
        raise ValueError(f"{what} is used twice: {', '.join(doubles)}")


def load(path: Path | str, type: type[T]) -> T:
    """Read a TOML file into a Struct type. Raises ConfigError with all faults of the file."""
    file = Path(path)
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        mend = "name another one, or copy the one with comments that comes with the program"
        raise ConfigError([Fault(str(file), "", f"cannot be read: {error.strerror}; {mend}")]) from None
    except OSError as error:
        raise ConfigError([Fault(str(file), "", f"cannot be read: {error.strerror}")]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([Fault(str(file), "", f"is not TOML: {error}")]) from None
    return parse(data, type, file)


def parse(data: Mapping[str, Any], type: type[T], file: Path) -> T:
    """Turn what a TOML file held into a Struct type; `file` names it in faults and anchors relative paths."""
    reader = _Reader(file)
    faults = list(reader.faults(data, type, ""))
    if faults:
        raise ConfigError(faults)
    return reader.convert(data, type)


class _Reader:
    """Walks data and type side by side, so that each key's fault is found on its own."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._folder = file.absolute().parent

    def convert(self, value: Any, hint: type[T]) -> T:
        return msgspec.convert(value, hint, dec_hook=self._hook)

    def faults(self, value: Any, hint: Any, key: str) -> Iterator[Fault]:
        """All faults of `value` against the type `hint`; `key` is the path to it."""
        plain = _plain(hint, value)
        parts: Iterator[Fault] = iter(())
        if _is_struct(plain) and isinstance(value, dict):
            parts = self._struct_faults(value, plain, key)
        elif get_origin(plain) in (list, tuple) and isinstance(value, list):
            items = enumerate(value)
            parts = (
                fault for at, item in items for fault in self.faults(item, get_args(plain)[0], f"{key}[{at}]")
            )
        elif get_origin(plain) is dict and isinstance(value, dict):
            entries = value.items()
            parts = (
                fault
                for name, item in entries
                for fault in self.faults(item, get_args(plain)[1], _join(key, name))
            )
        found = False
        for fault in parts:
            found = True
            yield fault
        if not found:  # each part is right by itself: now the whole (lengths, a Struct's __post_init__)
            yield from self._whole_fault(value, hint, key)

    def _struct_faults(self, value: dict[str, Any], struct: type, key: str) -> Iterator[Fault]:
        hints = get_type_hints(struct, include_extras=True)
        known = {field.encode_name: field for field in msgspec.structs.fields(struct)}
        for name, item in value.items():
            if name in known:
                yield from self.faults(item, hints[known[name].name], _join(key, name))
            else:
                yield self._fault(_join(key, name), "is not a known key", _listed(sorted(known)))
        for name, field in known.items():
            if field.required and name not in value:
                yield self._fault(_join(key, name), "is missing", _allowed(hints[field.name]))

    def _whole_fault(self, value: Any, hint: Any, key: str) -> Iterator[Fault]:
        try:
            self.convert(value, hint)
        except msgspec.ValidationError as error:
            if isinstance(error.__cause__, ValueError):  # a sentence of our own, or of a __post_init__
                yield self._fault(key, str(error.__cause__), "")
            else:
                yield self._fault(key, f"is {_shown(value)}", _allowed(hint))

    def _fault(self, key: str, wrong: str, allowed: str) -> Fault:
        return Fault(str(self._file), key, wrong, allowed)

    def _hook(self, hint: type, value: Any) -> Any:
        if hint not in (Path, Secret):
            raise TypeError(f"configuration has no rule for {hint}")
        if not isinstance(value, str) or not value:
            raise ValueError(f"is {_shown(value)}; allowed: the path of a file")
        if hint is Secret and value.startswith(_ENVIRONMENT):
            return secret_of_environment(value.removeprefix(_ENVIRONMENT), os.environ)
        path = self._folder / value
        return read_secret(path) if hint is Secret else path


def _is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _plain(hint: Any, value: Any) -> Any:
    """The type without Annotated; of `Table | None`, the table when the file has one."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, UnionType) and isinstance(value, dict):
        tables = [choice for choice in get_args(hint) if _is_struct(choice)]
        if len(tables) == 1:
            return tables[0]
    return hint


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _shown(value: Any) -> str:
    """The value as TOML would have it, cut short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _listed(choices: Sequence[object]) -> str:
    return ", ".join(str(choice) for choice in choices)


def _allowed(hint: Any) -> str:
    """What a value of this type may be, in words."""
    return _in_words(inspect.type_info(hint))


def _in_words(kind: inspect.Type) -> str:
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "a whole number" + _bounds(kind)
        case inspect.FloatType():
            return "a number" + _bounds(kind)
        case inspect.StrType(pattern=str(pattern)):
            return f"text matching {pattern}"
        case inspect.StrType(min_length=1):
            return "text that is not empty"
        case inspect.StrType():
            return "text"
        case inspect.LiteralType():
            return _listed([_shown(value) for value in kind.values])
        case inspect.EnumType():
            return _listed([_shown(member.value) for member in kind.cls])
        case inspect.CollectionType():
            least = f" of at least {kind.min_length}" if kind.min_length else ""
            most = f" of at most {kind.max_length}" if kind.max_length is not None else ""
            return f"a list{least}{most}, each {_in_words(kind.item_type)}"
        case inspect.StructType():
            return "a table with " + _listed(sorted(field.encode_name for field in kind.fields))
        case inspect.DictType():
            return f"a table of any names, each {_in_words(kind.value_type)}"
        case inspect.UnionType():
            choices = [_in_words(choice) for choice in kind.types if not isinstance(choice, inspect.NoneType)]
            return " or ".join(choices)
        case inspect.CustomType():
            return "the path of a file"
        case inspect.Metadata():
            return _in_words(kind.type)
    return "another type of value"


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge} to {kind.le}"
    words = [
        f"{word} {bound}"
        for word, bound in (("above", kind.gt), ("from", kind.ge), ("below", kind.lt), ("up to", kind.le))
        if bound is not None
    ]
    return " " + " and ".join(words) if words else ""
