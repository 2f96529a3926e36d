"""The engine that the other tests use has control groups v1; those of v2 are tested here, on texts in the format that
the kernel documents (admin-guide/cgroup-v2.rst), and Podman's statistics on texts in the shape that its source gives.
Some that were captured are in test_collector_captured.py.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import MalformedError
from services.collector.cgroups import (
    GroupFiles,
    effective_limit,
    group_files,
    memory_in_use,
    parse_amount,
    parse_cpu_stat_ns,
    parse_groups,
    parse_inactive_v1,
    parse_inactive_v2,
    parse_io_v1,
    parse_io_v2,
    parse_limit,
    parse_total_bytes,
    parse_traffic,
)
from services.collector.rates import UsageCounters
from services.collector.stats import read_stats

ID = "297bbdeef0fc0dc9866af27093c517451d902e024357b4f4ab877ff3e84ebdc7"
OUTER = "c" * 64
GIB = 1024**3

PARSERS: list[Callable[[bytes], object]] = [
    parse_amount,
    parse_cpu_stat_ns,
    parse_inactive_v1,
    parse_inactive_v2,
    parse_io_v1,
    parse_io_v2,
    parse_limit,
    parse_total_bytes,
    parse_traffic,
]


@pytest.mark.parametrize(
    ("path", "whole"),
    [
        pytest.param(f"/docker/{ID}", f"/docker/{ID}", id="cgroupfs"),
        pytest.param(f"/system.slice/docker-{ID}.scope", f"/system.slice/docker-{ID}.scope", id="systemd"),
        pytest.param(f"/shop/web/{ID}", f"/shop/web/{ID}", id="custom parent"),
        pytest.param(f"/shop.slice/docker-{ID}.scope", f"/shop.slice/docker-{ID}.scope", id="custom slice"),
        pytest.param(f"/docker/{ID}/init.scope", f"/docker/{ID}", id="systemd inside"),
        pytest.param(
            f"/machine.slice/libpod-{ID}.scope/container", f"/machine.slice/libpod-{ID}.scope", id="podman with crun"
        ),
        pytest.param(
            f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope",
            f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope",
            id="podman rootless",
        ),
        pytest.param(f"/docker/{OUTER}/docker/{ID}", f"/docker/{OUTER}/docker/{ID}", id="nested"),
    ],
)
def test_a_group_ends_at_the_component_that_has_the_containers_id(path: str, whole: str) -> None:
    assert parse_groups(f"0::{path}\n", ID) == {"": whole}
    assert parse_groups(f"5:cpu,cpuacct:{path}\n4:memory:{path}\n", ID) == {
        "cpu": whole,
        "cpuacct": whole,
        "memory": whole,
    }


def test_the_outer_container_of_a_nested_engine_has_its_own_group() -> None:
    assert parse_groups(f"0::/docker/{OUTER}/docker/{ID}\n", OUTER) == {"": f"/docker/{OUTER}"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("0::/\n", id="own cgroup namespace"),
        pytest.param(f"0::/../{ID}\n", id="another cgroup namespace"),
        pytest.param(f"0::/docker/{OUTER}\n", id="another container"),
        pytest.param(f"0::/docker/{ID[:12]}\n", id="short id"),
        pytest.param(f"3:cpuacct:/docker/{ID}\n2:memory:/../docker/{ID}\n", id="one goes up"),
        pytest.param("9:name=systemd:/init.scope\n4:memory:/user.slice\n0::/user.slice\n", id="a process of the host"),
        pytest.param("", id="nothing"),
    ],
)
def test_where_no_path_has_the_id_or_one_goes_up_the_files_cannot_be_used(text: str) -> None:
    assert parse_groups(text, ID) is None


@pytest.mark.parametrize("text", ["docker\n", "1:memory\n", f"x:memory:/docker/{ID}\n", f"1:memory:docker/{ID}\n"])
def test_what_is_no_list_of_groups_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError, match="no control group"):
        parse_groups(text, ID)


def paths(files: GroupFiles | None) -> list[str]:
    assert files is not None
    return [file.path if file else "" for file in files]


def test_v1_has_a_folder_for_each_controller() -> None:
    groups = dict.fromkeys(("cpu", "cpuacct", "memory", "pids", "blkio", "name=systemd", ""), f"/docker/{ID}")
    assert paths(group_files(groups, "unified")) == [
        f"cpuacct/docker/{ID}/cpuacct.usage",
        f"memory/docker/{ID}/memory.usage_in_bytes",
        f"memory/docker/{ID}/memory.stat",
        f"memory/docker/{ID}/memory.limit_in_bytes",
        f"pids/docker/{ID}/pids.current",
        f"blkio/docker/{ID}/blkio.throttle.io_service_bytes",
    ]


def test_v2_has_one_folder_for_all_of_them() -> None:
    assert paths(group_files({"": f"/system.slice/docker-{ID}.scope"}, "")) == [
        f"system.slice/docker-{ID}.scope/{name}"
        for name in ("cpu.stat", "memory.current", "memory.stat", "memory.max", "pids.current", "io.stat")
    ]


def test_in_a_hybrid_a_controller_that_is_not_in_v1_is_in_v2() -> None:
    groups = {"cpuacct": f"/docker/{ID}", "pids": f"/docker/{ID}", "": f"/docker/{ID}"}
    cpu, memory, *_, pids, io = paths(group_files(groups, "unified"))
    assert cpu == f"cpuacct/docker/{ID}/cpuacct.usage"
    assert memory == f"unified/docker/{ID}/memory.current"
    assert pids == f"pids/docker/{ID}/pids.current"
    assert io == f"unified/docker/{ID}/io.stat"


def test_without_a_controller_the_rest_is_still_known_but_without_the_cpus_nothing_is() -> None:
    assert paths(group_files({"cpuacct": f"/docker/{ID}"}, "unified"))[1:] == [""] * 5
    assert group_files({"memory": f"/docker/{ID}"}, "unified") is None


def test_amounts_are_read() -> None:
    assert parse_amount(b"19450964\n") == 19_450_964
    assert parse_cpu_stat_ns(b"usage_usec 120034\nuser_usec 100000\nsystem_usec 20034\nnr_periods 0\n") == 120_034_000
    assert parse_cpu_stat_ns(b"user_usec 1\nusage_usec 2\n") == 2000
    assert parse_total_bytes(b"MemTotal:       24684092 kB\nMemFree:        23446820 kB\n") == 24_684_092 * 1024


def test_inactive_files_are_those_of_the_groups_below_too() -> None:
    v1 = b"cache 258048\ninactive_file 12288\nactive_file 1\ntotal_inactive_anon 7\ntotal_inactive_file 45056\n"
    assert parse_inactive_v1(v1) == 45_056
    assert parse_inactive_v2(b"anon 2\nfile 9\ninactive_anon 3\nactive_file 5\ninactive_file 4\n") == 4


def test_memory_in_use_is_without_inactive_files_if_there_is_more_than_those() -> None:
    assert memory_in_use(100, 30) == 70
    assert memory_in_use(100, 100) == 100
    assert memory_in_use(100, 130) == 100


@pytest.mark.parametrize("unlimited", [b"max\n", b"9223372036854771712\n", b"18446744073709551615\n"])
def test_without_a_limit_the_hosts_memory_is_the_limit(unlimited: bytes) -> None:
    assert parse_limit(unlimited) is None
    assert effective_limit(parse_limit(unlimited), 8 * GIB) == 8 * GIB
    assert effective_limit(parse_limit(unlimited), None) is None


def test_a_limit_above_the_hosts_memory_is_none() -> None:
    limit = parse_limit(b"2147483648\n")
    assert effective_limit(limit, 8 * GIB) == 2 * GIB
    assert effective_limit(limit, GIB) == GIB
    assert effective_limit(limit, None) == 2 * GIB


def test_io_is_the_sum_over_the_devices() -> None:
    v1 = b"8:0 Read 4096\n8:0 Write 512\n8:0 Sync 4608\n8:0 Total 4608\n8:16 Read 1\n8:16 Write 2\nTotal 4611\n"
    assert parse_io_v1(v1) == (4097, 514)
    assert parse_io_v1(b"Total 0\n") == (0, 0)
    v2 = b"8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n8:0 rbytes=90430464 wbytes=299008000"
    assert parse_io_v2(v2 + b" rios=8950 wios=1252 dbytes=50331648 dios=3021\n7:0\n") == (91_889_664, 613_781_504)
    assert parse_io_v2(b"") == (0, 0)


HEADINGS = b"Inter-|   Receive       |  Transmit\n face |bytes    packets errs ...\n"


def test_traffic_is_the_sum_over_the_interfaces_but_the_loopback() -> None:
    lines = b"    lo: 900 9 0 0 0 0 0 0 900 9 0 0 0 0 0 0\n  eth0: 1086 9 0 0 0 0 0 0 42 1 0 0 0 0 0 0\n"
    assert parse_traffic(HEADINGS + lines + b"lo:1:1000 9 0 0 0 0 0 0 8 1 0 0 0 0 0 0\n") == (2086, 50)
    assert parse_traffic(HEADINGS) == (0, 0)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_amount, b""),
        (parse_amount, b"-1\n"),
        (parse_amount, b"18446744073709551616\n"),
        (parse_amount, b"9" * 5000),
        (parse_limit, b"none\n"),
        (parse_cpu_stat_ns, b"xusage_usec 5\n"),
        (parse_cpu_stat_ns, b"usage_usec\n"),
        (parse_inactive_v1, b"inactive_file 5\n"),
        (parse_inactive_v2, b"total_inactive_file 5\n"),
        (parse_io_v1, b"8:0 Read lots\n"),
        (parse_io_v1, b"8:0 Read\n"),
        (parse_io_v2, b"8:0 rbytes= wbytes=1\n"),
        (parse_traffic, HEADINGS + b"eth0 1 2 3\n"),
        (parse_traffic, HEADINGS + b"eth0: 1 2 3\n"),
        (parse_total_bytes, b"MemTotal: much\n"),
    ],
    ids=lambda value: value[:20].decode().strip() if isinstance(value, bytes) else value.__name__,
)
def test_what_the_kernel_does_not_write_is_malformed(parse: Callable[[bytes], object], text: bytes) -> None:
    with pytest.raises(MalformedError):
        parse(text)


near_misses = st.lists(
    st.one_of(
        st.binary(max_size=12),
        st.sampled_from(
            [b"max", b"usage_usec ", b"total_inactive_file ", b"8:0 Read ", b"rbytes=", b"MemTotal:", b"-1"]
        ),
        st.sampled_from([b"\n", b" ", b":", b"8:0", b"9" * 30, b"7", b"wbytes=1", b"eth0: 1 2 3 4 5 6 7 8 9 "]),
    )
).map(b"".join)


@pytest.mark.parametrize("parse", PARSERS, ids=[parse.__name__ for parse in PARSERS])
@given(text=near_misses)
def test_nothing_but_malformed_is_raised_whatever_a_file_says(parse: Callable[[bytes], object], text: bytes) -> None:
    with suppress(MalformedError):
        parse(text)


@given(st.lists(st.sampled_from(["0:", ":", "/", "..", ID, "memory", "\n", "cpuacct,cpu", "\udc80", "\0", "1"])))
def test_nothing_but_malformed_is_raised_whatever_a_list_of_groups_says(words: list[str]) -> None:
    try:
        groups = parse_groups("".join(words), ID)
    except MalformedError:
        return
    for path in (groups or {}).values():
        assert ID in path.rpartition("/")[2]
        assert "/../" not in path


# The engine's statistics


def docker_stats(**changes: Any) -> dict[str, Any]:
    return {
        "read": "2026-11-23T22:59:06.471148139Z",
        "pids_stats": {"current": 3, "limit": 18446744073709551615},
        "blkio_stats": {
            "io_service_bytes_recursive": [
                {"major": 8, "minor": 0, "op": "Read", "value": 4096},
                {"major": 8, "minor": 0, "op": "Write", "value": 512},
                {"major": 8, "minor": 0, "op": "Total", "value": 4608},
                {"major": 8, "minor": 16, "op": "Read", "value": 4},
            ]
        },
        "cpu_stats": {"cpu_usage": {"total_usage": 19450964, "percpu_usage": [1, 2]}, "online_cpus": 4},
        "memory_stats": {
            "usage": 585728,
            "limit": 25276510208,
            "stats": {"inactive_file": 1, "total_inactive_file": 12288},
        },
        "networks": {"eth0": {"rx_bytes": 1086, "tx_bytes": 5}, "eth1": {"rx_bytes": 14, "tx_bytes": 0}},
    } | changes


def test_dockers_statistics_of_v1_are_read() -> None:
    stats = read_stats(docker_stats(), 7.0, host_network=False)
    assert stats == (UsageCounters(7.0, 19450964, 573_440, 25276510208, (1100, 5), (4100, 512), 3), 4)


def test_dockers_statistics_of_v2_are_read() -> None:
    entries = [{"op": "read", "value": 90}, {"op": "write", "value": 9}]
    stats = read_stats(
        docker_stats(
            blkio_stats={"io_service_bytes_recursive": entries},
            cpu_stats={"cpu_usage": {"total_usage": 5}, "online_cpus": 8},
            memory_stats={"usage": 100, "limit": 1000, "stats": {"file": 50, "inactive_file": 40}},
        ),
        1.0,
        host_network=False,
    )
    assert stats == (UsageCounters(1.0, 5, 60, 1000, (1100, 5), (90, 9), 3), 8)


def test_podmans_statistics_are_read_as_far_as_they_go() -> None:
    entries = [{"op": op, "value": value} for op, value in [("read", 1), ("write", 2), ("rios", 3), ("wios", 4)]]
    stats = read_stats(
        docker_stats(
            read="2026-11-23T23:59:06.471148139+01:00",
            blkio_stats={"io_service_bytes_recursive": entries, "io_serviced_recursive": None},
            cpu_stats={"cpu_usage": {"total_usage": 5}, "cpu": 42.8, "online_cpus": 2},
            memory_stats={"usage": 100, "max_usage": 200, "limit": 18446744073709551615},
        ),
        1.0,
        host_network=False,
    )
    assert stats == (UsageCounters(1.0, 5, 100, None, (1100, 5), (1, 2), 3), 2)


def test_what_the_engine_does_not_say_is_unknown() -> None:
    stats = read_stats({"read": "2026-11-23T22:59:06Z", "cpu_stats": {}, "networks": None}, 1.0, host_network=False)
    assert stats == (UsageCounters(1.0), None)


def test_traffic_on_the_hosts_network_is_not_the_containers() -> None:
    stats = read_stats(docker_stats(), 1.0, host_network=True)
    assert stats is not None
    assert stats.counters.traffic is None


def test_docker_answers_for_a_container_that_does_not_run_with_no_reading() -> None:
    stopped = docker_stats(read="0001-01-01T00:00:00Z", pids_stats={}, memory_stats={}, networks=None)
    assert read_stats(stopped, 1.0, host_network=False) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"cpu_stats": []},
        {"cpu_stats": {"cpu_usage": {"total_usage": -1}}},
        {"memory_stats": {"usage": "much"}},
        {"networks": {"eth0": 5}},
        {"blkio_stats": {"io_service_bytes_recursive": [5]}},
        {"blkio_stats": {"io_service_bytes_recursive": {}}},
        {"pids_stats": {"current": 2.5}},
    ],
    ids=str,
)
def test_statistics_of_another_shape_are_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        read_stats(docker_stats(**changes), 1.0, host_network=False)


plain = st.sampled_from([None, True, 5, -1, 2**64, 0.5, float("nan"), "5", [], {}, ["read"], {"value": 1}])
inner = st.dictionaries(st.sampled_from(["cpu_usage", "usage", "stats", "current", "rx_bytes", "online_cpus"]), plain)
entries = st.lists(
    st.dictionaries(st.sampled_from(["op", "value"]), st.sampled_from(["read", 7, -1, None])), max_size=2
)
anything = st.one_of(
    plain,
    inner,
    st.fixed_dictionaries({"cpu_usage": st.one_of(plain, inner)}),
    st.fixed_dictionaries({"eth0": st.one_of(plain, inner)}),
    st.fixed_dictionaries({"io_service_bytes_recursive": st.one_of(plain, entries)}),
)


@given(st.dictionaries(st.sampled_from([*docker_stats()]), anything))
def test_nothing_but_malformed_is_raised_whatever_an_engine_answers(changes: dict[str, Any]) -> None:
    with suppress(MalformedError):
        read_stats(docker_stats(**changes), 1.0, host_network=False)
