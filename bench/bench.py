"""The figures of `make bench`, measured on the real programs; the peers run in the same minute on the same machine."""
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import raw  # noqa: E402
from measure import anonymous_kib, cpu_seconds, milliseconds, percentile, row, say  # noqa: E402

from helpers import process, programs, where  # noqa: E402
from helpers.pulumi import Pulumi  # noqa: E402

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SIZES = [int(n) for n in os.environ.get("BENCH_RESOURCES", "10 200").split()]


# ---- start -------------------------------------------------------------------------------------------------------
def start_times(folder, count, fresh):
    """Seconds from exec to the first 200 of /readyz."""
    took = []
    port = 18420 + os.getpid() % 1000
    for i in range(count):
        data = folder / (f"start{i}" if fresh else "start")
        began = time.perf_counter()
        server = subprocess.Popen([where.slipway(), "serve", "--data", data, "--listen", f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=process.environment(folder))
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    took.append(time.perf_counter() - began)
                    break
            except OSError:
                time.sleep(0.0005)
            finally:
                connection.close()
            if time.perf_counter() - began > 20:
                raise SystemExit("the server does not start")
        server.terminate()
        server.wait(20)
    return took


# ---- pulumi up ---------------------------------------------------------------------------------------------------
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


def timed_up(cli):
    began = time.perf_counter()
    cli.up("--skip-preview", quiet=False)
    return time.perf_counter() - began


EMPTY = '{"version":3,"deployment":{"manifest":{"time":"0001-01-01T00:00:00Z","magic":"","version":""},"metadata":{}}}'
REPEATS = 5  # of an update without changes, which is short


def pulumi_up(folder, server, floor, count, round):
    """{backend: ([create], [no change, …])} in seconds, and the server's own CPU time of each, one round.

    The backends take turns and each round begins with another one, so that a busy moment of the machine or a warm cache
    does not favour one of them."""
    project = f"bench-{count}-{round}"
    urls = {"slipway": server.url, "file": (folder / "file").as_uri()}
    if floor:
        urls["floor"] = floor.url
        floor.set_state(EMPTY)
    (folder / "file").mkdir(exist_ok=True)
    order = list(urls)
    order = order[round % len(order):] + order[:round % len(order)]
    clis = {}
    for name in order:
        clis[name] = cli = Pulumi(folder, urls[name], server.token, f"{name}-{project}")
        cli.environment["PULUMI_CONFIG_PASSPHRASE"] = "bench"
        cli.write(programs.many(project, count))
        cli.run("stack", "init", f"organization/{project}/dev" if name == "file" else f"acme/{project}/dev", quiet=False)
    create, same, cpu = {}, {name: [] for name in order}, [0.0, 0.0]
    for name in order:
        before = cpu_seconds(server.pid)
        create[name] = timed_up(clis[name])
        if name == "slipway":
            cpu[0] = cpu_seconds(server.pid) - before
    if floor:
        floor.set_state(clis["slipway"].run("stack", "export").stdout.replace(server.url, floor.url))
    for _ in range(REPEATS):
        for name in order:
            before = cpu_seconds(server.pid)
            same[name].append(timed_up(clis[name]))
            if name == "slipway":
                cpu[1] += (cpu_seconds(server.pid) - before) / REPEATS
    for cli in clis.values():
        shutil.rmtree(cli.project)
    return {name: ([create[name]], same[name]) for name in order}, cpu


# ---- the queue ---------------------------------------------------------------------------------------------------
class Plain:
    """One kept connection, so that the client's own part in the figures stays small."""

    def __init__(self, url, token):
        self.connection = http.client.HTTPConnection(url.split("//")[1], timeout=60)
        self.head = {"Authorization": f"token {token}", "Content-Type": "application/json"}

    def call(self, method, path, body=None, **head):
        self.connection.request(method, path, None if body is None else json.dumps(body), {**self.head, **head})
        answer = self.connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None


def enqueue_to_claimed(folder, count):
    """Seconds from the moment a deployment is asked for until a waiting runner holds its claim."""
    server = process.Server(folder / "queue", command="serve")
    server.admin("org", "add", "acme")
    user = Plain(server.url, server.user("bench", role="admin").token)
    _, pool = user.call("POST", "/api/orgs/acme/agent-pools", {"name": "bench"})
    for i in range(count):
        assert user.call("POST", "/api/stacks/acme/queue", {"stackName": f"s{i}"})[0] < 300
    claimed, ready = {}, threading.Event()

    def runner():
        poll = Plain(server.url, pool["tokenValue"])
        for _ in range(count):
            while True:
                ready.set()
                status, job = poll.call("GET", "/api/deployments/poll", Prefer="wait=30")
                if status == 200:
                    break
            claimed[job["deploymentID"]] = time.perf_counter()
            its = Plain(server.url, job["jobToken"])
            base, attempt = f"/api/runner/{job['deploymentID']}", job["attempt"]
            its.call("GET", f"{base}/order?attempt={attempt}")
            its.call("POST", f"{base}/steps", {"attempt": attempt, "step": 0, "name": "Setup", "status": "running"})
            its.call("POST", f"{base}/finish", {"attempt": attempt, "status": "succeeded", "message": ""})

    thread = threading.Thread(target=runner)
    thread.start()
    took = []
    for i in range(count):
        ready.wait()
        ready.clear()
        time.sleep(0.02)  # the poll is on its way: it shall be parked
        began = time.perf_counter()
        status, made = user.call("POST", f"/api/stacks/acme/queue/s{i}/deployments",
                                 {"operation": "update", "agentPoolID": pool["id"], "sourceContext": {"git": {"repoUrl": "https://example.invalid/x.git", "branch": "main"}}})
        assert status == 202, made
        while made["id"] not in claimed:
            time.sleep(0.0002)
        took.append(claimed[made["id"]] - began)
    thread.join()
    server.stop()
    return took


def main():
    folder = Path(tempfile.mkdtemp(prefix="slipway-bench-"))
    try:
        print(f"slipway of {where.build()}, {os.cpu_count()} cores, pulumi {subprocess.run([where.tools() / 'pulumi', 'version'], capture_output=True, text=True).stdout.strip()}\n")
        say("starting and stopping the server")
        row("server start to first 200, new data folder (median of 10)", milliseconds(statistics.median(start_times(folder, 10, True))))
        row("server start to first 200 (median of 20)", milliseconds(statistics.median(start_times(folder, 20, False))), "reach: 50 ms")

        server = process.Server(folder / "dev")
        time.sleep(3)
        children = [pid for pid in server.children()]
        row("idle memory, server (RssAnon)", f"{anonymous_kib(server.pid) / 1024:.1f} MB", "reach: 8 MB")
        for pid in children:
            row("idle memory, agent (RssAnon)", f"{anonymous_kib(pid) / 1024:.1f} MB", "reach: 4 MB")

        say("from enqueue to claimed, 200 times")
        took = enqueue_to_claimed(folder, 200)
        row("enqueue to claimed by a waiting runner, p50 / p99", f"{percentile(took, .5) * 1000:.1f} / {percentile(took, .99) * 1000:.1f} ms", "reach: 3 / 15 ms")
        print()

        floor = Floor() if os.environ.get("SLIPWAY_BENCH_FLOOR") else None
        for count in SIZES:
            rounds = []
            for i in range(ROUNDS):
                say(f"pulumi up of {count} resources of 8 KB, round {i + 1} of {ROUNDS}")
                rounds.append(pulumi_up(folder, server, floor, count, i))
            for part, label in ((0, "create"), (1, "no change")):
                took = {name: [seconds for backends, _ in rounds for seconds in backends[name][part]] for name in rounds[0][0]}
                middle = {name: statistics.median(seconds) for name, seconds in took.items()}
                cpu = statistics.median(cpu[part] for _, cpu in rounds)
                # Neighbours in time are compared with each other: what else the machine does changes slowly.
                over = f"floor {100 * (statistics.median(a / b for a, b in zip(took['slipway'], took['floor'])) - 1):+.1f} %, reach: +5 %" if floor else ""
                row(f"pulumi up, {count} resources, {label}: slipway", f"{middle['slipway']:.2f} s", over)
                if floor:
                    row("    floor: a server that answers at once and keeps nothing", f"{middle['floor']:.2f} s")
                row("    file:// of the CLI", f"{middle['file']:.2f} s")
                row("    processor time of slipway's server in it", f"{cpu:.2f} s")
        row("idle memory after all that, server (RssAnon)", f"{anonymous_kib(server.pid) / 1024:.1f} MB")
        if floor:
            floor.stop()
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


main()
