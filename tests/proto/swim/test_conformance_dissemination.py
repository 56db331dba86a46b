"""The published numbers of dissemination, of whole machines: how often news is told, and how soon all have it."""

from __future__ import annotations

import pytest

from casty_proto.swim import Gossip, Ping, Send, SwimOptions, UpdatePayload

from .bench import Bench
from .script import Script, alive


@pytest.mark.parametrize(
    ("multiplier", "n", "expected"),
    [(3, 5, 3), (3, 99, 6), (4, 2, 4), (4, 9, 4), (4, 10, 8), (4, 99, 8), (4, 100, 12), (2, 100, 6)],
)
def test_section_2_swim_4_1_news_is_told_lambda_log_n_times(multiplier: int, n: int, expected: int) -> None:
    """Counted in all messages that carry it; memberlist's vectors of lambda * ceil(log10(n + 1))."""
    names = [f"n{number}" for number in range(n - 1)]
    script = Script(*names, options=SwimOptions(retransmit_mult=multiplier))
    news = alive("n0", 1)
    script.hear(news, source="n0")
    effects = script.advance(8)
    messages = [effect.message for effect in effects if isinstance(effect, Send)]
    carriers = [message for message in messages if news in message.updates]
    assert len(carriers) == expected
    assert all(isinstance(message, Gossip | Ping) for message in carriers)


@pytest.mark.parametrize(
    ("n", "loss", "mean", "worst"), [(10, 0.0, 2.85, 5), (10, 0.25, 3.5, 8), (100, 0.0, 5.67, 7), (100, 0.25, 7.0, 9)]
)
def test_section_4_rounds_until_all_members_have_the_news(n: int, loss: float, mean: float, worst: int) -> None:
    """Fan-out 3, limit 4 * ceil(log10(N + 1)). Pings carry the news as well, so the mean is a bound from above."""
    bench = Bench(3, watched=False)
    names = bench.grow(n)
    bench.run_until(bench.converged, 30)
    rounds = []
    for item in range(12):
        bench.loss = 0.0
        bench.run(5 + item / 9)
        bench.loss = loss
        speaker, news = names[(7 * item) % n], bytes([item])
        bench.feed(speaker, UpdatePayload(news))
        members = [bench.hosts[name].machine._core.members for name in names]
        took = bench.run_until(lambda: all(known[speaker].payload == news for known in members), 200)  # noqa: B023
        rounds.append(took / 0.2)
    spread = [took for took in rounds if took <= worst + 1]
    assert sum(spread) / len(spread) <= mean + 0.5
    assert len(rounds) - len(spread) <= (1 if loss else 0), (
        "a run in which somebody was missed until states were compared"
    )
