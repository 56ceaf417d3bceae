"""A run and those around it: cancelled at any moment, out of time, its agent stopped or killed, its executor killed, its
server restarted, the network between them gone. Whatever happens: it ends once, nothing of it is left, its stack can be used."""
import os
import re
import shutil
import signal
import socket
import threading
import time
from types import SimpleNamespace

import pytest
from helpers import process, programs, where
from helpers.api import path_of
from helpers.network import Wire
from helpers.waiting import wait_until

LEVELS = ["process", "bubblewrap"]


class Site:
    """A server alone, one administrator, one pool."""

    def __init__(self, own, clock, *options):
        self.server = own(*options, command="serve", clock=clock)
        self.server.admin("org", "add", "acme")
        self.api = self.server.user("operator", role="admin")
        self.pool = self.api.post("/api/orgs/acme/agent-pools", {"name": "builders"})
        self.token = self.pool["tokenValue"]

    def stack(self, name, url, *commands, skip=True, **settings):
        self.api.create_stack(name)
        context = {"preRunCommands": list(commands), "options": {"skipInstallDependencies": skip}}
        self.api.settings(name, {"agentPoolID": self.pool["id"], "operationContext": context,
                                 "sourceContext": {"git": {"repoUrl": url, "branch": "main"}}, **settings})
        return name

    def commands(self, stack, *commands):
        """Other pre-run commands from now on."""
        self.api.settings(stack, {"operationContext": {"preRunCommands": list(commands)}})

    def cancel(self, stack, id):
        self.api.ok("POST", f"{path_of(stack)}/deployments/{id}/cancel")

    def wait_log(self, stack, id, text, timeout=60):
        return wait_until(lambda: text in self.api.log(stack, id), timeout, f"{text!r} in the log")

    def again(self, own, *options):
        """A new server in the place of the old one, which has ended."""
        self.server = own(*options, command="serve", folder=self.server.folder, listen=f"127.0.0.1:{self.server.port}", clock=self.server.clock)


@pytest.fixture
def site(own, clock):
    return Site(own, clock)


@pytest.fixture
def wire():
    wires = []

    def make(server):
        wires.append(Wire(server.port))
        return wires[-1]

    yield make
    for one in wires:
        one.close()


def jobs_of(agent):
    return agent.log.parent / "work/jobs"


def left_of(agent, mark="") -> list:
    """Folders of jobs, processes that name them or carry the mark, and mounts."""
    jobs = jobs_of(agent)
    folders = [str(f) for f in jobs.iterdir()] if jobs.exists() else []
    mounts = [line for line in open("/proc/self/mounts") if str(jobs) in line]
    return folders + mounts + running(mark) + process.left_in(jobs)


def running(mark) -> list:
    return [line for _, line, _ in process.table().values() if mark and mark in line]


def sleeper() -> str:
    """A command of its own that sleeps for ever, to be found in the table of processes."""
    sleeper.n = getattr(sleeper, "n", 0) + 1
    return f"sleep 9{os.getpid()}{sleeper.n}"


def works_at_once(site, stack):
    """The stack takes a deployment, which succeeds: no lock, no lease, no update is in its way."""
    done, _ = site.api.run(stack, "update")
    assert done["status"] == "succeeded"
    assert not site.api.get(f"{path_of(stack)}/export")["deployment"].get("pending_operations")


# ---- cancel --------------------------------------------------------------------------------------------------------
def test_cancel_of_a_claim(site, agent, stack, repo, project):
    """Claimed, and nobody has its order yet."""
    repo.commit(programs.stash(project))
    site.stack(stack, repo.url)
    made = site.api.deploy(stack, "update")
    claim = site.server.api(site.token).get("/api/deployments/poll")
    assert site.api.deployment(stack, made["id"])["status"] == "accepted"
    site.cancel(stack, made["id"])
    assert site.api.deployment(stack, made["id"])["status"] == "failed"
    assert site.server.api(claim["jobToken"]).call("GET", f"/api/runner/{made['id']}/order?attempt=1").status_code == 401
    agent(site.server, site.token)
    works_at_once(site, stack)


