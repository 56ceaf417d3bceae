"""Rows about runners: their memory, what they add to `pulumi up` itself, and many of them on one server."""
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from measure import anonymous_kib, cpu_seconds, row, say

from helpers import process, programs
from helpers.api import path_of
from helpers.git import Repository
from helpers.pulumi import Pulumi

AGENTS = int(os.environ.get("BENCH_AGENTS", "150"))
RUNS = int(os.environ.get("BENCH_AGENT_RUNS", "450"))
ROUNDS = int(os.environ.get("BENCH_UP_ROUNDS", "7"))
RESOURCES = 60
OUTPUT_MB = 200


class Site:
    def __init__(self, folder, name, *options):
        self.folder = folder / name
        self.server = process.Server(self.folder, *options, command="serve")
        self.server.admin("org", "add", "acme")
        self.server.admin("org", "set", "acme", "--limit", "10000")
        self.api = self.server.user("bench", role="admin")
        self.token = self.api.post("/api/orgs/acme/agent-pools", {"name": "bench"})["tokenValue"]
        self.repo = Repository(self.folder)

    def stack(self, name, *commands):
        self.api.create_stack(name)
        self.api.settings(name, {"sourceContext": {"git": {"repoUrl": self.repo.url, "branch": "main"}},
                                 "operationContext": {"preRunCommands": list(commands), "options": {"skipInstallDependencies": True}}})
        return name

    def agent(self, name, *options, level="process"):
        return process.Agent(self.folder / name, self.server, self.token, *options, name=name, isolation=level)


class Peak:
    """The largest RssAnon of a process, looked at every ten milliseconds."""

    def __init__(self, pid):
        self.pid, self.kib, self.over = pid, 0, threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()

    def _watch(self):
        while not self.over.wait(0.01):
            self.kib = max(self.kib, anonymous_kib(self.pid))

    def end(self):
        self.over.set()
        self.thread.join()
        return self.kib / 1024


def memory_rows(folder):
    """A busy one reads what a program prints as fast as it can, masks it and sends it on."""
    site = Site(folder, "runner-memory")
    site.repo.commit(programs.stash("memory"))
    agent = site.agent("busy", "--log-limit", 4 * OUTPUT_MB)
    agent.wait_stderr("polls")
    time.sleep(1)
    row("memory of an idle agent (RssAnon)", f"{anonymous_kib(agent.pid) / 1024:.1f} MB", "reach: 4 MB")
    stack = site.stack("acme/memory/dev", f"yes 'a line of a log, as programs print them, of some seventy letters or so' | head -c {OUTPUT_MB}000000")
    peak, began = Peak(agent.pid), time.perf_counter()
    site.api.wait_status(stack, site.api.deploy(stack, "update")["id"], "succeeded", timeout=600)
    row(f"… of a busy one, at most, while a run prints {OUTPUT_MB} MB", f"{peak.end():.1f} MB", "reach: 20 MB")
    row("… how long that took, with `pulumi up` behind it", f"{time.perf_counter() - began:.1f} s")
    time.sleep(1)
    row("… afterwards", f"{anonymous_kib(agent.pid) / 1024:.1f} MB")
    agent.stop()
    site.server.stop()


def step_seconds(deployment, name):
    step = next(s for s in deployment["jobs"][0]["steps"] if s["name"] == name)
    begin, end = (datetime.fromisoformat(step[k].replace("Z", "+00:00")) for k in ("started", "lastUpdated"))
    return (end - begin).total_seconds()


