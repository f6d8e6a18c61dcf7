"""How moments are read and written: every moment from year 1 to year 9999.

Many forms are read, but nothing is guessed: a text that could be read in two ways is not a moment. A moment beyond the
calendar counts as the calendar's end. To read another form, add it to `_FORMS`. To write moments in another way, change
`written()`.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal

FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_10000 = 253_402_300_800  # seconds
_UNITS = tuple((_YEAR_10000 * many, Decimal(10**6) / many) for many in (1, 10**3, 10**6, 10**9))
"""For each unit: the size below which a number counts in it, and its microseconds. A larger number would lie after the
calendar's end."""
_YEARS_OF_BARE_DIGITS = range(1900, 2201)
_BARE_DIGITS = tuple((10 ** (many - 1), 10**many) for many in (8, 12, 14))
"""A number of so many digits may be a date: to the day, the minute or the second."""
_CYCLE = 400
"""Years after which the calendar repeats itself, with its leap days."""
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_NUMBER = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?")
_CLOCK = r"(?P<hour>[0-9]{2})(?::?(?P<minute>[0-9]{2})(?::?(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,20}))?)?)?"
_CLOCK_IN_WORDS = (
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,20}))?)?"
    r"(?: ?(?P<half>[ap])m)?"
)
_NAME = r"(?: ?\([^()]{1,60}\)| ?\[[^\[\]]{1,60}\])"
_ZONE = (
    r"(?: ?(?P<zone>z|utc?|gmt|(?:utc|gmt)?(?P<sign>[+-])(?P<hours>[0-9]{1,2})(?::?(?P<minutes>[0-9]{2}))?"
    rf"(?: [a-z]{{3,5}}| [+-][0-9]{{2,4}})?)"  # the name of the zone, behind its offset
    rf"{_NAME}{{0,3}}(?: m=[+-][0-9.]{{1,40}})?)?"  # Go also writes its monotonic clock
)
_MONTH = "(?P<name>[a-z]{3,9})"
_WEEKDAY = r"(?:[a-z]{3,9},? )?"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE | re.ASCII)
    for form in (
        rf"(?P<year>[0-9]{{4}})[-/]?(?P<month>[0-9]{{2}})[-/]?(?P<day>[0-9]{{2}})(?:[t ]?{_CLOCK})?{_ZONE}",  # ISO 8601
        rf"{_WEEKDAY}(?P<day>[0-9]{{1,2}})[ -]{_MONTH}[ -](?P<year>[0-9]{{4}}) {_CLOCK_IN_WORDS}{_ZONE}",  # RFC 2822
        rf"{_WEEKDAY}{_MONTH} (?P<day>[0-9]{{1,2}}),? (?P<year>[0-9]{{4}}),? {_CLOCK_IN_WORDS}{_ZONE}",  # JavaScript
        rf"{_WEEKDAY}{_MONTH} (?P<day>[0-9]{{1,2}}) {_CLOCK_IN_WORDS}{_ZONE} (?P<year>[0-9]{{4}})",  # C, Java, Ruby
    )
)
_LIST, _FEWEST_OF_A_LIST = ("year", "month", "day", "hour", "minute", "second", "fraction"), 3
_NANOSECONDS_DIGITS = 9
_DOTNET = re.compile(r"/Date\((?P<milliseconds>-?[0-9]{1,15})(?:[+-][0-9]{4})?\)/")