def test_cancel_of_a_claim_that_is_given_back(site, agent, stack, repo, project):
    """Its runner leaves before it has begun: it ends, and does not wait in the queue with the cancel forgotten."""
    repo.commit(programs.stash(project))
    site.stack(stack, repo.url)
    made = site.api.deploy(stack, "update")
    headers = {"Slipway-Agent-Instance": "0198c2a4-0000-7000-8000-000000000001", "Slipway-Agent-Life": "0198c2a4-0000-7000-8000-000000000002"}
    pool = site.server.api(site.token)
    claim = pool.get("/api/deployments/poll", headers=headers)
    site.server.api(claim["jobToken"]).get(f"/api/runner/{made['id']}/order?attempt=1")
    site.cancel(stack, made["id"])
    assert site.api.deployment(stack, made["id"])["status"] == "accepted"
    pool.ok("POST", "/api/runner/leave", headers=headers)
    assert site.api.deployment(stack, made["id"])["status"] == "failed"
    assert pool.call("GET", "/api/deployments/poll").status_code == 204


def hung_git():
    """A git server that never answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}/x.git"


def slow_pulumi(folder, real):
    """The tools, with a pulumi that hesitates before it is the real one."""
    folder.mkdir(mode=0o755)
    for tool in real.iterdir():
        (folder / ("pulumi-real" if tool.name == "pulumi" else tool.name)).hardlink_to(tool.resolve())
    (folder / "pulumi").write_text("#!/bin/sh\n[ \"$1\" = version ] || { echo here-we-are; sleep 5; }\nexec \"${0%/*}/pulumi-real\" \"$@\"\n")
    (folder / "pulumi").chmod(0o755)
    return folder


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("moment", ["Get source", "a pre-run command", "Download dependencies", "pulumi, before its update"])
def test_cancel_at(site, agent, stack, repo, project, tmp_path, level, moment):
    options, listener, url, commands, files, skip = [], None, repo.url, [], programs.stash(project), True
    step = moment
    if moment == "Get source":
        listener, url = hung_git()
    elif moment == "a pre-run command":
        step, commands = "Pre-run command 1", ["echo here-we-are; sleep 120", "touch never"]
    elif moment == "Download dependencies":
        skip, files = False, {**programs.node(project, ""), "package.json": '{"name": "x", "version": "1.0.0", "scripts": {"preinstall": "echo here-we-are; sleep 120"}}'}
    else:
        step, options = "pulumi update", ["--tools", slow_pulumi(tmp_path / "tools", where.tools())]
    repo.commit(files)
    site.stack(stack, url, *commands, skip=skip)
    runner = agent(site.server, site.token, *options, isolation=level)
    made = site.api.deploy(stack, "update")
    if listener:
        listener.accept()
    else:
        wait_until(lambda: "here-we-are" in site.api.log(stack, made["id"]).replace("echo here-we-are", ""), 60, "the step")
    began = time.monotonic()
    site.cancel(stack, made["id"])
    done = site.api.wait_status(stack, made["id"], "failed", timeout=30)
    assert time.monotonic() - began < 10 and done["message"] == "cancelled by operator"
    steps = {s["name"]: s["status"] for s in done["jobs"][0]["steps"]}
    assert steps[step] == "failed", steps
    if step != "pulumi update":
        assert steps.get("pulumi update", "not-started") == "not-started"
    wait_until(lambda: not left_of(runner), 5, "nothing to be left")
    # At once, with a program that needs none of what was cancelled.
    repo.commit({**programs.stash(project), "package.json": "{}"})
    site.api.settings(stack, {"operationContext": {"preRunCommands": [], "options": {"skipInstallDependencies": True}},
                              "sourceContext": {"git": {"repoUrl": repo.url, "branch": "main"}}})
    works_at_once(site, stack)


STUBBORN = """#!/bin/sh
trap "" INT TERM HUP
setsid {sleeper} >/dev/null 2>&1 &
echo here-we-are
{sleeper} &
while :; do sleep 1; done
"""


@pytest.mark.parametrize("level", LEVELS)
def test_the_ladder(site, agent, stack, repo, project, level):
    """What ignores SIGINT and SIGTERM is killed, with a daemon in a session of its own and all that was started."""
    mark = sleeper()
    repo.commit({**programs.stash(project), "stubborn": STUBBORN.format(sleeper=mark)})
    site.stack(stack, repo.url, "exec sh ./stubborn")
    runner = agent(site.server, site.token, "--cancel-patience", "3s", isolation=level)
    made = site.api.deploy(stack, "update")
    site.wait_log(stack, made["id"], "here-we-are\n")
    wait_until(lambda: len(running(mark)) >= 2, 10, "the daemons")
    site.cancel(stack, made["id"])
    site.api.wait_status(stack, made["id"], "failed", timeout=20)
    log = site.api.log(stack, made["id"])
    words = ["Cancelling: asking the command to stop (SIGINT).", "The command still runs: SIGTERM.", "The command still runs: SIGKILL."]
    assert [line for line in log.splitlines() if line in words] == words, log
    wait_until(lambda: not left_of(runner, mark), 5, "nothing to be left")
    site.commands(stack)
    works_at_once(site, stack)


def slow_stack(site, stack, repo, project, started, seconds=300, **settings):
    repo.commit(programs.slow(project, seconds, started))
    return site.stack(stack, repo.url, f"ln -s {where.node_sdk()}/node_modules node_modules", **settings)


def pending_of(site, stack) -> list:
    state = site.api.get(f"{path_of(stack)}/export")["deployment"]
    return [p["resource"]["urn"].split("::")[-1] for p in state.get("pending_operations") or []]


def repaired(site, repo, stack, project):
    """The program without the slow resource: what was pending is dropped by a refresh, then it goes on."""
    repo.commit(programs.node(project, 'new Thing("quick", { value: "quick" });'))
    done, log = site.api.run(stack, "update")
    assert done["status"] == "succeeded", log


def test_a_pulumi_that_does_not_end_in_time(site, agent, stack, repo, project, tmp_path):
    """Its update is closed by the server, what was being made is recorded as pending, and the stack can be used at once."""
    started = tmp_path / "started"
    slow_stack(site, stack, repo, project, started)
    runner = agent(site.server, site.token, "--cancel-patience", "1s")
    made = site.api.deploy(stack, "update")
    wait_until(started.exists, 90, "the slow resource", interval=0.1)
    site.cancel(stack, made["id"])
    site.api.wait_status(stack, made["id"], "failed", timeout=20)
    update, = site.api.get(f"{path_of(stack)}/deployments/{made['id']}/updates")
    assert update["result"] == "failed"
    assert pending_of(site, stack) == ["slow"]
    wait_until(lambda: not left_of(runner), 5, "nothing to be left")
    repaired(site, repo, stack, project)


# ---- out of time ---------------------------------------------------------------------------------------------------
def test_out_of_time(own, clock, agent, stack, repo, project, tmp_path):
    """The server says so by a heartbeat."""
    site = Site(own, clock, "--deployment-timeout", "8m")
    started = tmp_path / "started"
    slow_stack(site, stack, repo, project, started)
    runner = agent(site.server, site.token, "--cancel-patience", "1s")
    made = site.api.deploy(stack, "update")
    wait_until(started.exists, 90, "the slow resource", interval=0.1)
    clock.advance(8 * 60 + 5)  # less than a silent runner has
    done = site.api.wait_status(stack, made["id"], "failed", timeout=30)
    assert done["message"] == "the time limit of 8 min is over"
    log = site.api.log(stack, made["id"])
    assert "asking the command to stop (SIGINT)" in log and pending_of(site, stack) == ["slow"]
    wait_until(lambda: not left_of(runner), 5, "nothing to be left")
    repaired(site, repo, stack, project)


def test_out_of_time_alone(own, clock, agent, wire, stack, repo, project):
    """An agent whose server is away finds it by itself."""
    site = Site(own, clock, "--deployment-timeout", "4s")
    line, mark = wire(site.server), sleeper()
    repo.commit(programs.stash(project))
    site.stack(stack, repo.url, f"echo here-we-are; {mark}")
    runner = agent(SimpleNamespace(url=line.url), site.token, "--cancel-patience", "1s")
    made = site.api.deploy(stack, "update")
    wait_until(lambda: running(mark), 60, "the command")
    line.swallow()
    wait_until(lambda: not running(mark), 20, "its end")
    assert site.api.deployment(stack, made["id"])["status"] == "running"
    line.heal()
    done = site.api.wait_status(stack, made["id"], "failed", timeout=60)
    assert "time limit" in done["message"]
    wait_until(lambda: not left_of(runner, mark), 10, "nothing to be left")


# ---- the agent stops -----------------------------------------------------------------------------------------------
def test_a_stop_drains(site, agent, stack, repo, project):
    """What runs may go on; nothing new is claimed."""
    repo.commit(programs.stash(project))
    site.stack(stack, repo.url, "echo here-we-are; sleep 2")
    later = site.stack(stack + "-later", repo.url)
    runner = agent(site.server, site.token, "--grace", "60s")
    made = site.api.deploy(stack, "update")
    site.wait_log(stack, made["id"], "here-we-are\n")
    waiting = site.api.deploy(later, "update")
    runner.stop(timeout=60, expect=0)
    assert site.api.deployment(stack, made["id"])["status"] == "succeeded"
    assert site.api.deployment(later, waiting["id"])["status"] == "not-started"
    assert not left_of(runner)


def test_a_stop_that_cannot_wait_longer(site, agent, stack, repo, project, tmp_path):
    started = tmp_path / "started"
    slow_stack(site, stack, repo, project, started)
    runner = agent(site.server, site.token, "--grace", "1s", "--cancel-patience", "1s")
    made = site.api.deploy(stack, "update")
    wait_until(started.exists, 90, "the slow resource", interval=0.1)
    runner.stop(timeout=30, expect=0)
    done = site.api.deployment(stack, made["id"])
    assert (done["status"], done["message"]) == ("failed", "the runner was stopped while the deployment ran")
    assert pending_of(site, stack) == ["slow"] and not left_of(runner)


class Deaf(Wire):
    """Requests that hold these words reach nobody."""

    def __init__(self, port, words):
        super().__init__(port)
        self.words, self.heard = words, threading.Event()

    def passes(self, data):
        if self.words in data:
            self.heard.set()
            return False
        return True


@pytest.mark.parametrize("words", [b"/order?", b"/steps"])
def test_a_stop_hands_back_what_has_not_begun(site, agent, stack, repo, project, words):
    """Claimed, but its order or its first step did not get through: back in the queue at once, and run once, by another."""
    wire = Deaf(site.server.port, words)
    repo.commit(programs.stash(project))
    site.stack(stack, repo.url, "echo counted")
    runner = agent(SimpleNamespace(url=wire.url), site.token, name="first")
    made = site.api.deploy(stack, "update")
    assert wire.heard.wait(30) and site.api.deployment(stack, made["id"])["status"] == "accepted"
    began = time.monotonic()
    runner.process.send_signal(signal.SIGTERM)
    wait_until(lambda: site.api.deployment(stack, made["id"])["status"] == "not-started", 10, "the queue")
    assert time.monotonic() - began < 5, "not by the time-out of a claim"
    agent(site.server, site.token, name="second")
    done = site.api.wait_status(stack, made["id"], "succeeded")
    log = site.api.log(stack, made["id"])
    assert "Runner second" in log and "Runner first" not in log and log.count("\ncounted\n") == 1
    runner.stop(timeout=30, expect=0)
    assert not left_of(runner)
    wire.close()


def test_a_stop_of_an_idle_agent_is_quick(site, agent):
    runner = agent(site.server, site.token, "--concurrency", "8")
    runner.wait_stderr("8 at once")
    began = time.monotonic()
    runner.stop(expect=0)
    assert time.monotonic() - began < 3


# ---- the agent, or the executor, is killed ---------------------------------------------------------------------------
DAEMONS = "setsid {0} & (env -i {0} &) ; echo here-we-are; {0}"


@pytest.mark.parametrize("level", LEVELS)
def test_an_agent_that_is_killed(site, agent, clock, stack, repo, project, level):
    """What it ran dies with it, before it is back; the deployment fails once, when its lease is over; the folder is empty again."""
    mark = sleeper()
    repo.commit(programs.stash(project))
    site.stack(stack, repo.url, DAEMONS.format(mark))
    runner = agent(site.server, site.token, isolation=level)
    made = site.api.deploy(stack, "update")
    site.wait_log(stack, made["id"], "here-we-are\n")
    wait_until(lambda: len(running(mark)) >= 3, 10, "the daemons")
    runner.kill(descendants=False)
    wait_until(lambda: not running(mark), 10, "what it ran to be gone")
    assert site.api.deployment(stack, made["id"])["status"] == "running"
    clock.advance(11 * 60)
    done = site.api.wait_status(stack, made["id"], "failed", timeout=20)
    assert "was not heard of" in done["message"]
    site.commands(stack)
    back = process.Agent(runner.log.parent, site.server, site.token, isolation=level)
    try:
        works_at_once(site, stack)
        wait_until(lambda: not left_of(back, mark), 5, "nothing to be left")
        assert site.api.deployment(stack, made["id"])["jobs"] == done["jobs"], "it did not run again"
    finally:
        back.stop()


def test_an_agent_and_its_executor_are_killed_at_once(site, agent, stack, repo, project):
    """Without a sandbox the daemons outlive both; the agent finds them when it is back, and the deployment ends at once."""
    mark = sleeper()
    repo.commit(programs.stash(project))
    site.stack(stack, repo.url, DAEMONS.format(mark))
    runner = agent(site.server, site.token)
    made = site.api.deploy(stack, "update")
    site.wait_log(stack, made["id"], "here-we-are\n")
    wait_until(lambda: len(running(mark)) >= 3, 10, "the daemons")
    executor, = runner.children()
    for pid in (runner.pid, executor):
        os.kill(pid, signal.SIGSTOP)
    for pid in (runner.pid, executor):
        os.kill(pid, signal.SIGKILL)
    runner.kill(descendants=False)
    assert len(running(mark)) >= 3
    site.commands(stack)
    back = process.Agent(runner.log.parent, site.server, site.token)
    try:
        back.wait_stderr("processes of an earlier life")
        assert not running(mark)
        done = site.api.wait_status(stack, made["id"], "failed", timeout=20)
        assert done["message"] == "the runner stopped in the middle and was started again"
        works_at_once(site, stack)
        wait_until(lambda: not left_of(back, mark), 5, "nothing to be left")
    finally:
        back.stop()


@pytest.mark.parametrize("level", LEVELS)
def test_an_executor_that_is_killed(site, agent, stack, repo, project, level):
    """The deployment fails and says why; what it ran is gone; the agent goes on."""
    mark = sleeper()
    repo.commit(programs.stash(project))
    site.stack(stack, repo.url, DAEMONS.format(mark))
    runner = agent(site.server, site.token, isolation=level)
    made = site.api.deploy(stack, "update")
    site.wait_log(stack, made["id"], "here-we-are\n")
    wait_until(lambda: len(running(mark)) >= 3, 10, "the daemons")
    executor = next(pid for pid, (_, line, _) in process.table().items() if pid in runner.descendants() and line.split()[0].endswith("slipway-executor"))
    os.kill(executor, signal.SIGKILL)
    done = site.api.wait_status(stack, made["id"], "failed", timeout=30)
    assert "the executor ended early" in done["message"], done["message"]
    wait_until(lambda: not left_of(runner, mark), 5, "nothing to be left")
    site.commands(stack)
    works_at_once(site, stack)


# ---- the server restarts ---------------------------------------------------------------------------------------------
COUNT = "i=0; while [ $i -lt {n} ]; do echo line-$i; i=$((i+1)); sleep {pause}; done"


def counted(log) -> list:
    return [int(n) for n in re.findall(r"^line-(\d+)$", log, re.MULTILINE)]


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_server_that_restarts(site, own, agent, stack, repo, project, how):
    """In the middle of a run: the agent goes on, the log has neither gap nor repeat, and the operation works as ever."""
    repo.commit(programs.stash(project))
    site.stack(stack, repo.url, COUNT.format(n=300, pause=0.01))
    agent(site.server, site.token)
    made = site.api.deploy(stack, "update")
    for at in ("line-20\n", "line-150\n"):
        site.wait_log(stack, made["id"], at)
        site.server.kill() if how == "killed" else site.server.stop()
        site.again(own)
    site.api.wait_status(stack, made["id"], "succeeded", timeout=60)
    assert counted(site.api.log(stack, made["id"])) == list(range(300))


def test_a_server_that_restarts_while_pulumi_runs(site, own, agent, stack, repo, project, tmp_path):
    """The CLI's own calls are as good as its retries: a short absence is nothing."""
    started = tmp_path / "started"
    slow_stack(site, stack, repo, project, started, seconds=4)
    agent(site.server, site.token)
    made = site.api.deploy(stack, "update")
    wait_until(started.exists, 90, "the slow resource", interval=0.1)
    site.server.kill()
    site.again(own)
    site.api.wait_status(stack, made["id"], "succeeded", timeout=60)
    state = site.api.get(f"{path_of(stack)}/export")["deployment"]
    assert {"quick", "slow"} <= {r["urn"].split("::")[-1] for r in state["resources"]} and not state.get("pending_operations")


