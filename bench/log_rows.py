"""Rows about logs: how fast they are taken in, and how soon many who follow one have a line."""
import json
import os
import random
import subprocess
import time

from measure import anonymous_kib, cpu_seconds, row, say

from helpers import process

SECONDS = float(os.environ.get("BENCH_LOG_SECONDS", "5"))
FOLLOWERS = int(os.environ.get("BENCH_FOLLOWERS", "1000"))
ROUNDS = int(os.environ.get("BENCH_LOG_ROUNDS", "50"))
WRITERS = 32
# What an agent sends at once (agent/upload.h).
BATCH_BYTES = 256 * 1024
OFFSET_MARK = "@" * 12
WORDS = ["Updating", "aws:ec2/instance:Instance", "created", "running", "npm", "WARN", "deprecated", "node_modules/.bin", "++", "resource", "policy", "done"]
rng = random.Random(5)


def log_line():
    """About 110 bytes; some words, a time, a number, sometimes colours, as logs have them: it compresses to a fifth."""
    words = " ".join(rng.choice(WORDS) for _ in range(rng.randrange(4, 12)))
    color = "\x1b[32m" if rng.random() < .3 else ""
    return f"2026-11-26T10:{rng.randrange(60):02d}:{rng.randrange(60):02d}.{rng.randrange(1000):03d}Z {color}{words}{color and chr(27) + '[0m'} {rng.getrandbits(32):08x}\n"


class Logs:
    def __init__(self, folder):
        self.folder = folder / "logs"
        self.server = process.Server(self.folder, command="serve")
        self.server.admin("org", "add", "acme")
        self.api = self.server.user("bench", role="admin")
        self.api.ok("PATCH", "/api/orgs/acme", {"setDeploymentConcurrency": 100})
        self.pool = self.api.post("/api/orgs/acme/agent-pools", {"name": "bench"})
        self.files = 0

    def run(self, name, secret=None):
        """A running deployment with one step: (id, attempt, its runner's token)."""
        self.api.post("/api/stacks/acme/logs", {"stackName": name})
        environment = {"environmentVariables": {"PASSWORD": {"secret": secret}}} if secret else {}
        self.api.post(f"/api/stacks/acme/logs/{name}/deployments", {"operation": "preview", "agentPoolID": self.pool["id"], "operationContext": environment,
                                                                     "sourceContext": {"git": {"repoUrl": "https://example.invalid/x.git", "branch": "main"}}})
        claim = self.server.api(self.pool["tokenValue"]).get("/api/deployments/poll")
        runner, base = self.server.api(claim["jobToken"]), f"/api/runner/{claim['deploymentID']}"
        runner.get(f"{base}/order?attempt={claim['attempt']}")
        runner.post(f"{base}/steps", {"attempt": claim["attempt"], "step": 0, "name": "Setup", "status": "running"})
        return claim["deploymentID"], claim["attempt"], claim["jobToken"]

    def file(self, method, path, token, body=None):
        head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: token {token}", "User-Agent: slipway-agent/bench"]
        text = (body or "").encode()
        if method != "GET":
            head += ["Content-Type: application/json", f"Content-Length: {len(text)}"]
        file = self.folder / f"{self.files}.http"
        self.files += 1
        file.write_bytes("\r\n".join(head).encode() + b"\r\n\r\n" + text)
        return file

    def append(self, run, lines):
        id, attempt, token = run
        rows = ",".join(json.dumps({"t": 1790000000000000 + i, "l": line}, separators=(",", ":"), ensure_ascii=False) for i, line in enumerate(lines))
        return self.file("POST", f"/api/runner/{id}/log", token, f'{{"attempt":{attempt},"step":0,"offset":{OFFSET_MARK},"lines":[{rows}]}}')

    def load(self, *arguments, **more):
        child = subprocess.run([os.environ["SLIPWAY_BENCH_LOGS"], *map(str, arguments)], capture_output=True, text=True, **more)
        if child.returncode:
            raise SystemExit(child.stderr)
        return json.loads(child.stdout)

    def ingest(self, name, writers, reach, secret=None):
        runs = [self.run(f"w{writers}-{len(secret or '')}-{i}", secret) for i in range(writers)]
        lines = []
        while sum(map(len, lines)) < BATCH_BYTES * .8:
            lines.append(log_line())
        size = sum(len(line.encode()) for line in lines)
        files = [self.append(run, lines) for run in runs]
        before = cpu_seconds(self.server.pid)
        took = self.load("append", self.server.port, SECONDS, len(lines), *files)
        cpu, mb = cpu_seconds(self.server.pid) - before, took["requests"] * size / 1e6
        row(name, f"{mb / took['seconds']:.0f} MB/s", reach)
        row("    p50 / p99 of an append, processor time of the server for a MB",
            f"{took['p50_us'] / 1000:.1f} / {took['p99_us'] / 1000:.1f} ms, {1000 * cpu / mb:.2f} ms")

    def follow(self):
        run = self.run("followed")
        first = self.server.api(run[2])
        first.post(f"/api/runner/{run[0]}/log", {"attempt": run[1], "step": 0, "offset": 0, "lines": [{"t": 1790000000000000, "l": "first\n"}]})
        stream = self.file("GET", f"/api/stacks/acme/logs/followed/deployments/{run[0]}/logs/stream", self.api.token)
        append = self.append(run, [log_line()])
        idle = anonymous_kib(self.server.pid)
        before = cpu_seconds(self.server.pid)
        child = subprocess.Popen([os.environ["SLIPWAY_BENCH_LOGS"], "follow", str(self.server.port), str(FOLLOWERS), str(ROUNDS), stream, append],
                                 stdout=subprocess.PIPE, text=True, env={**os.environ, "SLIPWAY_BENCH_HOLD": "1"}, bufsize=1)
        line = child.stdout.readline()
        if not line:
            raise SystemExit("the followers did not come to an end")
        took = json.loads(line)
        cpu = cpu_seconds(self.server.pid) - before
        time.sleep(.5)
        memory = anonymous_kib(self.server.pid) - idle
        child.terminate()
        child.wait()
        row(f"a line appended until all {FOLLOWERS} who follow have it, p50 / p99", f"{took['all_p50_us'] / 1000:.1f} / {took['all_p99_us'] / 1000:.1f} ms")
        row("    until one of them has it, p50 / p99; the append itself, p50",
            f"{took['p50_us'] / 1000:.1f} / {took['p99_us'] / 1000:.1f} ms; {took['append_p50_us'] / 1000:.1f} ms")
        row("    processor time of the server for each line and follower", f"{1e6 * cpu / (FOLLOWERS * ROUNDS):.1f} µs")
        row(f"    memory for {FOLLOWERS} followers (RssAnon)", f"{memory / 1024:.1f} MB, {memory * 1024 / FOLLOWERS / 1000:.1f} KB each")

    def stop(self):
        self.server.stop()


def rows(folder):
    say("logs")
    logs = Logs(folder)
    logs.follow()
    logs.ingest("log ingest, durable, one writer", 1, "reach: 50 MB/s")
    logs.ingest(f"log ingest, durable, {WRITERS} writers together", WRITERS, "reach: 150 MB/s")
    logs.ingest("log ingest, one writer, with a secret to mask", 1, "", "correct horse battery staple")
    logs.stop()
