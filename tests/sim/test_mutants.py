"""Planted bugs: that they are found, by general checkers, and what the command says of them."""

from __future__ import annotations

import json

import pytest

from casty_proto.machine import SECOND
from casty_proto.raft import Raft
from casty_sim.__main__ import main
from casty_sim.mutants import Mutant, MutantsError, hunt, load
from casty_sim.scenario import Settings
from casty_sim.scenarios.raft import RaftScenario

from .mutants import MUTANTS

# What takes longer is for `python -m casty_sim mutants`. Where a bug breaks two rules, either may be noticed first.
QUICK = {
    "VoteForAnyLog": "leader completeness",
    "VoteTwice": "one vote a term",
    "PreVoteCounts": "a majority elects",
    "StaleReadIndex": "reads are new",
    "CommitEarlierTerms": "only its own term",
    "CommitWhatWasSent": "committed is on a majority",
    "AnswerAtOnce": "durability",
    "NoBackUp": "liveness",
    "ChangeTooEarly": "a change waits",
    "TwoChangesAtOnce": "configuration safety",
    "LeaseWithoutPromise": "a lease is kept",
    "ExecuteTwice": "at-most-once",
    "SnapshotOfLater": "state machine safety",
    "LeaseWithoutEnd": "single owner",
    "GivesUnreleased": "single owner; at most once",
    "LeaseFromReceipt": "single owner; epochs rise",
    "AcceptsStaleEpochs": "copies obey the latest owner",
    "ConfersWithNobody": "conferring",
    "HandsOverNoStates": "hand-over",
    "HandlesTwice": "at most once",
    "NamesAreTakenOver": "names; liveness",
    "TellsTwice": "order of events",
}

IN_APPLICATIONS = {
    "AppLeaseWithoutEnd": "single owner",
    "AppHandlesTwice": "at most once",
    "ShipsBeforeHandlersEnd": "hand-over",
    "AnswersBeforeDurable": "durability",
    "AsksAgainBlindly": "at most once, or not handled",
    "KeepsWhatItRefused": "at most once",
}


def test_there_are_many_and_each_says_what_it_does_wrong_and_where_that_is_known_from() -> None:
    assert len(MUTANTS) >= 30
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    for mutant in MUTANTS:
        assert len(mutant.bug) > 10, mutant.name
        assert len(mutant.source) > 4, mutant.name


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_bug_is_caught_by_the_checker_of_the_rule_that_it_breaks(name: str) -> None:
    mutant = next(each for each in MUTANTS if each.name == name)
    found = hunt(mutant, Settings(), seeds=300)
    assert found.rule in QUICK[name].split("; "), found.problem
    assert found.seeds == found.seed + 1


@pytest.mark.parametrize("name", IN_APPLICATIONS)
def test_a_planted_bug_is_caught_in_a_whole_application(name: str) -> None:
    mutant = next(each for each in MUTANTS if each.name == name)
    found = hunt(mutant, Settings(nodes=3), seeds=20)
    assert found.rule in IN_APPLICATIONS[name].split(", or "), found.problem


def test_the_machine_itself_gets_through_the_seeds_that_catch_them() -> None:
    found = hunt(Mutant("none", "nothing at all", "nowhere", RaftScenario(Raft)), Settings(), seeds=60)
    assert not found.caught, found.problem
    assert found.seeds == 60


def test_how_the_seeds_are_spread_does_not_change_which_one_catches() -> None:
    mutant = next(each for each in MUTANTS if each.name == "VoteTwice")
    assert hunt(mutant, Settings(), seeds=40, jobs=2).seed == hunt(mutant, Settings(), seeds=40).seed


def test_the_command_prints_each_and_says_whether_all_were_caught(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mutants", "--only", "AnswerAtOnce", "--seeds", "20", "--jobs", "1"]) == 0
    out = capsys.readouterr().out
    assert "caught by durability, seed 0" in out
    assert "1 of 1 caught" in out
    assert main(["mutants", "--only", "ForgetVote", "--seeds", "1", "--jobs", "1"]) == 1
    assert "NOT CAUGHT in 1 seeds" in capsys.readouterr().out
    assert main(["mutants", "--only", "AnswerAtOnce", "--seeds", "20", "--jobs", "1", "--json"]) == 0
    (content,) = json.loads(capsys.readouterr().out)
    assert (content["caught"], content["rule"], content["seeds"]) == (True, "durability", 1)


def test_a_module_without_mutants_is_told_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MutantsError, match="--module"):
        load("json")
    assert main(["mutants", "--module", "no.such.module"]) == 2
    assert "no.such.module" in capsys.readouterr().err


class Stuck(Raft):
    """Never comes back from a call."""

    __slots__ = ()

    def deadline(self) -> int | None:
        while self.term:
            pass
        return super().deadline()


def test_a_machine_that_never_returns_is_found_and_does_not_stop_the_campaign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casty_sim.campaign.HANG_SECONDS", 0.2)
    found = hunt(Mutant("Stuck", "never returns", "nowhere", RaftScenario(Stuck)), Settings(safety_ns=SECOND), seeds=1)
    assert found.rule == "no hangs"
