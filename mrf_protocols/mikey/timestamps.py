"""Timestamps T and TR against Unix time (RFC 3830 6.6, RFC 6043 6.3, RFC 4330 3)."""

from mrf_protocols.mikey.errors import MikeyError
from mrf_protocols.mikey.numbers import ErrorNumber, TsRole, TsType
from mrf_protocols.mikey.payloads import Timestamp, TimestampWithRole

NTP_EPOCH = 2208988800
"""Seconds from 1900-01-01 to 1970-01-01."""
ERA = 1 << 32
DEFAULT_SKEW = 60.0
"""Seconds that a timestamp may be off by default."""


def ntp_utc(now: float) -> Timestamp:
    """Give T with a 64-bit NTP-UTC value for Unix time `now`."""
    seconds = int(now)
    fraction = int((now - seconds) * ERA)
    return Timestamp(TsType.NTP_UTC, (seconds + NTP_EPOCH) % ERA << 32 | fraction)


def validity(role: TsRole, time: float) -> TimestampWithRole:
    """Give TRs or TRe for a Unix time, in whole seconds."""
    return TimestampWithRole(role, TsType.NTP_UTC_32, (int(time) + NTP_EPOCH) % ERA)


def to_unix(kind: int, value: int) -> float:
    """Give the Unix time of a TS value; COUNTER has none (MikeyError, error 1).

    Seconds with the top bit clear are of the era that begins in 2036, so the range is 1968 to 2104.
    """
    if kind in (TsType.NTP_UTC, TsType.NTP):
        seconds, fraction = value >> 32, (value & 0xFFFFFFFF) / ERA
    elif kind == TsType.NTP_UTC_32:
        seconds, fraction = value, 0.0
    else:
        raise MikeyError(ErrorNumber.INVALID_TS, f"TS type {kind} is not a time")
    if seconds < 0x80000000:
        seconds += ERA
    return seconds - NTP_EPOCH + fraction


def check_fresh(timestamp: Timestamp, now: float, skew: float) -> None:
    """Refuse a timestamp more than `skew` seconds from `now` (error 1)."""
    ahead = to_unix(timestamp.type, timestamp.value) - now
    if abs(ahead) > skew:
        where = "ahead of" if ahead > 0 else "behind"
        raise MikeyError(
            ErrorNumber.INVALID_TS,
            f"the timestamp is {abs(ahead):.0f} s {where} this clock, {skew:.0f} s are accepted: "
            "are both clocks set by NTP?",
        )


def iv_octets(timestamp: Timestamp) -> bytes:
    """Give the 64-bit form that goes into the AES-CM IV (RFC 3830 4.2.3, RFC 6043 6.3)."""
    if timestamp.type == TsType.NTP_UTC_32:
        return (timestamp.value << 32).to_bytes(8)
    return timestamp.value.to_bytes(8)
