"""Quorum arithmetic against published vectors and against brute force."""

from __future__ import annotations

from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_proto.raft.quorum import UNBOUNDED, Outcome, committed, joint_committed, joint_outcome, majority, outcome

MAJORITY = """
()          -                     infinity
1           _                     0
1           12                    12
1,2         _,_                   0
1,2         12,_                  0
1,2         12,5                  5
1,2,3       _,_,_                 0
1,2,3       12,_,_                0
1,2,3       12,5,_                5
1,2,3       12,5,6                6
1,2,3       12,5,4                5
1,2,3       5,5,_                 5
1,2,3       5,5,12                5
1,2,3       100,101,103           101
1,2,3,4,5   101,104,103,103,_     103
1,2,3,4,5   101,102,103,103,_     102
"""

JOINT = """
1,2,3   -       1:100,2:101,3:99                  100
1       2       -                                 0
1       2       1:100                             0
1       2       1:13,2:100                        13
1       1       1:100                             100
1,3     2       1:100                             0
1,3     2       1:100,2:50                        0
1,3     2       1:100,3:45,2:50                   45
1,2     2       1:100                             0
1,2     2       2:100                             0
1,2     2       1:50,2:100                        50
1,2     2       1:100,2:50                        50
1,2     3,4     1:50,2:48,3:49                    0
1,2     3,4     1:50,2:48,3:49,4:47               47
1,2     2,3     2:100,3:99                        0
1,2     2,3     1:101,2:100,3:99                  99
1,2     1,2     2:40                              0
1,2     1,2     1:41,2:40                         40
1,2,3   4,5,6   1:100,4:90                        0
1,2,3   4,5,6   2:99,3:90,4:97,5:95               90
1,2,3   4,5,6   1:92,2:99,3:90,4:97,5:95          92
1,2,3   4,5,6   1:92,2:99,3:90,4:97,5:95,6:77     92
1,2,3   1,4,5   1:100,2:101,3:100                 0
1,2,3   1,4,5   2:100,4:99,5:98                   0
1,2,3   1,4,5   2:100,3:99,4:99,5:98              98
1,2,3   1,4,5   1:1,2:100,3:99,4:99,5:98          98
1,2,3   1,4,5   1:100,2:100,3:99,4:99,5:98        99
1,2,3   2,3,4   2:100,3:99                        99
1,2,3   2,3,4   1:98,2:100,3:99                   99
1,2,3   2,3,4   1:100,2:100,3:99,4:98             99
1,2,3   2,3,4   1:100,4:101                       0
1,2,3   2,3,4   1:100,2:99,4:101                  99
1,2,3   1,2,3   1:50,2:45                         45
"""

VOTES = """
-           -               -       W
1           -               _P nL yW
4,8         -               __P n_L y_P nyL yyW
2,4,7       -               ___P n__P y__P nn_L yn_P yy_W yynW nynL
1,2,3,4,5,6,7 -             yyny___P _yy_nynP yyyny_nW yy_nynnP yynynnnL
1           2               __P y_P yyW ynL n_L nnL nyL
1,2         3,4             ____P y___P yy__P yyn_L yynnL yyynL yyyyW
1,2         2,3             ___P _n_L yy_P yynL yyyW
1,2         1,2             __P y_P ynL n_L nnL
1,2,3       2,3,4           ____P _n__P _nn_L _yy_W yy__P yyn_P yynnL yynyW
"""


def rows(table: str) -> list[list[str]]:
    return [line.split() for line in table.strip().splitlines()]


def names(text: str) -> tuple[str, ...]:
    return () if text in ("-", "()") else tuple(text.split(","))


def acks(text: str) -> dict[str, int]:
    return {} if text == "-" else {name: int(index) for name, index in (item.split(":") for item in text.split(","))}


