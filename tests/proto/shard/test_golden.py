"""Shards and plans are what they always were. A change of any of these would move what clusters have in their places.

A cluster whose nodes have different versions has two plans when these vectors change; so they are frozen.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from casty_proto.shard import Member, Placement, Plan, Rendezvous, Ring, plan, shard_of, stable_hash

ROOT = Path(__file__).parents[3]

IDS = [
    *[f"user-{number}" for number in range(90)],
    *["", "a", " ", "/", "\u00e9", "e\u0301", "\u65e5\u672c\u8a9e", "\ud800", "\0", "x" * 1000],
]
SHARDS = """
9073 8584 11208 12597 11957 13777 13876 12441 1392 14870 9090 7004 13206 12188 12328 1237 166 12819
5411 3802 4666 6656 12815 6946 484 3547 8792 10348 4568 4229 4744 1335 8003 12683 7428 5875
13189 10161 5696 186 1772 5038 12198 12197 9766 9996 761 15975 1736 9654 6829 9222 11952 10410
732 4495 4162 6984 11008 8762 9110 15584 10742 124 11356 636 6121 12932 8327 13306 15239 10096
3815 3556 13779 1460 8796 3793 15111 5542 429 15457 13443 6963 3747 6158 10172 4280 13262 8474
12980 559 15170 7568 6447 4205 15176 3432 584 1559
"""
"""Of these, with 16384 shards."""

PLANS = {
    "a": """
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
""",
    "ab": """
abbbaabababbabaaababbbabaaabaabaabbaaaaaabbbaabbbbbbabbabaababba
baaabbababaababbbabaaababbbabbabbaabbbbbbaaabbaaaaaabaababbabaab
""",
    "abc": """
abbbaabababcacacacabbbabcaaccabacbcaaccaabbbcacccbbbcbbccacbabca
bacacbababcbcbbacbbcacbcabcbabcbaabbcaabcacaabbbbcccbccabcaacabc
ccacbcccccaabacbbacacacabcbabcacbcacbbbcbcacbcaaaaaaaaababbcbcab
""",
    "abd": """
abdbdabadabdabaadbdbbbabaaadaabadbbdaaddadbbdddbdbbdddbddadbabba
babaaddbbddbddbbaaadaabddddbdbabaaaadbaadbdaaabdbadbabdabdaddadd
ddadbbadabaabaddbdbadddabbbabdddbddbbdbbbaadbbaaadaabaababbabdab
""",
    "abcdefghij": """
eidhddbaeabdfcacjfggbbgijhagjgfajgjehgcdafbhjdchehieejffiidiahif
hbfbibjifihfiibhechiagfhcagecajbgegdacjehjeeeijccbjfihbcdajbdech
aghajcdhdgchajcaibdbdcibfdcdieijfbcgfafadgcfdadeifhghdheceffhfba
""",
    "abcdefgij": """
eidbdjbaeabgfcacjfggbbgijdagjgfajgjeagcdafbejdccebieejffiidiaiif
abfaiajificdiibaecdiagfbcbgecajbgegdfcjedjefeijecfjfidbcdajbdeca
jgjgjddfdgdfajcbibabdcigffcdieijfbcgiafajgcbdadbigggjgceceffcfbg
""",
}
"""By members, whose names have one letter: the owners of 64 shards in the first line, then the backups."""

WEIGHTED = """
cbcbbabacabcccccccbcccccbbaccacaccbccccaccbccacccbccccccbbbbbccb
acbcacccbccbabaaabcbbbabcccbbbbcbbcbaabbabcbacbbbcbbabbaccccabbc
baaacbababaababbbaaaaabaaabaacabaaaabbacbaaabbaaaaaabaabaaaacaaa
"""
"""For `a`, `b` and `c` with weights 1, 2 and 5."""

RENDEZVOUS = """
abcaeceefaeffecebaeefdafdbeddeedbcbaffbbbfefeafafbbbeedfeebabecf
ccfedaccdeaeaceaacafbfdacfacfbdbcbcdebaeecbaafeeadeaccfaffffccdd
"""
"""For `abcdef`, by the other strategy."""

HUNDRED = "56e501f94180422d5a7780cf7f04172f033ef29200281aee391da3aa027cd1a8"
"""SHA-256 of the table of 100 nodes, with the default number of shards and 3 replicas."""


def hundred() -> str:
    table = plan([Member(f"10.0.0.{number}:7000") for number in range(100)], replicas=3).table
    return hashlib.sha256(bytes(table)).hexdigest()


def members(names: str) -> list[Member]:
    return [Member(name) for name in names]


def lines(table: Plan) -> list[str]:
    homes = [table.homes(shard) for shard in range(table.num_shards)]
    return ["".join([names[place] for names in homes]) for place in range(table.copies)]


def test_the_hash_is_blake2b_of_8_bytes() -> None:
    assert stable_hash("abc") == stable_hash(b"abc") == 0xD8BB14D833D59559
    assert stable_hash("user-0") == 0x2BE37565257AA371
    assert stable_hash("\ud800") == stable_hash(b"\xed\xa0\x80")


def test_q2_a_hundred_entities_stay_in_their_shards() -> None:
    assert [shard_of(entity, 16384) for entity in IDS] == [int(number) for number in SHARDS.split()]


def test_an_entity_is_in_the_shard_that_its_hash_says_whatever_their_number() -> None:
    for shards in (1, 2, 3, 271, 16384, 65536):
        assert [shard_of(entity, shards) for entity in IDS] == [stable_hash(entity) % shards for entity in IDS]


@pytest.mark.parametrize("names", PLANS)
def test_q2_plans_stay_as_they_are(names: str) -> None:
    assert lines(plan(members(names), 64, 3)) == PLANS[names].split()


def test_q2_plans_with_weights_and_of_the_other_strategy_stay_as_they_are() -> None:
    weighted = [Member("a", 1), Member("b", 2), Member("c", 5)]
    assert lines(plan(weighted, 64, 3)) == WEIGHTED.split()
    assert lines(plan(members("abcdef"), 64, 2, placement=Rendezvous())) == RENDEZVOUS.split()


def test_q2_the_plan_of_a_hundred_nodes_stays_as_it_is() -> None:
    assert hundred() == HUNDRED


def test_q1_processes_that_hash_differently_compute_the_same() -> None:
    one, other = elsewhere(1), elsewhere(31337)
    assert one[:2] == other[:2] == [digest_of_entities(), HUNDRED]
    assert one[2] != other[2]


def elsewhere(hash_seed: int) -> list[str]:
    """What another process finds: two digests, and what its `hash` gives."""
    code = (
        "from tests.proto.shard.test_golden import digest_of_entities, hundred; import sys; "
        "sys.stdout.write(f'{digest_of_entities()} {hundred()} {hash(str(1))}')"
    )
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)
    return done.stdout.decode().split()


def digest_of_entities() -> str:
    """Of the owners of 100,000 entities on 10 nodes."""
    some = plan(members("abcdefghij"))
    owners = some.owners()
    found = [owners[shard_of(f"entity-{number}", some.num_shards)] or "" for number in range(100_000)]
    return hashlib.sha256("".join(found).encode()).hexdigest()


@pytest.mark.parametrize("placement", [Ring(), Rendezvous()], ids=repr)
def test_q1_the_order_of_members_does_not_matter(placement: Placement) -> None:
    assert plan(members("abcdefghij"), placement=placement) == plan(members("jihgfedcba"), placement=placement)