@pytest.mark.long
def test_a_server_that_is_away_too_long_for_pulumi(site, own, agent, stack, repo, project, tmp_path):
    """It gives up: the run fails and says so, what was acknowledged is there, and the stack can be used at once."""
    started = tmp_path / "started"
    slow_stack(site, stack, repo, project, started, seconds=2)
    runner = agent(site.server, site.token)
    made = site.api.deploy(stack, "update")
    wait_until(started.exists, 90, "the slow resource", interval=0.1)
    site.server.kill()
    wait_until(lambda: not [line for pid, (_, line, _) in process.table().items() if pid in runner.descendants() and "pulumi up" in line],
               60, "the CLI to give up", interval=0.2)
    site.again(own)
    site.api.wait_status(stack, made["id"], "failed", timeout=60)
    log = site.api.log(stack, made["id"])
    assert "pulumi update failed" in log
    names = {r["urn"].split("::")[-1] for r in site.api.get(f"{path_of(stack)}/export")["deployment"]["resources"]}
    assert "quick" in names
    repaired(site, repo, stack, project)


# ---- the network is gone ---------------------------------------------------------------------------------------------
# Twelve megabytes: more than the memory holds. Says on the side when it is through.
MANY = "i=0; while [ $i -lt 12000 ]; do echo line-$i; echo {x}; i=$((i+1)); done; touch {done}; sleep 1; echo last"


