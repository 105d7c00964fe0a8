"""When a schedule fires: read from words or from cron's five fields, written for any scheduler."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from l3core.errors import UsageError

WORDS = (
    "night, hour, 15 minutes, 6 hours, day at 02:30, weekday at 02:30, monday at 04:00, or five fields "
    "as cron has them"
)
NIGHT = "30 4 * * *"  # in no time zone do clocks change at that time (a test looks)
# Other words for the same; those with an @ are cron's own, and mean its times.
SAME = {
    **dict.fromkeys(("nightly", "day", "daily", "1 day", "24 hours", "24h", "1d"), NIGHT),
    "hourly": "0 * * * *",
    **dict.fromkeys(("week", "weekly"), "30 4 * * 0"),
    **dict.fromkeys(("month", "monthly"), "30 4 1 * *"),
    **dict.fromkeys(("@daily", "@midnight"), "0 0 * * *"),
    "@hourly": "0 * * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
}
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True)
class Field:
    """A field of cron: its name, its range, and names that stand for numbers."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[int, ...]:
        """Each value."""
        return tuple(range(self.low, self.high + 1))


MINUTE, HOUR = Field("minute", 0, 59), Field("hour", 0, 23)
DAY, MONTH = Field("day of the month", 1, 31), Field("month", 1, 12, _MONTHS)
WEEKDAY = Field("day of the week", 0, 6, tuple(name[:3] for name in _WEEKDAYS))
FIELDS = (MINUTE, HOUR, DAY, MONTH, WEEKDAY)


@dataclass(frozen=True)
class When:
    """Minutes at which to fire; each field has the values that it allows, sorted.

    Attributes:
        minutes: 0 to 59.
        hours: 0 to 23.
        days: of the month, 1 to 31.
        months: 1 to 12.
        weekdays: 0, Sunday, to 6.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    @property
    def either(self) -> bool:
        """Whether both days are told: then one of them is enough, for every scheduler."""
        return self.days != DAY.all and self.weekdays != WEEKDAY.all

    def on(self, day: date) -> bool:
        """Whether it fires on a day."""
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        fits = of_month or of_week if self.either else of_month and of_week
        return fits and day.month in self.months

    @property
    def cron(self) -> str:
        """Five fields of numbers that all schedulers read alike."""
        values = (self.minutes, self.hours, self.days, self.months, self.weekdays)
        # beside a day of the other kind, a star would mean both instead of either
        steps = (True, True, not self.either, True, False)
        return " ".join(map(_as_cron, values, FIELDS, steps))

    def calendar(self, zone: str | None) -> list[str]:
        """The same for `OnCalendar=` of systemd, in the machine's time zone with None."""
        at = f"{_listed(self.hours, HOUR)}:{_listed(self.minutes, MINUTE)}:00" + (
            f" {zone}" if zone else ""
        )
        months, days = _listed(self.months, MONTH), _listed(self.days, DAY)
        weekdays = ",".join(_WEEKDAYS[each].title()[:3] for each in self.weekdays)
        if self.either:
            return [f"*-{months}-{days} {at}", f"{weekdays} *-{months}-* {at}"]
        day = f"*-{months}-{days}" if self.weekdays == WEEKDAY.all else f"{weekdays} *-{months}-*"
        return [f"{day} {at}"]


def parse_every(text: str) -> When:
    """When `--every` says.

    Raises:
        UsageError: it says nothing that is understood, or never.
    """
    when = _from_fields(_fields_of(text), text)
    if not any(when.on(date(2024, 1, 1) + timedelta(days=each)) for each in range(366 * 5)):
        raise UsageError(f"{text!r} never comes")
    return when


def _fields_of(text: str) -> list[str]:
    words = " ".join(text.lower().split()).removeprefix("every ")
    if words == "night" or words in SAME:
        return SAME.get(words, NIGHT).split()
    if match := re.fullmatch(r"(?:(\d+) ?)?(minute|hour)s?|(\d+) ?(m|h)", words):
        number, unit = match[1] or match[3] or 1, match[2] or match[4]
        return _each(int(number), {"m": "minute", "h": "hour"}.get(unit, unit), text)
    days = {"day": "*", "weekday": "1-5"} | {name: str(each) for each, name in enumerate(_WEEKDAYS)}
    if match := re.fullmatch(rf"({'|'.join(days)}) at (\d\d?):(\d\d)", words):
        return [match[3], match[2], "*", "*", days[match[1]]]
    fields = words.split()
    if len(fields) != 5 or not re.search(r"[\d*]", fields[0]):
        raise UsageError(f"needs {WORDS}, got {text!r}")
    return fields


