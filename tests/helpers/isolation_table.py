"""The table of docs/isolation.md, made from the tests: `python3 tests/helpers/isolation_table.py` writes it anew."""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from helpers.hostile import ATTACKS, LEVELS  # noqa: E402

PAGE = ROOT / "docs/isolation.md"
BEGIN, END = "<!-- the table: tests/helpers/isolation_table.py -->\n", "<!-- its end -->\n"
HOSTILE = "tests/runner/test_hostile.py"

# What has a test of its own: (what it tries, levels that stop it, levels that do not, its test).
OTHERS = [
    ("leaves daemons behind: in other sessions, forked twice, deaf to signals", ("docker", "bubblewrap", "process"), (), f"{HOSTILE}::test_nothing_is_left"),
    ("ignores the request to stop", ("docker", "bubblewrap", "process"), (), f"{HOSTILE}::test_whoever_ignores_the_request_to_stop_is_killed"),
    ("prints a gigabyte in one line", ("bubblewrap",), (), f"{HOSTILE}::test_the_log_of_a_gigabyte"),
    ("fills the disk with files that have no name", ("bubblewrap",), (), "tests/runner/test_run_limits.py::test_a_disk_that_fills_with_nameless_files"),
    ("takes all processor time (with `--cpu-limit`)", ("bubblewrap",), (), "tests/runner/test_run_limits.py::test_the_processors"),
    ("takes memory or processes without end where there are no control groups", ("bubblewrap",), (), "tests/runner/test_run_limits.py::test_without_control_groups"),
    ("goes on when its agent is killed", ("bubblewrap", "process"), (), "tests/runner/test_run_limits.py::test_what_a_killed_agent_left"),
    ("uses system calls that lead out: mounts, namespaces, keys, bpf, io_uring, …", ("bubblewrap",), (), "tests/unit/test_seccomp.c::test_group"),
    ("claims jobs, mints tokens, changes settings, touches other stacks with the run's token", ("docker", "bubblewrap", "process"), (),
     "tests/runner/test_run_token.py::test_while_it_runs"),
    ("leaves an archive of dependencies with links, devices, pipes, set-user-id, `..` or absolute names for a later run", ("bubblewrap", "process"), (),
     "tests/runner/test_cache_archives.py::test_what_is_hostile_is_not"),
    ("leaves an archive that is a bomb, cut or noise", ("bubblewrap", "process"), (), "tests/runner/test_cache_archives.py::test_what_is_damaged_is_not_restored"),
    ("reaches a cloud's metadata, or the host's loopback and addresses (networks `isolated` and `none`)", ("bubblewrap",), (),
     "tests/runner/test_network.py::test_a_network_and_what_it_reaches"),
    ("changes its routes, opens raw sockets, talks to the host's abstract sockets (the same)", ("bubblewrap",), (),
     "tests/runner/test_network.py::test_a_run_has_no_power_over_its_network"),
    ("reaches what another run listens on (the same)", ("bubblewrap",), (), "tests/runner/test_network.py::test_two_runs_do_not_meet"),
    ("reaches what its pool's allow list does not name (network `none`)", ("bubblewrap",), (), "tests/runner/test_network.py::test_an_allow_list"),
    ("uses the run's token after the end", ("docker", "bubblewrap", "process"), (), "tests/runner/test_run_token.py::test_after_its_end"),
]


def cell(level, stopped, open):
    return "stopped" if level in stopped else "**not stopped**" if level in open else ""


def rows():
    for a in ATTACKS:
        yield a.says, a.stopped, a.open, f"`test_hostile.py` {a.name}"
    for says, stopped, open, test in OTHERS:
        file, name = test.split("::")
        yield says, stopped, open, f"`{Path(file).name}` {name}"


def table() -> str:
    lines = [f"| a program that | {' | '.join(LEVELS)} | test |", f"|---|{'---|' * len(LEVELS)}---|"]
    lines += [f"| {says} | {' | '.join(cell(level, stopped, open) for level in LEVELS)} | {test} |" for says, stopped, open, test in rows()]
    return "\n".join(lines) + "\n"


def written() -> str:
    """What the page has between the marks."""
    return PAGE.read_text().split(BEGIN)[1].split(END)[0]


def missing() -> list:
    """Tests of OTHERS that are not there."""
    def has(test):
        file, name = test.split("::")
        return (ROOT / file).exists() and re.search(rf"\b{name}\(", (ROOT / file).read_text())

    return [test for *_, test in OTHERS if not has(test)]


if __name__ == "__main__":
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.split(END)[1])