@pytest.mark.parametrize("buffer", [64, 0])
def test_the_network_is_gone_for_five_minutes(site, agent, clock, wire, stack, repo, project, tmp_path, buffer):
    """The log waits on the disk and the program goes on; with no disk to wait on, the program waits. Nothing is lost."""
    line, through = wire(site.server), tmp_path / "through"
    gone, go = tmp_path / "gone", tmp_path / "go"
    repo.commit(programs.stash(project))
    site.stack(stack, repo.url, f"echo here-we-are; while [ ! -e {go} ]; do sleep 0.05; done; " + MANY.format(x="x" * 1000, done=through))
    runner = agent(SimpleNamespace(url=line.url), site.token, "--log-buffer", buffer)
    made = site.api.deploy(stack, "update")
    site.wait_log(stack, made["id"], "here-we-are\n")
    line.swallow()
    go.touch()
    clock.advance(5 * 60)
    if buffer:
        wait_until(through.exists, 60, "the program to end although nobody hears it")
        kept = [os.stat(f"/proc/{runner.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{runner.pid}/fd")
                if re.search(r"work/jobs/.*deleted", os.readlink(f"/proc/{runner.pid}/fd/{fd}"))]
        assert len(kept) == 1 and kept[0].st_size > 4_000_000 and kept[0].st_mode & 0o077 == 0
    else:
        time.sleep(3)
        assert not through.exists()
    assert site.api.deployment(stack, made["id"])["status"] == "running"
    line.heal()
    site.api.wait_status(stack, made["id"], "succeeded", timeout=90)
    log = site.api.log(stack, made["id"])
    assert counted(log) == list(range(12000)) and log.count("x" * 1000 + "\n") == 12000 and "\nlast\n" in log
    runner.stop()
    assert not left_of(runner)