class NoMoment(ValueError):
    """The value is not a moment. The reason is not_a_timestamp, or missing_offset if only the zone is missing."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def read_moment(value: object, zone: tzinfo | None = None) -> datetime:
    """The moment that a JSON value stands for, in UTC. Raises NoMoment.

    A text is RFC 3339 or a looser form of it, RFC 2822, or a number. A number counts from 1970, in the largest unit
    that keeps it before the year 10000: seconds, milliseconds, microseconds or nanoseconds. Eight, twelve or fourteen
    digits that form a date are that date. A list is what Jackson makes of a local time: year, month, day, hour,
    minute, second, nanosecond. A moment without a zone is read in `zone`.
    """
    if isinstance(value, str):
        try:
            if value[4:5] == "-" and (moment := datetime.fromisoformat(value)).tzinfo is not None:
                return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        return _from_text(" ".join(value.split()), zone)
    if isinstance(value, list):
        return _from_list(value, zone)
    if (
        isinstance(value, bool) or not isinstance(value, int | float | Decimal) or value != value
    ):  # NaN is not even itself
        raise NoMoment("not_a_timestamp")
    return _from_number(value, zone)


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC. A moment before year 1 or after year 9999 counts as the calendar's end."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return FIRST if moment.year == 1 else LAST


def moved(moment: datetime, by: timedelta) -> datetime:
    """The moment so much later or earlier, but never beyond the calendar."""
    try:
        return moment + by
    except OverflowError:
        return (LAST if by > timedelta() else FIRST).replace(tzinfo=moment.tzinfo)


def written(moment: datetime, zone: tzinfo = UTC) -> str:
    """The moment as a clock of that zone shows it: `2026-11-24 08:00:00`. The year has four digits, or is 10000.

    `strftime` does not pad years, and nothing after 9999 fits into a `datetime`.
    """
    years = 0
    try:
        local = moment.astimezone(zone)
    except OverflowError:
        years = _CYCLE if moment.year == 1 else -_CYCLE
        local = moment.replace(year=moment.year + years).astimezone(zone)
    return f"{local.year - years:04}-{local:%m-%d %H:%M:%S}"


def _from_text(text: str, zone: tzinfo | None) -> datetime:
    if _NUMBER.fullmatch(text):
        return _from_number(Decimal(text), zone)
    if found := _DOTNET.fullmatch(text):
        return _since_epoch(Decimal(found["milliseconds"]) * 1000)
    for form in _FORMS:
        if found := form.fullmatch(text):
            return _from_parts(found.groupdict(), zone)
    raise NoMoment("not_a_timestamp")


def _from_number(number: float | Decimal, zone: tzinfo | None) -> datetime:
    exact = number if isinstance(number, int | Decimal) else Decimal(repr(number))
    size = abs(exact)
    if any(low <= exact < high for low, high in _BARE_DIGITS) and exact == int(exact):
        found = _FORMS[0].fullmatch(str(int(exact)))
        if found and int(found["year"]) in _YEARS_OF_BARE_DIGITS:
            try:
                return _from_parts(found.groupdict(), zone)
            except NoMoment as error:
                if error.reason == "missing_offset":
                    raise
    for limit, microseconds in _UNITS:
        if size < limit:
            return _since_epoch(exact * microseconds)
    raise NoMoment("not_a_timestamp")


def _from_list(numbers: list[object], zone: tzinfo | None) -> datetime:
    texts = [str(number) for number in numbers if type(number) is int and 0 <= number < 10**9]
    if len(texts) < len(numbers) or not _FEWEST_OF_A_LIST <= len(texts) <= len(_LIST):
        raise NoMoment("not_a_timestamp")
    parts: dict[str, str | None] = {**dict.fromkeys((*_LIST, "zone")), **dict(zip(_LIST, texts, strict=False))}
    parts["fraction"] = (parts["fraction"] or "").zfill(_NANOSECONDS_DIGITS)
    return _from_parts(parts, zone)


def _since_epoch(microseconds: Decimal) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=int(microseconds))
    except OverflowError:
        raise NoMoment("not_a_timestamp") from None


def _from_parts(parts: Mapping[str, str | None], zone: tzinfo | None) -> datetime:
    """The moment of a form's groups. Raises NoMoment."""
    try:
        local = _on_the_calendar(parts)
        if parts["zone"]:
            zone = _offset(parts)
    except ValueError:
        raise NoMoment("not_a_timestamp") from None
    if zone is None:
        raise NoMoment("missing_offset")
    return in_utc(local.replace(tzinfo=zone))


def _on_the_calendar(parts: Mapping[str, str | None]) -> datetime:
    """The local time. A leap second is the next second, and 24:00 is the next day. Raises ValueError."""
    year, day = int(parts["year"] or 0), int(parts["day"] or 0)
    name = parts.get("name")
    month = _month(name.lower()) if name else int(parts["month"] or 0)
    hour, minute, second = (int(parts[unit] or 0) for unit in ("hour", "minute", "second"))
    if half := parts.get("half"):
        hour = _of_24(hour, half.lower())
    more = timedelta()
    if (hour, minute, second) == (24, 0, 0):
        hour, more = 0, timedelta(days=1)
    elif second == 60:
        second, more = 59, timedelta(seconds=1)
    microsecond = int((parts["fraction"] or "")[:6].ljust(6, "0"))
    return moved(datetime(year, month, day, hour, minute, second, microsecond), more)  # noqa: DTZ001 - its zone comes next


def _month(name: str) -> int:
    """Raises ValueError."""
    [number] = [number for number, month in enumerate(_MONTHS, 1) if name in (month, month[:3])]
    return number


def _of_24(hour: int, half: str) -> int:
    """The hour of the day, of an hour with am (a) or pm (p). Raises ValueError."""
    if not 1 <= hour <= 12:
        raise ValueError
    return hour % 12 + (12 if half == "p" else 0)


def _offset(parts: Mapping[str, str | None]) -> tzinfo:
    """Raises ValueError."""
    hours, minutes = int(parts["hours"] or 0), int(parts["minutes"] or 0)
    if minutes > 59:
        raise ValueError
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if parts["sign"] == "-" else offset)
