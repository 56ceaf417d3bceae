"""Hostile programs in each level of isolation: helpers/hostile.py has the table of attacks, docs/isolation.md what came of it."""
import os
import signal
import time
from pathlib import Path

import pytest
from helpers import hostile
from helpers.hostile import ATTACKS, WON
from helpers.waiting import wait_until

STOPPED = [pytest.param(level, a, id=f"{level}-{a.name}") for level in hostile.LEVELS for a in ATTACKS if level in a.stopped]
OPEN = [pytest.param(level, a, id=f"{level}-{a.name}") for level in hostile.LEVELS for a in ATTACKS if level in a.open]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory, request):
    made = {}

    def host(level):
        if level not in made:
            engine = request.getfixturevalue("engine") if level == "docker" else None
            made[level] = hostile.Host(tmp_path_factory.mktemp(f"host-{level}"), level, engine)
        return made[level]

    yield host
    for one in made.values():
        one.close()


@pytest.fixture
def host(hosts, bubblewrap, request):
    return hosts(request.param)


levels = pytest.mark.parametrize("host", list(hostile.LEVELS), indirect=True)


def run(host, attack):
    other = host.with_another_run() if attack.name == "other-runs" else None
    status, log = host.attack(attack.script)
    if other:
        host.site.api.ok("POST", f"/api/stacks/{other[0]}/deployments/{other[1]}/cancel")
    return status, log, attack.evidence(host) in log


@pytest.mark.parametrize("host, attack", STOPPED, indirect=["host"])
def test_stopped(host, attack):
    status, log, succeeded = run(host, attack)
    assert not succeeded, log[-3000:]
    assert status == "failed"
    assert host.level == "docker" or (attack.told or "") in log, log[-3000:]  # an engine says little of why
    assert not [f for f in host.folders if (f / "written").exists()]
    wait_until(lambda: not list((host.work / "jobs").glob("*/tree/f1")) and not list((host.work / "jobs").glob("*/tree/d")), 20, "its files to be removed")


@pytest.mark.parametrize("host, attack", OPEN, indirect=["host"])
def test_not_stopped(host, attack):
    """What the level does not claim; and the attack is one."""
    _, log, succeeded = run(host, attack)
    assert succeeded, log[-3000:]
    for folder in [*host.folders, host.work]:
        (folder / "written").unlink(missing_ok=True)


@levels
def test_nothing_is_left(host):
    """Daemons: another session, forked twice, deaf to every signal but one."""
    word = f"9{os.getpid()}{time.monotonic_ns() % 10**6}"
    host.attack(f"""
        setsid sleep {word} & (setsid nohup sleep {word} >/dev/null 2>&1 &)
        python3 - {word} <<'END'
import os, signal, time
for s in range(1, 65):
    try: signal.signal(s, signal.SIG_IGN)
    except (OSError, ValueError): pass
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: time.sleep(1000)
    os._exit(0)
END
        sleep 0.3""")
    assert not host.left(word)
    wait_until(lambda: not hostile.groups_of(host.instance), 10, "its control group to be gone")


@pytest.mark.long
@levels
def test_whoever_ignores_the_request_to_stop_is_killed(host):
    word = f"8{os.getpid()}{time.monotonic_ns() % 10**6}"
    stack, id = host.deploy(f"""trap '' INT TERM HUP; echo deaf | rev
        while true; do sleep {word}; done""")
    wait_until(lambda: "faed" in host.site.api.log(stack, id), 60, "the command")
    host.site.api.ok("POST", f"/api/stacks/{stack}/deployments/{id}/cancel")
    assert host.site.api.wait_status(stack, id, timeout=60)["status"] == "failed"
    assert "SIGKILL" in host.site.api.log(stack, id)
    wait_until(lambda: not host.left(word), 5, "its processes to be gone")


@pytest.mark.parametrize("host", ["bubblewrap"], indirect=True)  # no level has a part in it
def test_the_log_of_a_gigabyte(host):
    """Whole up to its limit, then a line that says so; and neither the agent nor the server has kept it in memory."""
    def anonymous(pid):
        return next(int(line.split()[1]) // 1024 for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("RssAnon"))

    pids = [host.agent.pid, host.site.server.pid]
    before = [anonymous(pid) for pid in pids]
    most = [0, 0]
    stack, id = host.deploy("head -c 1000000000 /dev/zero | tr '\\0' x", "exit 1")
    while host.site.api.deployment(stack, id)["status"] not in ("failed", "succeeded"):
        most = [max(a, anonymous(pid)) for a, pid in zip(most, pids)]
        time.sleep(0.1)
    log = host.site.api.log(stack, id)
    assert log.count("x" * 1000) >= hostile.LOG_MIB * 1024 * 1024 // 1000 - 100
    assert f"reached its limit of {hostile.LOG_MIB} MiB: further output is not kept" in log
    # The sanitizer keeps what was freed for a while, 256 MiB at most.
    assert all(b < a + 450 for a, b in zip(before, most)), (before, most)


@pytest.mark.parametrize("host", ["bubblewrap"], indirect=True)
def test_the_first_step_says_the_limits(host):
    _, log = host.attack("true")
    setup = log.split("== Setup\n")[1].split("\n== ")[0]
    for words in (f"memory {hostile.MEMORY_MIB} MiB (", f"processes {hostile.PIDS} (", "cpu unlimited", f"disk {hostile.DISK_MIB} MiB (watched)"):
        assert words in setup, setup
    agent, = host.site.api.get(f"/api/orgs/acme/agent-pools/{host.site.pool['id']}")["agents"]
    assert agent["isolation"].startswith(f"bubblewrap; memory {hostile.MEMORY_MIB} MiB"), agent
    assert "limits of a run: memory" in host.agent.stderr()