def test_the_network_is_gone_for_longer_than_the_lease(own, clock, agent, wire, stack, repo, project, tmp_path):
    """The agent ends the run before the server may give the stack to somebody else: the two never meet."""
    site = Site(own, clock, "--runner-timeout", "8s")
    line, beat = wire(site.server), tmp_path / "beat"
    repo.commit(programs.stash(project))
    site.stack(stack, repo.url, f"echo here-we-are; trap '' INT TERM; while :; do date +%s%N >>{beat}; sleep 0.05; done")
    runner = agent(SimpleNamespace(url=line.url), site.token)
    made = site.api.deploy(stack, "update")
    site.wait_log(stack, made["id"], "here-we-are\n")
    line.swallow()
    site.commands(stack, "date +%s%N")
    later = site.api.deploy(stack, "update")
    agent(site.server, site.token, name="second")
    done = site.api.wait_status(stack, later["id"], "succeeded", timeout=60)
    first = site.api.deployment(stack, made["id"])
    assert first["status"] == "failed" and "was not heard of" in first["message"]
    began = int(re.search(r"^(\d{19})$", site.api.log(stack, later["id"]), re.MULTILINE).group(1))
    assert int(beat.read_text().split()[-1]) < began, "both ran at once"
    assert done["status"] == "succeeded"
    line.heal()
    wait_until(lambda: not left_of(runner), 30, "nothing to be left")
    runner.wait_stderr("could not be reported|lease is lost")


# ---- several at once ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("level", LEVELS)
def test_one_agent_runs_several(site, agent, repo, project, level):
    """Each with a folder of its own and, in a sandbox, a user and processes of its own."""
    repo.commit(programs.stash(project))
    stacks = [site.stack(f"acme/{project}/s{n}", repo.url, "echo user $(id -u) pid $$; echo where $PWD $(pwd -P); touch mine-$PULUMI_CI_STACK; sleep 2; ls")
              for n in range(4)]
    runner = agent(site.server, site.token, "--concurrency", "4", isolation=level)
    made = [(s, site.api.deploy(s, "update")["id"]) for s in stacks]
    wait_until(lambda: all(site.api.deployment(s, i)["status"] == "running" for s, i in made), 60, "all four to run")
    logs = []
    for s, i in made:
        site.api.wait_status(s, i, "succeeded")
        logs.append(site.api.log(s, i))
        assert re.findall(r"^mine-.*$", logs[-1], re.MULTILINE) == [f"mine-{s.split('/')[-1]}"], "its own tree"
    if level == "process":
        assert len({re.search(r"^where (\S+)", log, re.MULTILINE).group(1) for log in logs}) == 4
    wait_until(lambda: not left_of(runner), 5, "nothing to be left")
