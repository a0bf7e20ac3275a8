"""When scheduled actions are due: ``at(…)``, ``rate(…)``, ``cron(minutes hours day-of-month month day-of-week year)``.

Source: AWS, "Schedule recurring scaling actions using cron expressions". ``L``, ``W`` and ``#`` are not served.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from zoneinfo import ZoneInfo

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_UNITS = {"minute": 60, "hour": 3600, "day": 86400}
_RATE = re.compile(r"^rate\(\s*(\d+)\s+(minute|hour|day)s?\s*\)$")
_AT = re.compile(r"^at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)$")
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (1, 7), (1970, 2199))

Due = Callable[[float, float], bool]
"""Whether an action is due after one moment and until another (seconds since the epoch)."""


_LONGEST_RATE = 100 * 366 * 86400


class ScheduleError(ValueError):
    """A schedule that cannot be read."""


def compile_schedule(text: str, timezone: str = "UTC", began: float = 0.0) -> Due:
    """What tells when a schedule is due; ScheduleError when it is not one. Rates count from ``began``."""
    try:
        zone = ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        raise ScheduleError(f"The timezone {timezone} is not known.") from None
    if found := _AT.match(text):
        try:
            moment = dt.datetime.fromisoformat(found[1]).replace(tzinfo=zone).timestamp()
        except (ValueError, OverflowError):
            raise ScheduleError(f"The time {found[1]} does not exist.") from None
        return lambda after, until: after < moment <= until
    if found := _RATE.match(text):
        period = int(found[1][:12]) * _UNITS[found[2]]
        if not 0 < period <= _LONGEST_RATE:
            raise ScheduleError("A rate must be positive, and shorter than a hundred years.")
        return lambda after, until: int((after - began) // period) < int((until - began) // period)
    if text.startswith("cron(") and text.endswith(")"):
        return _cron(text[5:-1].upper().split(), zone)
    raise ScheduleError(f"The schedule {text} must be at(yyyy-mm-ddThh:mm:ss), rate(n unit) or cron(6 fields).")


def _cron(fields: list[str], zone: ZoneInfo) -> Due:
    if len(fields) != 6:
        raise ScheduleError("A cron expression has six fields: minutes hours day-of-month month day-of-week year.")
    names = ((), (), (), _MONTHS, _DAYS, ())
    allowed = [_field(f, r, n) for f, r, n in zip(fields, _RANGES, names, strict=True)]

    def matches(at: dt.datetime) -> bool:
        parts = (at.minute, at.hour, at.day, at.month, at.isoweekday() % 7 + 1, at.year)
        return all(a is None or p in a for a, p in zip(allowed, parts, strict=True))

    def due(after: float, until: float) -> bool:
        minute = (int(max(after, until - 3600)) // 60 + 1) * 60
        return any(matches(dt.datetime.fromtimestamp(m, zone)) for m in range(minute, int(until) + 1, 60))

    return due


def _field(text: str, limits: tuple[int, int], names: tuple[str, ...]) -> frozenset[int] | None:
    """The values a field allows; None: all."""
    if text in ("*", "?"):
        return None
    low, high = limits
    found: set[int] = set()
    for item in text.split(","):
        span, _, every = item.partition("/")
        first, _, last = span.partition("-")
        try:
            start = low if first == "*" else _number(first, names)
            end = high if first == "*" or (every and not last) else _number(last, names) if last else start
            step = int(every) if every else 1
        except ValueError:
            raise ScheduleError(f"The cron field {text} is not served.") from None
        if not low <= start <= end <= high or step < 1:
            raise ScheduleError(f"The cron field {text} is out of range ({low} to {high}).")
        found.update(range(start, end + 1, step))
    return frozenset(found)


def _number(text: str, names: tuple[str, ...]) -> int:
    return names.index(text) + 1 if text in names else int(text)
