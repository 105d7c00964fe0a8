"""Words and cron's fields, and what they become: compared with systemd's own calendar."""

import re
import subprocess
import zoneinfo
from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l3core.errors import UsageError
from launch.schedules.when import NIGHT, clock_changes, parse_every

START = datetime(2027, 1, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("words", "cron"),
    [
        ("night", NIGHT),
        ("nightly", NIGHT),
        ("day", NIGHT),
        ("24 hours", NIGHT),
        ("every day at 03:00", "0 3 * * *"),
        ("weekly", "30 4 * * 0"),
        ("month", "30 4 1 * *"),
        ("@daily", "0 0 * * *"),
        ("12h", "0 0,12 * * *"),
        ("30m", "0,30 * * * *"),
        ("hour", "0 * * * *"),
        ("1 hour", "0 * * * *"),
        ("6 hours", "0 */6 * * *"),
        ("12 hours", "0 0,12 * * *"),
        ("15 minutes", "*/15 * * * *"),
        ("minute", "* * * * *"),
        ("day at 02:30", "30 2 * * *"),
        ("day at 2:30", "30 2 * * *"),
        ("Weekday  at 00:05", "5 0 * * 1-5"),
        ("monday at 04:00", "0 4 * * 1"),
        ("sunday at 23:59", "59 23 * * 0"),
        ("0 4 * * sun", "0 4 * * 0"),
        ("0 4 * * 7", "0 4 * * 0"),
        ("0 4 * * 5-7", "0 4 * * 0,5,6"),
        ("0 4 1,15 jan-mar *", "0 4 1,15 1-3 *"),
        ("*/20,5 1-10/3 * * *", "0,5,20,40 1,4,7,10 * * *"),
        ("0 4 13 * fri", "0 4 13 * 5"),
        # cron runs on either day, and one of them is any
        ("0 4 1-31 * 1", "0 4 * * *"),
        ("0 4 13 * 0-6", "0 4 * * *"),
        ("0 4 */1 * 1", "0 4 * * 1"),
        # a star would make it both days instead of either
        ("0 4 1-31/2 * 1", "0 4 1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31 * 1"),
    ],
)
def test_words_and_fields_become_fields_that_all_read_alike(words, cron):
    assert parse_every(words).cron == cron
    assert parse_every(cron) == parse_every(words)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "needs night, hour"),
        ("fortnight", "needs night, hour"),
        ("7 hours", "hours that divide 24"),
        ("0 minutes", "minutes that divide 60"),
        ("day at 24:00", "no hour"),
        ("day at 12:60", "no minute"),
        ("60 4 * * *", "no minute"),
        ("0 4 0 * *", "no day of the month"),
        ("0 4 * 13 *", "no month"),
        ("0 4 * * 8", "no day of the week"),
        ("0 4 * * * *", "needs night"),
        ("5/15 4 * * *", "no minute"),
        ("*/0 4 * * *", "no minute"),
        ("9-5 4 * * *", "no minute"),
        ("1,,2 4 * * *", "no minute"),
        ("٣ 4 * * *", "no minute"),
        ("0 4 L * *", "no day of the month"),
        ("@reboot", "needs night"),
        ("0 4 */2 * 1", "write the days out"),
        ("0 4 1 * */2", "write the days out"),
        ("0 4 30 2 *", "never"),
    ],
)
def test_what_is_refused(text, says):
    with pytest.raises(UsageError, match=re.escape(says)):
        parse_every(text)


def allows(field, value, low, high):
    """Whether a field of cron, spelt out in numbers, has a value."""
    for part in field.split(","):
        span, _, step = part.partition("/")
        ends = (low, high) if span == "*" else [int(each) for each in span.split("-")]
        if ends[0] <= value <= ends[-1] and (value - ends[0]) % int(step or 1) == 0:
            return True
    return False


def fires(cron, at):
    """Whether cron would run at a minute: an oracle that knows nothing of ours."""
    minute, hour, day, month, weekday = cron.split()
    of_month = allows(day, at.day, 1, 31)
    of_week = any(allows(weekday, each, 0, 7) for each in {at.isoweekday() % 7, at.isoweekday()})
    fits = of_month and of_week if "*" in (day[0], weekday[0]) else of_month or of_week
    return fits and (
        allows(minute, at.minute, 0, 59)
        and allows(hour, at.hour, 0, 23)
        and allows(month, at.month, 1, 12)
    )


