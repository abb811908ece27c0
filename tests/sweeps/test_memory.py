"""How much memory is said to be free."""

from __future__ import annotations

import pytest

from lehr.sweeps.memory import free_memory, in_words


@pytest.fixture
def machine(tmp_path):
    """A machine of 8 GB free, with files that say more; asked by the process in /a/b."""

    def free(cgroup="0::/a/b\n", **files):
        proc, groups = tmp_path / "proc", tmp_path / "groups"
        (proc / "self").mkdir(parents=True)
        (proc / "meminfo").write_text("MemTotal: 9000000 kB\nMemFree: 1 kB\nMemAvailable: 8000000 kB\n")
        (proc / "self" / "cgroup").write_text(cgroup)
        for name, text in files.items():
            path = groups / name.replace("__", "/").replace("--", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return free_memory(proc, groups)

    return free


def test_without_limits_it_is_what_the_machine_has(machine):
    assert machine(**{"a__b__memory--max": "max\n", "a__b__memory--current": "5000000000\n"}) == 8_192_000_000


def test_a_limit_counts_on_whatever_group_around_the_process_it_is(machine):
    files = {"a__b__memory--max": "6000000000", "a__b__memory--current": "1000000000",
             "a__memory--max": "5000000000", "a__memory--current": "4000000000"}  # fmt: skip
    assert machine(**files) == 1_000_000_000


def test_files_that_are_held_are_given_back(machine):
    files = {"a__b__memory--max": "6000000000", "a__b__memory--current": "6500000000",
             "a__b__memory--stat": "anon 3000000000\ninactive_file 2500000000\n"}  # fmt: skip
    assert machine(**files) == 2_000_000_000


def test_limits_of_the_first_version_count_too_from_within_a_container(machine):
    files = {"memory__memory--limit_in_bytes": "3000000000", "memory__memory--usage_in_bytes": "3100000000"}
    assert machine("4:memory:/docker/x\n1:cpu:/y\n", **files) == 0  # and no less


def test_sizes_are_said_in_words():
    assert [in_words(size) for size in (1, 8_400_000, 999_400_000, 12_340_000_000)] == [
        "1 MB", "8 MB", "999 MB", "12.3 GB",
    ]  # fmt: skip
