"""Available memory: the machine's, or what the cgroup of a container leaves."""

from pathlib import Path

import pytest

from ml_assets.config.memory import available_memory

GB = 1_000_000_000
MACHINE = {"proc/meminfo": "MemTotal: 99999999 kB\nMemAvailable: 20000000 kB\n"}


def system(root: Path, files: dict[str, str]) -> Path:
    for name, text in {**MACHINE, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_without_a_limit_it_is_what_the_machine_can_free(tmp_path):
    files = {"proc/self/cgroup": "0::/user\n", "sys/fs/cgroup/user/memory.max": "max\n"}
    assert available_memory(system(tmp_path, files)) == 20_000_000 * 1024


@pytest.mark.parametrize("path", ["/", "/docker/0123"])
def test_a_container_with_cgroup_2_has_its_limit(tmp_path, path):
    """The path is the host's where the container has no namespace of groups of its own."""
    files = {
        "proc/self/cgroup": f"0::{path}\n",
        "sys/fs/cgroup/memory.max": f"{4 * GB}\n",
        "sys/fs/cgroup/memory.current": f"{3 * GB}\n",
        "sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {GB}\n",
    }
    assert available_memory(system(tmp_path, files)) == 2 * GB


def test_the_limit_of_a_parent_group_counts(tmp_path):
    files = {
        "proc/self/cgroup": "0::/slice/run\n",
        "sys/fs/cgroup/slice/run/memory.max": f"{8 * GB}\n",
        "sys/fs/cgroup/slice/run/memory.current": "0\n",
        "sys/fs/cgroup/slice/memory.max": f"{2 * GB}\n",
        "sys/fs/cgroup/slice/memory.current": f"{GB}\n",
    }
    assert available_memory(system(tmp_path, files)) == GB


@pytest.mark.parametrize(("limit", "expected"), [(2 * GB, GB), (2**63 - 4096, 20_000_000 * 1024)])
def test_cgroup_1_has_a_limit_or_a_huge_number(tmp_path, limit, expected):
    top = "sys/fs/cgroup/memory/job"
    files = {
        "proc/self/cgroup": "3:cpu,cpuacct:/job\n2:memory:/job\n",
        f"{top}/memory.limit_in_bytes": f"{limit}\n",
        f"{top}/memory.usage_in_bytes": f"{3 * GB // 2}\n",
        f"{top}/memory.stat": f"total_inactive_file {GB // 2}\n",
    }
    assert available_memory(system(tmp_path, files)) == expected


def test_a_system_without_these_files_has_none(tmp_path):
    assert available_memory(tmp_path) is None
