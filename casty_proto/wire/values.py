"""Values of the standard library: what each is on the wire, and back.

On the wire an atom is what MessagePack has for it. Everything else is an array whose first element says what the rest
is: one of the tags below, or the number of an announced type. MessagePack's maps and extensions are not used.

    [LIST, *elements]                       [DATETIME, year, month, day, hour, minute, second, microsecond, fold, zone]
    [TUPLE, *elements]                      [DATE, year, month, day]
    [SET, *elements], sorted by their bytes [TIME, hour, minute, second, microsecond, fold, zone]
    [FROZENSET, *elements]                  [TIMEDELTA, days, seconds, microseconds]
    [DICT, key, value, key, value, ...]     [TIMEZONE, days, seconds, microseconds, name or nil]
    [BIG_INT, bytes, big-endian, signed]    [DECIMAL, text]
    [COMPLEX, real, imaginary]              [EXCEPTION, ...], see `exceptions.py`
    [BYTEARRAY, bytes]                      [REF, value]

A zone that is not a `datetime.timezone` is sent if its class is registered; reading the tables of `zoneinfo` is up to
the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from itertools import chain
from operator import itemgetter
from typing import Any

from .errors import Malformed, Refused

# 0 and 1 are equal to False and True, and therefore no tags.
LIST, TUPLE, SET, FROZENSET, DICT, BIG_INT, COMPLEX, BYTEARRAY = range(2, 10)
DATETIME, DATE, TIME, TIMEDELTA, TIMEZONE, DECIMAL, EXCEPTION, REF = range(10, 18)
FIRST_TYPE = 32
"""The number of the first type that is announced."""

ATOMS = frozenset((type(None), bool, int, float, str, bytes))
BUILTIN_TYPES = (
    *(type(None), bool, int, float, str, bytes, list, tuple, set, frozenset, dict, complex, bytearray),
    *(datetime, date, time, timedelta, timezone, Decimal),
)

SAME_HASH_MAX = 64
"""How many keys of one dict or set may have the same hash. Each costs a comparison with all those before it."""
SAME_HASH_PAIRS_MAX = 4096
"""How many pairs of keys of the same hash one body may have, as `KeyCheck` counts them."""

_UNFORESEEN = frozenset((str, bytes))
"""Types whose hashes differ from process to process."""

type Many = Callable[[Sequence[Any], int], Sequence[Any]]
"""Turns values, which are at this depth, into what is packed for them."""
type Encode = Callable[[Any, int], list[Any]]
type Pack = Callable[[Any], bytes]
type Decode = Callable[[list[Any]], object]


class KeyCheck:
    """Refuses keys whose tables would take too long to make. One for each encoder and decoder.

    Numbers and what is made of them have hashes that a peer can foresee, and n equal ones cost n * n / 2 comparisons.
    Like two keys that are equal, this may be an honest mistake, of a class whose objects hash alike or of one that has
    lost a field between two versions. So it costs the value, not the connection.

    A limit for each table is not enough. Comparing two tables means as many comparisons again, so what frozensets of
    frozensets of colliding keys cost is the product over all levels: a megabyte of them, 40 in each, took 13 seconds.
    So pairs are also counted over the whole body. Two atoms are free, as -1 and -2 have the same hash.
    """

    __slots__ = ("pairs_left",)

    def __init__(self) -> None:
        self.pairs_left = SAME_HASH_PAIRS_MAX
        """How many more the current body may have. Set anew by whoever begins one; a call would cost every message."""

    def check(self, keys: list[Any]) -> None:
        """Raise `Refused` where too many keys of one table have the same hash."""
        if len(keys) < 2 or _UNFORESEEN.issuperset(map(type, keys)):
            return
        counts: dict[int, int] = {}
        for key in keys:
            try:
                # Only how many are equal matters, which does not depend on the process.
                code: int = key.__hash__()
            except Exception as error:
                raise Refused(f"a dict or a set has a key that cannot be one: {type(error).__name__}") from error
            others = counts.get(code, 0)
            counts[code] = others + 1
            if others == SAME_HASH_MAX:
                raise Refused(f"a dict or a set has more than {SAME_HASH_MAX} keys of the same hash")
            if others > 1 or (others and type(key) not in ATOMS):
                self._count(others)

    def _count(self, pairs: int) -> None:
        self.pairs_left -= pairs
        if self.pairs_left < 0:
            raise Refused(f"the dicts and sets of a body have more than {SAME_HASH_PAIRS_MAX} pairs of the same hash")


def encoders(many: Many, many_unordered: Many, keys: KeyCheck, pack: Pack) -> dict[type, Encode]:
    """For each type a function of a value and its depth that returns the array for it."""

    def encode_elements(tag: int) -> Encode:
        return lambda value, depth: [tag, *many(value, depth + 1)]

    def encode_unordered(tag: int) -> Encode:
        def encode(value: Iterable[Any], depth: int) -> list[Any]:
            elements = [*value]
            keys.check(elements)
            return [tag, *_in_order(many_unordered(elements, depth + 1), pack)]

        return encode

    def encode_dict(value: dict[Any, Any], depth: int) -> list[Any]:
        keys.check(list(value))
        return [DICT, *many([*chain.from_iterable(value.items())], depth + 1)]

    def encode_datetime(value: datetime, depth: int) -> list[Any]:
        day, at = (
            (value.year, value.month, value.day),
            (value.hour, value.minute, value.second, value.microsecond, value.fold),
        )
        return [DATETIME, *day, *at, *many((value.tzinfo,), depth + 1)]

    def encode_time(value: time, depth: int) -> list[Any]:
        at = (value.hour, value.minute, value.second, value.microsecond, value.fold)
        return [TIME, *at, *many((value.tzinfo,), depth + 1)]

    return {
        list: encode_elements(LIST),
        tuple: encode_elements(TUPLE),
        set: encode_unordered(SET),
        frozenset: encode_unordered(FROZENSET),
        dict: encode_dict,
        complex: lambda value, _: [COMPLEX, value.real, value.imag],
        bytearray: lambda value, _: [BYTEARRAY, bytes(value)],
        datetime: encode_datetime,
        date: lambda value, _: [DATE, value.year, value.month, value.day],
        time: encode_time,
        timedelta: lambda value, _: [TIMEDELTA, *_delta(value)],
        timezone: lambda value, _: [TIMEZONE, *_delta(value.utcoffset(None)), _zone_name(value)],
        Decimal: lambda value, _: [DECIMAL, str(value)],
    }


def encode_big_int(value: int) -> list[Any]:
    """The array for an integer that MessagePack has no room for."""
    return [BIG_INT, value.to_bytes(value.bit_length() // 8 + 1, signed=True)]


def _in_order(elements: Iterable[Any], pack: Pack) -> list[Any]:
    """The order of a set differs from process to process; that of bytes does not."""
    packed = sorted([(pack(element), place, element) for place, element in enumerate(elements)], key=itemgetter(0, 1))
    return [element for _, _, element in packed]


def _delta(value: timedelta) -> tuple[int, int, int]:
    return value.days, value.seconds, value.microseconds


def _zone_name(value: timezone) -> str | None:
    """The name that the zone was given, not the one that it makes up."""
    arguments: tuple[Any, ...] = value.__getinitargs__()  # type: ignore[attr-defined]
    return arguments[1] if len(arguments) > 1 else None


# -- and back ----------------------------------------------------------------------------------------------------------


def _decode_list(items: list[Any]) -> object:
    del items[0]
    return items


def key_decoders(check: KeyCheck) -> dict[int, Decode]:
    """The functions for what has keys."""

    def decode_set(items: list[Any]) -> object:
        del items[0]
        check.check(items)
        return _set_of(set, items)

    def decode_frozenset(items: list[Any]) -> object:
        del items[0]
        check.check(items)
        return _set_of(frozenset, items)

    def decode_dict(items: list[Any]) -> object:
        if not len(items) % 2:
            raise Malformed("a dict has a key without a value")
        keys = items[1::2]
        check.check(keys)
        return _dict_of(keys, items)

    return {SET: decode_set, FROZENSET: decode_frozenset, DICT: decode_dict}


def _dict_of(keys: list[Any], items: list[Any]) -> object:
    try:
        found = dict(zip(keys, items[2::2], strict=True))
    except Exception as error:
        raise Refused(f"a dict has a key that cannot be one: {type(error).__name__}") from error
    if len(found) != len(keys):
        raise Refused("a dict has a key twice")
    return found


def _set_of(cls: type[set[Any]] | type[frozenset[Any]], elements: list[Any]) -> object:
    try:
        found = cls(elements)
    except Exception as error:
        raise Refused(f"a set has an element that cannot be in one: {type(error).__name__}") from error
    if len(found) != len(elements):
        raise Refused("a set has an element twice")
    return found


def _decode_big_int(items: list[Any]) -> object:
    (data,) = _parts(items, bytes)
    value = int.from_bytes(data, signed=True)
    if -(2**63) <= value < 2**64:
        raise Malformed("an integer is sent as a big one and is none")
    return value


def _decode_datetime(items: list[Any]) -> object:
    year, month, day, hour, minute, second, microsecond, fold, zone = _with_zone(items, 8)
    return datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def _decode_time(items: list[Any]) -> object:
    hour, minute, second, microsecond, fold, zone = _with_zone(items, 5)
    return time(hour, minute, second, microsecond, zone, fold=fold)


def _with_zone(items: list[Any], numbers: int) -> list[Any]:
    zone = items[-1]
    if zone is not None and not isinstance(zone, tzinfo):
        raise Malformed(f"a time zone is a {type(zone).__name__}")
    return [*_parts(items[:-1], *[int] * numbers), zone]


def _decode_zone(items: list[Any]) -> object:
    if len(items) != 5 or items[4] is None:
        days, seconds, microseconds, _ = _parts(items, int, int, int, type(None))
        return timezone(timedelta(days, seconds, microseconds))
    days, seconds, microseconds, name = _parts(items, int, int, int, str)
    return timezone(timedelta(days, seconds, microseconds), name)


def _parts(items: list[Any], *kinds: type) -> list[Any]:
    """What follows the tag, if it is of these types."""
    if [type(item) for item in items[1:]] != [*kinds]:
        raise Malformed(
            f"the value with the tag {items[0]} is not made of {', '.join(kind.__name__ for kind in kinds)}"
        )
    return items[1:]


DECODERS: dict[int, Decode] = {
    LIST: _decode_list,
    TUPLE: lambda items: tuple(items[1:]),
    BIG_INT: _decode_big_int,
    COMPLEX: lambda items: complex(*_parts(items, float, float)),
    BYTEARRAY: lambda items: bytearray(*_parts(items, bytes)),
    DATETIME: _decode_datetime,
    DATE: lambda items: date(*_parts(items, int, int, int)),
    TIME: _decode_time,
    TIMEDELTA: lambda items: timedelta(*_parts(items, int, int, int)),
    TIMEZONE: _decode_zone,
    DECIMAL: lambda items: Decimal(*_parts(items, str)),
}
