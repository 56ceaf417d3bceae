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

import cli  # noqa: E402
import log_rows  # noqa: E402
import raw  # noqa: E402
from measure import anonymous_kib, milliseconds, percentile, row, say  # noqa: E402

from helpers import process, where  # noqa: E402


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
        print(f"slipway of {where.build()}, {os.cpu_count()} cores, pulumi {subprocess.run([where.tools() / 'pulumi', 'version'], capture_output=True, text=True).stdout.strip()}")
        print(f"{cli.durability()}; load of the machine before: {os.getloadavg()[0]:.1f}\n")
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

        raw.rows(folder)
        print()
        log_rows.rows(folder)
        print()
        cli.rows(folder, server)
        row("idle memory after all that, server (RssAnon)", f"{anonymous_kib(server.pid) / 1024:.1f} MB")
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


main()
