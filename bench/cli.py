"""Rows with the real CLI: Stash resources of 8 KB against slipway, against the floor, and in file://."""
import http.client
import os
import re
import resource
import shutil
import statistics
import subprocess
import time

from measure import cpu_seconds, row, say

from helpers import programs, where
from helpers.pulumi import Pulumi

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SIZES = [int(n) for n in os.environ.get("BENCH_RESOURCES", "10 200 600").split()]
# The time of file:// grows with the square: two minutes and a half for each step at 600.
FILE_MAX = int(os.environ.get("BENCH_FILE_RESOURCES", "200"))
REPEATS = 5  # of an update without changes, which is short
AT_ONCE = 10
AT_ONCE_RESOURCES = 50

EMPTY = '{"version":3,"deployment":{"manifest":{"time":"0001-01-01T00:00:00Z","magic":"","version":""},"metadata":{}}}'
STEPS = ["create", "first no change", "no change", "export", "destroy"]


class Floor:
    def __init__(self):
        self.process = subprocess.Popen([os.environ["SLIPWAY_BENCH_FLOOR"]], stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().split()[-1]

    def set_state(self, text):
        connection = http.client.HTTPConnection(self.url.split("//")[1])
        connection.request("POST", "/floor/state", text)
        connection.getresponse().read()
        connection.close()

    def stop(self):
        self.process.terminate()
        self.process.wait()


def arguments(step):
    return {"export": ["stack", "export"], "destroy": ["destroy", "--yes", "--skip-preview"]}.get(step, ["up", "--yes", "--skip-preview"])


class Round:
    """One program, one stack in each backend. `took` and `cpu` (the server's own): step -> backend -> [seconds].

    The backends take turns and each round begins with another one, so that a busy moment of the machine or a warm cache
    does not favour one of them."""

    def __init__(self, folder, server, floor, count, number):
        self.server, self.floor, self.took, self.cpu = server, floor, {}, {}
        project = f"bench-{count}-{number}"
        urls = {"slipway": server.url}
        if count <= FILE_MAX:
            urls["file"] = (folder / "file").as_uri()
            (folder / "file").mkdir(exist_ok=True)
        if floor:
            urls["floor"] = floor.url
            floor.set_state(EMPTY)
        order = list(urls)
        self.order = order[number % len(order):] + order[:number % len(order)]
        self.clis = {}
        for name in self.order:
            self.clis[name] = cli = Pulumi(folder, urls[name], server.token, f"{name}-{project}")
            cli.environment["PULUMI_CONFIG_PASSPHRASE"] = "bench"
            cli.write(programs.many(project, count))
            cli.run("stack", "init", f"organization/{project}/dev" if name == "file" else f"acme/{project}/dev", quiet=False)

    def step(self, step):
        for name in self.order:
            before, began = cpu_seconds(self.server.pid), time.perf_counter()
            self.clis[name].run(*arguments(step), quiet=False, timeout=1800)
            self.took.setdefault(step, {}).setdefault(name, []).append(time.perf_counter() - began)
            if name == "slipway":
                self.cpu.setdefault(step, []).append(cpu_seconds(self.server.pid) - before)

    def run(self):
        self.step("create")
        if self.floor:
            self.floor.set_state(self.clis["slipway"].run("stack", "export").stdout.replace(self.server.url, self.floor.url))
        self.step("first no change")
        for _ in range(REPEATS):
            self.step("no change")
        self.step("export")
        self.step("destroy")
        for cli in self.clis.values():
            shutil.rmtree(cli.project)
        return self


def print_size(count, rounds):
    for step in STEPS:
        took = {name: [s for r in rounds for s in r.took[step][name]] for name in rounds[0].order}
        cpu = statistics.median(s for r in rounds for s in r.cpu[step])
        middle = {name: statistics.median(seconds) for name, seconds in took.items()}
        over = ""
        if "floor" in took:
            # Neighbours in time are compared with each other: what else the machine does changes slowly.
            over = f"floor {100 * (statistics.median(a / b for a, b in zip(took['slipway'], took['floor'])) - 1):+.1f} %, reach: +3 %"
        row(f"{count} resources, {step}: slipway", f"{middle['slipway']:.2f} s", over)
        if "floor" in took:
            row("    floor: a server that answers at once and keeps nothing", f"{middle['floor']:.2f} s")
        if "file" in took:
            row("    file:// of the CLI", f"{middle['file']:.2f} s")
        row("    processor time of slipway's server in it, for each resource", f"{cpu:.3f} s, {1000 * cpu / count:.2f} ms")


def children_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def at_once(folder, server, floor):
    """Ten `pulumi up` at the same moment: who needs the processors?"""
    for name, url, pid in [("slipway", server.url, server.pid)] + ([("floor", floor.url, floor.process.pid)] if floor else []):
        clis = []
        for i in range(AT_ONCE):
            clis.append(Pulumi(folder, url, server.token, f"at-once-{name}-{i}"))
            clis[i].write(programs.many(f"at-once-{name}-{i}", AT_ONCE_RESOURCES))
            clis[i].run("stack", "init", f"acme/at-once-{name}-{i}/dev", quiet=False)
        if floor:
            floor.set_state(EMPTY)
        mine, theirs, began = cpu_seconds(pid), children_seconds(), time.perf_counter()
        running = [cli.start("up", "--yes", "--skip-preview") for cli in clis]
        for child in running:
            out, err = child.communicate(timeout=1800)
            assert child.returncode == 0, out + err
        took, mine, theirs = time.perf_counter() - began, cpu_seconds(pid) - mine, children_seconds() - theirs
        row(f"{AT_ONCE} CLIs at once, each creates {AT_ONCE_RESOURCES} resources: {name}", f"{took:.2f} s")
        row("    processor time of the server, of the CLIs", f"{mine:.2f} s, {theirs:.1f} s", f"the server's part: {100 * mine / (mine + theirs):.1f} %")


def durability():
    """What the program under test tells its database: read from the program, not believed."""
    with open(where.slipway(), "rb") as program:
        found = re.search(rb"PRAGMA journal_mode = (\w+);PRAGMA synchronous = (\w+);", program.read())
    assert found, "the program sets no durability"
    return "journal_mode={}, synchronous={}".format(*(word.decode() for word in found.groups()))


def rows(folder, server):
    floor = Floor() if os.environ.get("SLIPWAY_BENCH_FLOOR") else None
    for count in SIZES:
        rounds = []
        for i in range(ROUNDS):
            say(f"the real CLI with {count} resources of 8 KB, round {i + 1} of {ROUNDS}")
            rounds.append(Round(folder, server, floor, count, i).run())
        print_size(count, rounds)
    say(f"{AT_ONCE} CLIs at once")
    at_once(folder, server, floor)
    if floor:
        floor.stop()