def fields(low, high):
    numbers = st.integers(low, high)
    spans = st.tuples(numbers, numbers).map(sorted).map(lambda pair: f"{pair[0]}-{pair[1]}")
    stepped = st.tuples(spans | st.just("*"), st.integers(1, high)).map(
        lambda pair: "{}/{}".format(*pair)
    )
    parts = numbers.map(str) | spans | stepped
    return st.just("*") | st.lists(parts, min_size=1, max_size=3).map(",".join)


@settings(deadline=None)
@given(
    st.tuples(fields(0, 59), fields(0, 23), fields(1, 31), fields(1, 12), fields(0, 7)).map(" ".join),
    st.lists(st.integers(0, 60 * 24 * 730), min_size=20, max_size=20),
)
def test_what_is_written_fires_when_what_was_read_does(cron, minutes):
    try:
        when = parse_every(cron)
    except UsageError as error:
        if re.search("write the days out|never", str(error)):
            return
        raise
    for at in (START + timedelta(minutes=each) for each in minutes):
        due = fires(cron, at)
        assert fires(when.cron, at) == due
        assert (when.on(at.date()) and at.hour in when.hours and at.minute in when.minutes) == due


def elapses(calendar, count, base=START):
    """When a timer would go off next, as systemd says."""
    said = subprocess.run(
        [
            "systemd-analyze",
            "calendar",
            f"--iterations={count}",
            f"--base-time={base:%F %T} UTC",
            calendar,
        ],
        capture_output=True,
        text=True,
        check=True,
        env={"TZ": "UTC", "LC_ALL": "C.UTF-8"},
    ).stdout
    found = re.findall(r"(?:Next elapse|Iter. #\d+|\(in UTC\)): \w+ (\S+ \S+) UTC", said)
    return [datetime.fromisoformat(each).replace(tzinfo=timezone.utc) for each in dict.fromkeys(found)]


@pytest.mark.parametrize(
    "cron",
    [
        "30 4 * * *",
        "*/15 * * * *",
        "0 */6 1-5 * *",
        "5 0 * * 1-5",
        "0 4 13 * 5",
        "0,7 3 * 2,12 0,6",
    ],
)
def test_systemd_fires_when_cron_does(cron):
    found = sorted({at for each in parse_every(cron).calendar("UTC") for at in elapses(each, 8)})[:8]
    at, due = START + timedelta(minutes=1), []
    while at <= found[-1]:
        if fires(cron, at):
            due.append(at)
        at += timedelta(minutes=1)
    assert found == due


def test_a_time_zone_is_systemds_too():
    berlin = parse_every("day at 02:30").calendar("Europe/Berlin")
    assert berlin == ["*-*-* 02:30:00 Europe/Berlin"]
    assert elapses(berlin[0], 1) == [datetime(2027, 1, 1, 1, 30, tzinfo=timezone.utc)]


def test_what_systemd_does_where_clocks_change():
    """As launch/schedules/README.md says: a time that is not there is left out, one of two is taken."""
    calendar = parse_every("day at 02:30").calendar("Europe/Berlin")[0]
    spring = elapses(calendar, 2, datetime(2027, 3, 27, 12, tzinfo=timezone.utc))
    autumn = elapses(calendar, 2, datetime(2027, 10, 30, 12, tzinfo=timezone.utc))
    assert [each.day for each in spring] == [29, 30]
    assert [each.day for each in autumn] == [31, 1]


def test_times_that_clocks_skip_or_have_twice_are_told():
    when = parse_every("day at 02:30")
    assert clock_changes(when, "Europe/Berlin", date(2027, 1, 1)) == [
        "02:30 does not exist on 2027-03-28 in Europe/Berlin",
        "02:30 comes twice on 2027-10-31 in Europe/Berlin",
    ]
    for fine in ("day at 03:30", "hour", "weekday at 02:30"):
        assert clock_changes(parse_every(fine), "Europe/Berlin", date(2027, 1, 1)) == []
    assert clock_changes(when, "Etc/UTC", date(2027, 1, 1)) == []


def test_the_night_is_a_time_of_every_day_everywhere():
    night, day_at_two = parse_every("night"), parse_every("day at 02:30")
    zones = sorted(zoneinfo.available_timezones())
    start = date(2026, 1, 1)
    assert [zone for zone in zones if clock_changes(night, zone, start, days=366)] == []
    assert sum(bool(clock_changes(day_at_two, zone, start, days=366)) for zone in zones[::20]) > 3