def _each(number: int, unit: str, text: str) -> list[str]:
    most = {"minute": 60, "hour": 24}[unit]
    if not 0 < number < most or most % number:
        raise UsageError(f"needs {unit}s that divide {most}, got {text!r}: the gaps would be unequal")
    return [f"*/{number}", *"****"] if unit == "minute" else ["0", f"*/{number}", *"***"]


def _from_fields(fields: Sequence[str], text: str) -> When:
    minutes, hours, days, months, weekdays = (
        _values(part, field, text) for part, field in zip(fields, FIELDS)
    )
    told = [each != "*" and not re.fullmatch(r"\*/0*1", each) for each in (fields[2], fields[4])]
    if all(told):
        if fields[2].startswith("*") or fields[4].startswith("*"):
            raise UsageError(
                f"{text!r} has a day of the month and a day of the week, one of them with a star: some "
                "schedulers take either, some both; write the days out"
            )
        if days == DAY.all or weekdays == WEEKDAY.all:  # either day: each
            days, weekdays = DAY.all, WEEKDAY.all
    return When(minutes, hours, days, months, weekdays)


def _values(text: str, field: Field, whole: str) -> tuple[int, ...]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        wrong = UsageError(f"{whole!r} has no {field.name} that cron would take: {text!r}")
        if slash and not (step.isdecimal() and int(step) > 0 and (span == "*" or dash)):
            raise wrong
        if span == "*":
            low, high = field.low, field.high
        else:
            low, high = _number(first, field, wrong), _number(last if dash else first, field, wrong)
            if low > high:
                raise wrong
        found |= set(range(low, high + 1, int(step or 1)))
    return tuple(sorted({each % 7 for each in found} if field is WEEKDAY else found))


def _number(text: str, field: Field, wrong: UsageError) -> int:
    if text in field.names:
        return field.names.index(text) + field.low
    high = 7 if field is WEEKDAY else field.high  # Sunday twice
    if not (text.isascii() and text.isdecimal() and field.low <= int(text) <= high):
        raise wrong
    return int(text)


def _as_cron(values: tuple[int, ...], field: Field, steps: bool) -> str:
    if values == field.all:
        return "*"
    if steps and len(values) > 2:
        step = values[1] - values[0]
        if values == tuple(range(field.low, field.high + 1, step)):
            return f"*/{step}"
    return ",".join(
        f"{first}-{last}" if last > first + 1 else ",".join(map(str, range(first, last + 1)))
        for first, last in _runs(values)
    )


def _runs(values: Sequence[int]) -> Iterator[tuple[int, int]]:
    first = last = values[0]
    for each in values[1:]:
        if each != last + 1:
            yield first, last
            first = each
        last = each
    yield first, last


def _listed(values: tuple[int, ...], field: Field) -> str:
    return "*" if values == field.all else ",".join(f"{each:02}" for each in values)


def clock_changes(when: When, zone: str, start: date, days: int = 366) -> list[str]:
    """What becomes of times that clocks skip or have twice, from `start` on, in words."""
    if when.hours == HOUR.all:
        return []  # the next hour is as good
    found = []
    for day in (start + timedelta(days=each) for each in range(days)):
        if not (when.on(day) and _changes(day, zone)):
            continue
        for hour in when.hours:
            at = datetime(day.year, day.month, day.day, hour, when.minutes[0], tzinfo=ZoneInfo(zone))
            before, after = at.utcoffset(), at.replace(fold=1).utcoffset()
            if before != after and before is not None and after is not None:
                what = "does not exist" if before < after else "comes twice"
                found.append(f"{at:%H:%M} {what} on {day} in {zone}")
    return found


def _changes(day: date, zone: str) -> bool:
    at = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    return at.utcoffset() != (at + timedelta(days=1)).utcoffset()