def up_rows(folder, level):
    """`pulumi up` by hand and in a run, in turns: the same program in a checkout of its own, the same server, a home that is new, first creates
    and then nothing to do. By hand it writes into a pipe, too."""
    site = Site(folder, f"runner-up-{level}")
    agent = site.agent("one", level=level)
    took = {("create", "hand"): [], ("create", "run"): [], ("no change", "hand"): [], ("no change", "run"): []}
    agent.wait_stderr("polls")
    busy, runs = cpu_seconds(agent.pid), 0
    for n in range(ROUNDS):
        files = programs.many(f"up{n}", RESOURCES)
        site.repo.commit(files)
        for where in ("hand", "run") if n % 2 else ("run", "hand"):
            name = f"acme/up{n}/{where}"
            if where == "run":
                site.stack(name)
            else:
                site.api.create_stack(name)
            for what in ("create", "no change"):
                if where == "run":
                    done, _ = site.api.run(name, "update", timeout=300)
                    runs += 1
                    took[what, where].append(step_seconds(done, "pulumi update"))
                else:
                    by_hand = Pulumi(site.folder, site.server.url, site.api.token, name=f"hand{n}-{what.replace(' ', '-')}")
                    site.repo.git("clone", "--quiet", site.repo.bare, by_hand.project)
                    by_hand.environment.update(CI="true", PULUMI_CI_SYSTEM="Pulumi Deployments")
                    began = time.perf_counter()
                    by_hand.run("up", "--yes", "--skip-preview", "--stack", name, "--color=always")
                    took[what, where].append(time.perf_counter() - began)
    for what in ("create", "no change"):
        # The best of each: a machine that does something else besides only ever adds.
        hand, run = (min(took[what, where]) for where in ("hand", "run"))
        row(f"`pulumi up` of {RESOURCES}, {what}: by hand / in a run ({level})", f"{hand:.3f} / {run:.3f} s, {100 * (run / hand - 1):+.1f} %", "reach: 2 %")
    row(f"… processor time of the agent in a run, clone and log included ({level})", f"{(cpu_seconds(agent.pid) - busy) * 1000 / runs:.0f} ms")
    agent.stop()
    site.server.stop()


def many_rows(folder):
    """As many agents as a large installation has, each a process; a burst of runs that each count themselves and end."""
    site = Site(folder, "runner-many", "--max-deployments", "10000")
    site.repo.commit(programs.stash("many"))
    counted = site.folder / "counted"
    stacks = [f"acme/many/s{n}" for n in range(RUNS)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda s: site.stack(s, f"echo $PULUMI_CI_BUILD_ID >>{counted}; exit 3"), stacks))
    idle = anonymous_kib(site.server.pid)
    with ThreadPoolExecutor(4) as pool:
        agents = list(pool.map(lambda n: site.agent(f"a{n}"), range(AGENTS)))
        list(pool.map(lambda a: a.wait_stderr("polls", 120), agents))
    time.sleep(2)
    kib = sorted(anonymous_kib(a.pid) for a in agents)
    row(f"{AGENTS} idle agents, RssAnon of one, median / most", f"{kib[len(kib) // 2] / 1024:.1f} / {kib[-1] / 1024:.1f} MB", "reach: 4 MB")
    row(f"… the server's, before / with them", f"{idle / 1024:.1f} / {anonymous_kib(site.server.pid) / 1024:.1f} MB")
    cpu, began = cpu_seconds(site.server.pid), time.perf_counter()
    time.sleep(10)
    row("… the server's processor time while they wait", f"{(cpu_seconds(site.server.pid) - cpu) * 100 / (time.perf_counter() - began):.2f} % of a processor")
    peak, began, cpu = Peak(site.server.pid), time.perf_counter(), cpu_seconds(site.server.pid)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda s: (s, site.api.deploy(s, "update")["id"]), stacks))
        list(pool.map(lambda m: site.api.wait_status(*m, timeout=600), made))
    took = time.perf_counter() - began
    ran = counted.read_text().split()
    assert sorted(ran) == sorted(id for _, id in made), f"{len(made)} deployments, {len(ran)} runs of {len(set(ran))}"
    row(f"{RUNS} deployments at once on {AGENTS} agents, clone and one command each, all done once", f"{took:.1f} s, {RUNS / took:.0f}/s")
    row("… the server's processor time for one; its RssAnon at most", f"{(cpu_seconds(site.server.pid) - cpu) * 1000 / RUNS:.1f} ms; {peak.end():.1f} MB")
    row("… RssAnon of an agent afterwards, most", f"{max(anonymous_kib(a.pid) for a in agents) / 1024:.1f} MB")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda a: a.stop(timeout=60), agents))
    left = [f for a in agents for f in (a.log.parent / "work/jobs").iterdir()]
    assert not left, left
    site.server.stop()


def rows(folder):
    say("memory of a runner")
    memory_rows(folder)
    say("what a run adds to pulumi up")
    for level in ("process", "bubblewrap"):
        up_rows(folder, level)
    say(f"{AGENTS} agents on one server")
    many_rows(folder)
