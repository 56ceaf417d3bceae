"""Rows over plain HTTP: an update's life, checkpoints, exports, reads; with bench/load as the client."""
import gzip
import json
import os
import random
import subprocess
import time

from measure import anonymous_kib, cpu_seconds, row, say

from helpers import process

UPDATES = int(os.environ.get("BENCH_UPDATES", "10000"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "3"))
EVENT_BATCHES = 5
EVENTS_MAX = 50  # in a batch of the CLI
# Entries of the journal in one request: all; what the CLI sends at most.
ONE_BATCH = 1 << 30
CLI_BATCH = 100
# As the CLI writes it; the address is that of the requests.
PROVIDER = {"type": "service", "state": {"url": "http://127.0.0.1", "owner": "acme", "project": "raw", "stack": "dev"}}
# Of the input of one resource; some words and some random digits, so that it compresses as real states do: to a fifth.
INPUT_BYTES = 300


def load(*arguments):
    run = subprocess.run([os.environ["SLIPWAY_BENCH_LOAD"], *map(str, arguments)], capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(run.stderr)
    return json.loads(run.stdout)


# ---- documents ---------------------------------------------------------------------------------------------------
WORDS = ["bucket", "region", "eu-central-1", "enabled", "policy", "subnet", "instance", "arn:aws:s3:::", "versioning", "retention"]
rng = random.Random(4)


def resource(i, revision):
    text = " ".join(rng.choice(WORDS) if rng.random() < .7 else f"{rng.getrandbits(32):08x}" for _ in range(INPUT_BYTES // 9))
    urn = f"urn:pulumi:dev::raw::pulumi:index:Stash::r{i:05d}"
    return {"urn": urn, "custom": True, "id": f"id-{i}", "type": "pulumi:index:Stash", "inputs": {"input": text, "revision": revision},
            "outputs": {"output": text, "revision": revision}, "dependencies": [], "created": "2026-01-01T00:00:00Z", "modified": "2026-01-01T00:00:00Z"}


def deployment(count):
    return {"version": 3, "deployment": {"manifest": {"time": "2026-01-01T00:00:00Z", "magic": "", "version": "v3.259.0"}, "metadata": {},
                                         "secrets_providers": PROVIDER, "resources": [resource(i, 0) for i in range(count)]}}


def journal(count, old):
    """The journal of an update that changes each of `count` resources (old), or creates it."""
    entry = {"version": 1, "removeOld": None, "removeNew": None}
    entries = [{**entry, "kind": 6, "sequenceID": 1, "operationID": 0, "secretsProvider": PROVIDER}]
    for i in range(count):
        new = resource(i, 1)
        entries.append({**entry, "kind": 0, "sequenceID": 2 * i + 2, "operationID": i + 1,
                        "operation": {"resource": {k: v for k, v in new.items() if k != "outputs"}, "type": "updating" if old else "creating"}})
        entries.append({**entry, "kind": 1, "sequenceID": 2 * i + 3, "operationID": i + 1, "removeOld": i if old else None, "state": new})
    return entries


def events(count, batch):
    """What the engine tells about its steps: two events of each resource, at most so many in a batch as the CLI sends."""
    share = min(EVENTS_MAX // 2, max(1, count // EVENT_BATCHES))
    made = []
    for i in range(batch * share, (batch + 1) * share):
        state = resource(i, 1)
        step = {"op": "update", "urn": state["urn"], "type": state["type"], "old": state, "new": state, "provider": ""}
        made.append({"sequence": 2 * i, "timestamp": 1700000000, "resourcePreEvent": {"metadata": step}})
        made.append({"sequence": 2 * i + 1, "timestamp": 1700000000, "resOutputsEvent": {"metadata": step}})
    return {"events": made}


# ---- requests ----------------------------------------------------------------------------------------------------
class Requests:
    """Files with requests as they go over the wire."""

    def __init__(self, folder, token):
        self.folder, self.token, self.count = folder, token, 0
        folder.mkdir(parents=True, exist_ok=True)

    def make(self, method, path, body=None, lease=False, compress=True):
        credentials = "update-token {token}" if lease else f"token {self.token}"
        head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: {credentials}", "Accept: application/vnd.pulumi+8",
                "Accept-Encoding: gzip", "User-Agent: pulumi-cli/1 (v3.259.0; linux)"]
        packed = b""
        if body is not None:
            packed = json.dumps(body, separators=(",", ":")).encode()
            head.append("Content-Type: application/json")
            if compress and lease:
                packed = gzip.compress(packed)  # at Go's default, as the CLI does
                head.append("Content-Encoding: gzip")
        if method != "GET":
            head.append(f"Content-Length: {len(packed)}")
        file = self.folder / f"{self.count}.http"
        self.count += 1
        file.write_bytes("\r\n".join(head).encode() + b"\r\n\r\n" + packed)
        return file


def life(requests, stack, count, old, batch):
    """The requests of one update, with up to `batch` journal entries in one of them."""
    u = f"{stack}/update/{{updateID}}"
    entries = journal(count, old)
    batches = [entries[i:i + batch] for i in range(0, len(entries), batch)]
    return [requests.make("POST", f"{stack}/update", {"name": "raw", "runtime": "yaml", "options": {}, "metadata": {"message": "", "environment": {"pulumi.version": "v3.259.0"}}}),
            requests.make("POST", u, {"journalVersion": 1}),
            *[requests.make("PATCH", f"{u}/journalentries", {"entries": batch}, lease=True) for batch in batches],
            *[requests.make("POST", f"{u}/events/batch", events(count, i), lease=True) for i in range(EVENT_BATCHES)],
            requests.make("POST", f"{u}/complete", {"status": "succeeded"}, lease=True, compress=False)]


def per(seconds, count):
    return f"{1e6 * seconds / max(count, 1):.0f} µs"


class Raw:
    def __init__(self, folder):
        self.folder = folder / "raw"
        self.server = process.Server(self.folder, command="serve")
        self.server.admin("org", "add", "acme")
        self.api = self.server.user("bench", role="admin")
        self.requests = Requests(self.folder / "requests", self.api.token)

    def stack(self, name):
        self.api.post("/api/stacks/acme/raw", {"stackName": name})
        return f"/api/stacks/acme/raw/{name}"

    def timed(self, *arguments):
        before = cpu_seconds(self.server.pid)
        took = load(*arguments)
        return took, cpu_seconds(self.server.pid) - before

    def updates(self, count, times, batch, reach):
        stack = self.stack(f"life-{count}-{batch}")
        load("replay", self.server.port, 1, *life(self.requests, stack, count, False, batch))
        plan = life(self.requests, stack, count, True, batch)
        say(f"{times} updates of {count} resources over HTTP, {len(plan)} requests each")
        took, cpu = self.timed("replay", self.server.port, times, *plan)
        row(f"update of {count} resources over HTTP, {len(plan)} durable requests, p50 / p99", f"{took['p50_us'] / 1000:.1f} / {took['p99_us'] / 1000:.1f} ms", reach)
        row("    processor time of the server in one of them", per(cpu, times))
        say("    medians of its requests: " + " ".join(str(us) for us in took["steps"]) + " µs")

    def checkpoints(self, times):
        stack = self.stack("checkpoint")
        document = deployment(1070)
        text = json.dumps(document, separators=(",", ":"))
        packed = self.folder / "document.gz"
        packed.write_bytes(gzip.compress(text.encode()))
        start = [self.requests.make("POST", f"{stack}/update", {"options": {}, "metadata": {}}), self.requests.make("POST", f"{stack}/update/{{updateID}}", {})]
        # Two documents in turns: the same one again would be no work for the disk.
        saves = []
        for i in range(8):
            document["deployment"]["resources"][0]["inputs"]["revision"] = i
            saves.append(self.requests.make("PATCH", f"{stack}/update/{{updateID}}/checkpoint", {**document, "isInvalid": False}, lease=True))
        plan = start + saves * times + [self.requests.make("POST", f"{stack}/update/{{updateID}}/complete", {"status": "succeeded"}, lease=True, compress=False)]
        say(f"{len(saves) * times} checkpoints of {len(text) / 1000:.0f} KB, {packed.stat().st_size / 1000:.0f} KB as gzip")
        bound = load("bound", self.folder, 100, packed)
        took, cpu = self.timed("replay", self.server.port, 1, *plan)
        again = load("bound", self.folder, 100, packed)
        each = bound["inflate_us"] + again["inflate_us"] + bound["sync_us"] + again["sync_us"]
        allowed = 2e6 / each
        reached = 1e6 / (sum(took["steps"][2:-1]) / (len(saves) * times))
        row(f"checkpoint of {len(text) / 1000:.0f} KB as gzip ({packed.stat().st_size / 1000:.0f} KB), durable, one client", f"{reached:.0f} /s", f"reach: {.8 * allowed:.0f} /s")
        row("    bound: one inflate and one fdatasync of it", f"{allowed:.0f} /s", f"{(bound['inflate_us'] + again['inflate_us']) / 2:.0f} + {(bound['sync_us'] + again['sync_us']) / 2:.0f} µs")
        row("    processor time of the server in one of them", per(cpu, len(saves) * times))
        return stack

    def flood(self, name, path, connections, reach):
        request = self.requests.make("GET", path)
        load("flood", self.server.port, connections, .3, request)
        took, cpu = self.timed("flood", self.server.port, connections, SECONDS, request)
        row(name, f"{took['requests'] / took['seconds']:.0f} /s", f"reach: {reach} /s")
        row("    p50 / p99, processor time of the server in one of them",
            f"{took['p50_us'] / 1000:.2f} / {took['p99_us'] / 1000:.2f} ms, {per(cpu, took['requests'])}")

    def stop(self):
        self.server.stop()


def rows(folder):
    raw = Raw(folder)
    time.sleep(1)
    row("memory of the idle server (RssAnon)", f"{anonymous_kib(raw.server.pid) / 1024:.1f} MB", "reach: 8 MB")
    raw.updates(10, UPDATES, ONE_BATCH, "reach: 4 ms")
    row(f"memory after {UPDATES} updates (RssAnon)", f"{anonymous_kib(raw.server.pid) / 1024:.1f} MB", "reach: 60 MB")
    raw.updates(1000, max(10, UPDATES // 50), ONE_BATCH, "reach: 12 ms")
    raw.updates(1000, max(10, UPDATES // 50), CLI_BATCH, "")
    stack = raw.checkpoints(25)
    say("exports and reads")
    raw.flood("export of that state, gzip, 4 clients", f"{stack}/export", 4, 2000)
    raw.flood("GET stack, authenticated, 8 clients", stack, 8, 15000)
    row("memory after all that (RssAnon)", f"{anonymous_kib(raw.server.pid) / 1024:.1f} MB")
    raw.stop()
