"""What SWIM finds, how soon, and what it gets wrong: with and without Lifeguard, all in simulated time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from attrs import Factory, define

from casty_proto.machine import SECOND, Instant, nanoseconds
from casty_proto.swim import MemberDead, MemberSuspected, SwimEffect, SwimOptions

from .swim_net import Block, Net, Node, cluster
from .swim_show import FIRST, N, Plan, grid, progress

PLAIN = SwimOptions(awareness_max=1, suspicion_max_mult=1, buddy=False, confirmations=0)
LIFEGUARD = SwimOptions()
VARIANTS = {
    "plain SWIM": PLAIN,
    "+ local health": SwimOptions(suspicion_max_mult=1, buddy=False, confirmations=0),
    "+ suspicion": SwimOptions(awareness_max=1, buddy=False),
    "+ buddy": SwimOptions(awareness_max=1, suspicion_max_mult=1, confirmations=0),
    "Lifeguard": LIFEGUARD,
}

DETECTION_NOTE = """\
SWIM (DSN 2002) expects the first detection after e/(e-1) = 1.582 periods, counted in whole periods in which members
probe at random. Here members probe in a shuffled order, each with a period of its own; the same count is in the first
line of each. A suspicion follows one period after its probe began. With 99.9 % of fewer than 1000 samples the largest
one is printed."""

ALARM_NOTE = """\
FP: a member that is there and not slow is declared dead by anybody; FP-: by somebody who is not slow either. A
verdict that spreads counts at each member that believes it. "fewer by": plain SWIM over Lifeguard; "> x" where
Lifeguard has none. msgs: per member and period. Slow members are blocked in step, run for 0.5 s, and are blocked
again, for 120 s. deaf: their alarms ring, their messages wait. stopped: everything waits.
Lifeguard's abstract (arXiv 1707.00788): false positives down by more than 50 x, latency and load up modestly; its text:
alpha 4 gave 20 % faster detection and 20 x fewer false positives; one overloaded member is enough for false positives
in SWIM, 4 cause hundreds. Its tables were not at hand, so nothing is compared with them.
Different here: the paper stalled some of 100 virtual machines with one core each; these members are blocked exactly,
all others are never late, no message is lost (but in the last lines), and links take 1 ms. The times matter: plain
SWIM's suspicion lasts 8.4 s with 128 members, Lifeguard's from 8.4 to 50.6 s, and a block of 16 or 30 s is between
the two. Blocked members that are declared dead are not counted, for either. Plain SWIM here is this machine with
local health, confirmations, the growing timeout and the buddy system off; it keeps rules 15, 22 and 23, which SWIM
has not."""


# -- c: detection ------------------------------------------------------------------------------------------------------


@define
class Detection:
    """What came out of crashes, in seconds after each."""

    periods: list[int] = Factory(list)
    """The period in which somebody probed the member, the first one after the crash being 1, as SWIM counts."""
    suspected: list[float] = Factory(list)
    first: list[float] = Factory(list)
    each: list[float] = Factory(list)
    everywhere: list[float] = Factory(list)
    false: int = 0
    """How often anybody declared a member dead that was there."""


def detection(options: SwimOptions, crashes: int, seed: int, name: str) -> Detection:
    """One member after the other crashes, and comes back when everybody has noticed."""
    net, found = cluster(N, seed, options), Detection()
    suspicions: list[Instant] = []
    deaths: list[Instant] = []
    gone = ""

    def observe(node: Node, effect: SwimEffect) -> None:
        if isinstance(effect, MemberSuspected) and effect.member.identity.node_id == gone:
            suspicions.append(net.now)
        elif isinstance(effect, MemberDead) and not effect.replaced:
            if effect.member.identity.node_id == gone:
                deaths.append(net.now)
            else:
                found.false += 1

    net.observe = observe
    for number in range(crashes):
        progress(f"detection: {name}, crash {number + 1} of {crashes}")
        net.run(net.rng.random())
        suspicions.clear()
        deaths.clear()
        at, gone = net.now, net.rng.choice(net.up()[1:])
        net.crash(gone)
        net.run_until(lambda: len(deaths) == N - 1, 300.0, step=0.5)
        probed_ns = suspicions[0] - at - options.probe_interval_ns
        found.periods.append(max(1, math.ceil(probed_ns / options.probe_interval_ns)))
        found.suspected.append((suspicions[0] - at) / SECOND)
        found.first.append((deaths[0] - at) / SECOND)
        found.each.extend((death - at) / SECOND for death in deaths)
        found.everywhere.append((deaths[-1] - at) / SECOND)
        net.start(gone, FIRST)
        gone = ""
        net.run_quiet()
    return found


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def detections(plan: Plan, seed: int) -> str:
    """The times from a crash, for both variants."""
    rows: list[tuple[str, ...]] = [("", "samples", "mean", "median", "99 %", "99.9 %", "paper")]
    expected = f"{math.e / (math.e - 1):.3f}"
    notes = []
    for name, options in (("plain SWIM", PLAIN), ("Lifeguard", LIFEGUARD)):
        found = detection(options, plan.crashes, seed, name)
        for what, values, paper in (
            ("first probed, in which period", found.periods, expected),
            ("first suspicion, s", found.suspected, ""),
            ("first declared dead, s", found.first, ""),
            ("declared dead, any member, s", found.each, ""),
            ("declared dead everywhere, s", found.everywhere, ""),
        ):
            shown = [statistics.fmean(values), *(percentile(values, percent) for percent in (50, 99, 99.9))]
            rows.append((f"{name}: {what}", str(len(values)), *(f"{value:.2f}" for value in shown), paper))
        notes.append(f"{name}: {found.false} false positives meanwhile")
    return f"{grid(rows)}\n{'; '.join(notes)}"


# -- d: false positives ------------------------------------------------------------------------------------------------


@define
class Alarms:
    """What was said of members that were there and not slow."""

    suspected: int = 0
    dead: int = 0
    """FP: each time a member, slow or not, declared one of them dead."""
    dead_at_healthy: int = 0
    """FP-: those of them at members that were not slow themselves."""
    sent: int = 0


def alarms(options: SwimOptions, how: Block, slow: int, blocked: float, runs: int, seed: int, loss: float) -> Alarms:
    """Some members are blocked for `blocked` seconds, run for half a second, and again, for 120 s."""
    total = Alarms()
    for run in range(runs):
        net = cluster(N, seed + run, options, loss=loss)
        ill = net.rng.sample(net.up(), slow)

        def observe(node: Node, effect: SwimEffect, ill: Sequence[str] = ill) -> None:
            if isinstance(effect, MemberSuspected | MemberDead) and effect.member.identity.node_id not in ill:
                if isinstance(effect, MemberSuspected):
                    total.suspected += 1
                else:
                    total.dead += 1
                    total.dead_at_healthy += node.address not in ill

        net.observe = observe
        for name in ill:
            _cycle(net, name, how, blocked)
        before = net.sent
        net.run(120.0)
        total.sent += net.sent - before
    return total


def _cycle(net: Net, name: str, how: Block, blocked: float) -> None:
    def begin() -> None:
        net.block(name, how)
        net.after(nanoseconds(blocked), end)

    def end() -> None:
        net.unblock(name)
        net.after(nanoseconds(0.5), begin)

    begin()


def ratio(many: int, few: int) -> str:
    """How many times fewer."""
    if not few:
        return f"> {many}" if many else "-"
    return f"{many / few:.3g}"


def comparison(plan: Plan, seed: int) -> str:
    """Plain SWIM beside Lifeguard, for each setting."""
    rows = [("setting", "FP", "with L.", "fewer by", "FP-", "with L.", "fewer by", "msgs", "with L.")]
    cases = [(how, slow, blocked, 0.0) for how in (Block.DEAF,) for slow in plan.slow for blocked in plan.blocked]
    cases.append((Block.STOPPED, plan.slow[-1], 16.0, 0.0))
    cases += [(Block.DEAF, 0, 1.0, loss) for loss in plan.losses]
    for how, slow, blocked, loss in cases:
        name = f"{slow:2} {how.value} for {blocked:g} s" if slow else f" none slow, {loss:.0%} loss"
        progress(f"false positives: {name}")
        swim, lifeguard = (alarms(options, how, slow, blocked, plan.runs, seed, loss) for options in (PLAIN, LIFEGUARD))
        share = 1 / (N * 120 * plan.runs)
        rows.append(
            (
                name,
                str(swim.dead),
                str(lifeguard.dead),
                ratio(swim.dead, lifeguard.dead),
                str(swim.dead_at_healthy),
                str(lifeguard.dead_at_healthy),
                ratio(swim.dead_at_healthy, lifeguard.dead_at_healthy),
                f"{swim.sent * share:.1f}",
                f"{lifeguard.sent * share:.1f}",
            )
        )
    return grid(rows)


def ablation(plan: Plan, seed: int) -> str:
    """Each part of Lifeguard alone."""
    rows = [("4 deaf for 16 s", "suspicions", "FP", "% of SWIM", "FP-", "% of SWIM", "msgs")]
    base = Alarms()
    for name, options in VARIANTS.items():
        progress(f"false positives: {name}")
        found = alarms(options, Block.DEAF, 4, 16.0, plan.runs, seed, 0.0)
        base = found if options is PLAIN else base
        rows.append(
            (
                name,
                str(found.suspected),
                str(found.dead),
                f"{100 * found.dead / base.dead:.2f}",
                str(found.dead_at_healthy),
                f"{100 * found.dead_at_healthy / base.dead_at_healthy:.2f}",
                f"{found.sent / (N * 120 * plan.runs):.1f}",
            )
        )
    return grid(rows)
