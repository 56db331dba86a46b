"""The formulas of SWIM and Lifeguard, and nothing else.

`n` counts the members that are believed to be there, oneself included. Durations are in nanoseconds. Logarithms are to
the base 10, as in memberlist, whose published numbers these functions reproduce; the papers leave the base open.
"""

from __future__ import annotations

from math import log, log10

from ..machine import MILLISECOND, Nanoseconds

_SYNC_STEP = 32
"""Up to this size of the cluster, full states are exchanged at the plain interval."""


def retransmit_limit(multiplier: int, n: int) -> int:
    """How often one member passes on one update: `multiplier * ceil(log10(n + 1))`. SWIM 4.1

    ceil(log10(n + 1)) is the number of decimal digits of n, so no rounding error can come in.
    """
    return multiplier * len(str(n)) if n > 0 else 0


def suspicion_minimum(multiplier: int, n: int, interval_ns: Nanoseconds) -> Nanoseconds:
    """The shortest time from suspicion to death: `multiplier * max(1, log10 n)` probe intervals. Lifeguard IV-B

    The logarithm is cut to three decimals.
    """
    thousandths = int(max(1.0, log10(max(1, n))) * 1000)
    return multiplier * thousandths * interval_ns // 1000


def confirmations_wanted(confirmations: int, n: int) -> int:
    """How many confirmations bring the timeout to its minimum. 0 where the cluster has not that many to give.

    Of the `n`, the suspected and the one who suspects cannot confirm.
    """
    return confirmations if n - 2 >= confirmations else 0


def suspicion_timeout(confirmations: int, wanted: int, minimum_ns: Nanoseconds, maximum_ns: Nanoseconds) -> Nanoseconds:
    """The time from suspicion to death after so many independent confirmations. Lifeguard IV-B

    `max(min, max - (max - min) * log(C + 1) / log(K + 1))`, cut to milliseconds; the minimum where none are wanted.
    """
    if confirmations >= wanted:
        return minimum_ns
    share = log(confirmations + 1) / log(wanted + 1)
    timeout_ns = int(maximum_ns - share * (maximum_ns - minimum_ns))
    return max(minimum_ns, timeout_ns // MILLISECOND * MILLISECOND)


def scaled(duration_ns: Nanoseconds, score: int) -> Nanoseconds:
    """A duration as a member of this health score takes it: longer by once itself for each point. Lifeguard IV-A"""
    return duration_ns * (score + 1)


def sync_scale(n: int) -> int:
    """By how much the interval of full state exchanges grows: 1 up to 32 members, one more for each doubling."""
    return 1 + ((n - 1) // _SYNC_STEP).bit_length() if n > _SYNC_STEP else 1
