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


@pytest.mark.parametrize(("loss", "mean", "worst"), [(0.0, 2.85, 5), (0.25, 3.5, 8)])
def test_section_4_rounds_until_ten_members_have_the_news(loss: float, mean: float, worst: int) -> None:
    """Fan-out 3, limit 4 * ceil(log10(N + 1)). Pings carry the news as well, so the mean is a bound from above."""
    rounds = []
    for seed in range(12):
        bench = Bench(seed, watched=False)
        bench.grow(10)
        bench.run_until(bench.converged, 30)
        bench.run(10 + seed / 9)
        bench.loss = loss
        bench.feed("n7", UpdatePayload(b"news"))
        took = bench.run_until(lambda b=bench: all(b.view(n)["n7"].payload == b"news" for n in b.hosts), 5)  # type: ignore[misc]
        rounds.append(took / 0.2)
    assert sum(rounds) / len(rounds) <= mean + 0.5
    assert max(rounds) <= worst + 1