@pytest.mark.parametrize(("voters", "indexes", "expected"), rows(MAJORITY))
def test_vectors_0_1_the_highest_index_on_a_majority_is_committed(voters: str, indexes: str, expected: str) -> None:
    given_acks = {
        name: int(index) for name, index in zip(names(voters), indexes.split(","), strict=False) if index != "_"
    }
    result = committed(names(voters), given_acks)
    assert result == (UNBOUNDED if expected == "infinity" else int(expected))
    assert joint_committed([names(voters), ()], given_acks) == result
    assert joint_committed([names(voters), names(voters)], given_acks) == result


@pytest.mark.parametrize(("old", "new", "indexes", "expected"), rows(JOINT))
def test_vectors_0_2_two_groups_commit_what_both_have(old: str, new: str, indexes: str, expected: str) -> None:
    assert joint_committed([names(old), names(new)], acks(indexes)) == int(expected)
    assert joint_committed([names(new), names(old)], acks(indexes)) == int(expected)


@pytest.mark.parametrize(
    ("old", "new", "votes", "expected"),
    [
        (row[0], row[1], case[:-1].strip("-"), case[-1])
        for row in rows(VOTES)
        for case in (["-W"] if row[2] == "-" else row[2:])
    ],
)
def test_vectors_0_3_an_election_is_won_lost_or_pending(old: str, new: str, votes: str, expected: str) -> None:
    voters = sorted(dict.fromkeys(names(old) + names(new)))
    cast = {name: vote == "y" for name, vote in zip(voters, votes, strict=True) if vote != "_"}
    letters = {Outcome.WON: "W", Outcome.LOST: "L", Outcome.PENDING: "P"}
    assert letters[joint_outcome([names(old), names(new)], cast)] == expected
    if new == "-":
        assert letters[outcome(names(old), cast)] == expected


@pytest.mark.parametrize(("voters", "tolerated"), [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (7, 3)])
def test_section_o_how_many_failures_a_cluster_tolerates(voters: int, tolerated: int) -> None:
    assert voters - majority(voters) == tolerated


IDS = [f"n{number}" for number in range(1, 8)]
groups = st.lists(st.sampled_from(IDS), max_size=7, unique=True).map(tuple)
indexes = st.dictionaries(st.sampled_from(IDS), st.integers(0, 12))


def brute_committed(voters: tuple[str, ...], acknowledged: dict[str, int]) -> int:
    """Try every index: is there a majority that has it?"""
    if not voters:
        return UNBOUNDED
    return max(
        index
        for index in range(13)
        if any(
            all(acknowledged.get(name, 0) >= index for name in group)
            for group in combinations(voters, len(voters) // 2 + 1)
        )
    )


@given(groups, indexes)
def test_committed_is_what_some_majority_has_by_brute_force(voters: tuple[str, ...], acked: dict[str, int]) -> None:
    assert committed(voters, acked) == brute_committed(voters, acked)


@given(groups, groups, indexes, st.sampled_from(IDS))
def test_vectors_0_2_more_acknowledgements_never_lower_the_result(
    old: tuple[str, ...], new: tuple[str, ...], acked: dict[str, int], name: str
) -> None:
    before = joint_committed([old, new], acked)
    assert joint_committed([old, new], {**acked, name: acked.get(name, 0) + 3}) >= before
    lowered = {peer: min(index, before) for peer, index in acked.items()}
    assert joint_committed([old, new], lowered) == before


def brute_outcome(voters: tuple[str, ...], votes: dict[str, bool]) -> Outcome:
    """Complete the votes in every way: is it won in all of them, or in none?"""
    missing = [name for name in voters if name not in votes]
    results = []
    for guess in product([True, False], repeat=len(missing)):
        full = {**votes, **dict(zip(missing, guess, strict=True))}
        results.append(not voters or sum(full[name] for name in voters) > len(voters) / 2)
    if all(results):
        return Outcome.WON
    return Outcome.PENDING if any(results) else Outcome.LOST


@given(groups, st.dictionaries(st.sampled_from(IDS), st.booleans()))
def test_an_election_is_decided_when_no_missing_vote_can_change_it(
    voters: tuple[str, ...], votes: dict[str, bool]
) -> None:
    assert outcome(voters, votes) is brute_outcome(voters, votes)
