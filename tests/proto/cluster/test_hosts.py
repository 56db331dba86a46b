"""Hosted regions: only members whose program has them can hold anything of them. Rules 10, 16, 19 and 21."""

from __future__ import annotations

from casty_proto.cluster import (
    AlreadySo,
    Applied,
    Assign,
    ControlState,
    DropNames,
    Gift,
    HostsChanged,
    Join,
    MemberRestarted,
    Refused,
    RegionAdded,
    RegionKind,
    RegionSettings,
    RegisterRegion,
)

from .kit import Server, node


def hosted(by: str, name: str = "accounts") -> RegisterRegion:
    return RegisterRegion(name, RegionKind.ENTITIES, RegionSettings(num_shards=2, hosted=True), by)


def hosts(server: Server, name: str = "accounts") -> list[str]:
    found = server.state.region(name)
    assert found is not None
    return sorted(found.hosts)


def test_rule_10_a_hosted_region_is_given_only_to_members_that_have_registered_it() -> None:
    server = Server("a", "b")
    assert server.apply(hosted("a.1")) == Applied((RegionAdded("accounts"), HostsChanged("accounts", "a.1", True)))
    index = server.index
    outcome = server.apply(Assign((Gift("accounts", "b.1", ((0, index),)),)))
    assert outcome == Refused("b.1 cannot own shards of 'accounts': it has not registered it")
    assert server.apply(hosted("b.1")) == Applied((HostsChanged("accounts", "b.1", True),))
    assert type(server.apply(Assign((Gift("accounts", "b.1", ((0, index),)),)))) is Applied
    assert hosts(server) == ["a.1", "b.1"]


def test_rule_19_who_hosts_a_region_already_changes_nothing_by_saying_so_again() -> None:
    server = Server("a")
    server.apply(hosted("a.1"))
    assert server.apply(hosted("a.1")) == AlreadySo()
    assert type(server.apply(hosted("nobody.1"))) is Refused


def test_rule_10_a_process_that_started_again_hosts_what_it_has_registered_since() -> None:
    server = Server("a", "b")
    server.apply(hosted("a.1"))
    server.apply(hosted("a.1", "clocks"))
    before = server.index
    changes = server.changes(DropNames("a.1", before))
    assert changes == (MemberRestarted(server.member("a.1")), HostsChanged("accounts", "a.1", False))
    assert (hosts(server), hosts(server, "clocks")) == ([], ["a.1"])
    assert server.apply(hosted("a.1")) == Applied((HostsChanged("accounts", "a.1", True),))
    assert server.apply(DropNames("a.1", before)) == AlreadySo()


def test_rule_10_who_is_no_member_any_more_hosts_nothing() -> None:
    server = Server("a", "b")
    server.apply(hosted("b.1"))
    outcome = server.apply(Join(node("b", 2)))
    assert type(outcome) is Applied
    assert HostsChanged("accounts", "b.1", False) in outcome.changes
    assert hosts(server) == []


def test_rule_16_hosts_are_part_of_a_snapshot() -> None:
    server = Server("a", "b")
    for by in ("b.1", "a.1"):
        server.apply(hosted(by))
    copy = ControlState.decode(server.state.encode())
    found = copy.region("accounts")
    assert found is not None
    assert found.hosts == {"a.1": 4, "b.1": 3}


def test_rule_21_the_peak_of_a_hosted_region_counts_its_hosts() -> None:
    server = Server("a", "b", "c")
    server.apply(hosted("a.1"))
    assert peak(server) == 1
    server.apply(hosted("c.1"))
    assert peak(server) == 2


def peak(server: Server) -> int:
    found = server.state.region("accounts")
    assert found is not None
    return found.peak
