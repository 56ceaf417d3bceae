"""Rows of the queue: from enqueue to claimed with many waiting agents, ten thousand drained, ten thousand parked, long lists; and
a peer that wakes its workers by PostgreSQL's notifications, in the same run on the same machine."""
import asyncio
import atexit
import http.client
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import queue_rows
from measure import anonymous_kib, cpu_seconds, percentile, row, say

from helpers import process

ENQUEUES = int(os.environ.get("BENCH_ENQUEUES", "200"))
AGENTS = (1, 50, 500)
DRAINED = int(os.environ.get("BENCH_DRAINED", "10000"))
DRAINERS = 64
PARKED = int(os.environ.get("BENCH_PARKED", "10000"))
LISTED = int(os.environ.get("BENCH_LISTED", "100000"))
SOURCE = {"git": {"repoUrl": "https://example.invalid/x.git", "branch": "main"}}


class Http:
    """One kept connection of an event loop, so that hundreds of agents are one thread."""

    @classmethod
    async def to(cls, port):
        self = cls()
        self.port = port
        await self.connect()
        return self

    async def connect(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, method, path, token, body=None, more=""):
        text = b"" if body is None else json.dumps(body).encode()
        self.writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: token {token}\r\n{more}Content-Length: {len(text)}\r\n\r\n".encode() + text)

    async def answer(self):
        head = await self.reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        length = head.lower().find(b"content-length:")
        text = await self.reader.readexactly(int(head[length + 15:head.index(b"\r", length)])) if length >= 0 else b""
        if b"\r\nconnection: close\r\n" in head.lower():
            self.writer.close()
            await self.connect()
        return status, json.loads(text) if text else None

    async def call(self, method, path, token, body=None, more=""):
        self.send(method, path, token, body, more)
        status, answer = await self.answer()
        if status >= 300:
            raise SystemExit(f"{method} {path}: {status} {answer}")
        return answer

    def close(self):
        self.writer.close()


async def claimed(connection, token, name):
    """A poll that waits as long as it must."""
    while True:
        job = await connection.call("GET", "/api/deployments/poll", token, more=f"Prefer: wait=60\r\nSlipway-Agent-Name: {name}\r\n")
        if job:
            return job


async def carry_out(connection, job):
    base, attempt, token = f"/api/runner/{job['deploymentID']}", job["attempt"], job["jobToken"]
    await connection.call("GET", f"{base}/order?attempt={attempt}", token)
    await connection.call("POST", f"{base}/steps", token, {"attempt": attempt, "step": 0, "name": "Setup", "status": "running"})
    await connection.call("POST", f"{base}/finish", token, {"attempt": attempt, "status": "succeeded", "message": ""})


class Site:
    def __init__(self, folder, stacks):
        self.server = process.Server(folder, command="serve")
        self.server.admin("org", "add", "acme")
        self.server.admin("org", "set", "acme", "--limit", "10000")
        api = self.server.user("bench", role="admin")
        self.user = api.token
        pool = api.post("/api/orgs/acme/agent-pools", {"name": "bench"})
        self.pool, self.pool_token = pool["id"], pool["tokenValue"]
        for i in range(stacks):
            api.post(f"/api/stacks/acme/project{i % 10}", {"stackName": f"s{i}"})
        self.stacks = [f"/api/stacks/acme/project{i % 10}/s{i}/deployments" for i in range(stacks)]

    def body(self):
        return {"operation": "update", "agentPoolID": self.pool, "sourceContext": SOURCE}


# ---- from enqueue to claimed -------------------------------------------------------------------------------------
async def enqueue_to_claimed(site, agents, count):
    """Seconds from the moment a deployment is asked for until one of the waiting agents holds its claim."""
    arrived, ended, port = asyncio.Queue(), [], site.server.port

    async def agent(n):
        connection = await Http.to(port)
        try:
            while True:
                job = await claimed(connection, site.pool_token, f"agent{n}")
                arrived.put_nowait((job["deploymentID"], time.perf_counter()))
                await carry_out(connection, job)
                ended.append(job["deploymentID"])
        finally:
            connection.close()
    tasks = [asyncio.create_task(agent(n)) for n in range(agents)]
    user, took = await Http.to(port), []
    await asyncio.sleep(1 + agents / 100)  # all are parked
    for i in range(count):
        await asyncio.sleep(.02)
        began = time.perf_counter()
        made = await user.call("POST", site.stacks[i % len(site.stacks)], site.user, site.body())
        id, when = await asyncio.wait_for(arrived.get(), 30)
        assert id == made["id"]
        took.append(when - began)
    while len(ended) < count:
        await asyncio.sleep(.01)
    for t in tasks:
        t.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return took


# ---- many ----------------------------------------------------------------------------------------------------------
async def fill(site, count):
    """Enqueues over all stacks, 16 requests at a time."""
    numbers = iter(range(count))

    async def client():
        connection = await Http.to(site.server.port)
        for i in numbers:
            await connection.call("POST", site.stacks[i % len(site.stacks)], site.user, site.body())
        connection.close()
    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(16)))
    return time.perf_counter() - began


async def drain(site, count, agents):
    """Many agents until nothing is left. Returns the seconds; nothing may come twice, nor two of a stack at once."""
    seen = set()

    async def agent(n):
        connection = await Http.to(site.server.port)
        while len(seen) < count:
            job = await connection.call("GET", "/api/deployments/poll", site.pool_token, more=f"Slipway-Agent-Name: agent{n}\r\n")
            if not job:
                await asyncio.sleep(.002)
                continue
            if job["deploymentID"] in seen or job["attempt"] != 1:
                raise SystemExit("a deployment was given out twice")
            seen.add(job["deploymentID"])
            await carry_out(connection, job)
        connection.close()
    began = time.perf_counter()
    await asyncio.gather(*(agent(n) for n in range(agents)))
    return time.perf_counter() - began


async def park(site, count):
    """Waiting polls of so many agents, each the third one of its agent. Returns the memory in KiB when all are parked, and the
    seconds from enqueue to claimed by one of them."""
    numbers, waiting = iter(range(count)), []

    async def client():
        for n in numbers:
            connection = await Http.to(site.server.port)
            for _ in range(2):
                await connection.call("GET", "/api/deployments/poll", site.pool_token, more=f"Slipway-Agent-Name: agent{n}\r\n")
            connection.send("GET", "/api/deployments/poll", site.pool_token, more=f"Prefer: wait=60\r\nSlipway-Agent-Name: agent{n}\r\n")
            waiting.append(connection)
    await asyncio.gather(*(client() for _ in range(32)))
    await asyncio.sleep(3)
    memory = anonymous_kib(site.server.pid)
    # One of them gets what is asked for now.
    user, answers = await Http.to(site.server.port), [asyncio.create_task(c.answer()) for c in waiting]
    await asyncio.sleep(1)
    began = time.perf_counter()
    await user.call("POST", site.stacks[0], site.user, site.body())
    await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
    took = time.perf_counter() - began
    for a, c in zip(answers, waiting):
        a.cancel()
        c.close()
    return memory, took


def raise_descriptors(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


# ---- lists ---------------------------------------------------------------------------------------------------------
def list_times(folder, count):
    """Medians in seconds of pages all over an organization's list, for pages of 10 and of 100; and the worst of them."""
    site = Site(folder, 100)
    asyncio.run(fill(site, 1))
    site.server.stop()
    queue_rows.fill(folder / "data" / "slipway.db", "acme", count, 100)
    server = process.Server(folder, command="serve")
    connection = http.client.HTTPConnection("127.0.0.1", server.port)

    def page(query):
        began = time.perf_counter()
        connection.request("GET", f"/api/orgs/acme/deployments?{query}", None, {"Authorization": f"token {site.user}"})
        answer = json.loads(connection.getresponse().read())
        return time.perf_counter() - began, answer["total"]
    found = {}
    for size in (10, 100):
        medians = []
        for filter in ("", "&status=succeeded", "&status=failed", "&status=skipped", "&status=not-started", "&status=running"):
            for order in ("", "&asc=true"):
                _, total = page(f"pageSize={size}{filter}{order}")
                last = max(1, -(-total // size))
                for number in {1, last // 4 or 1, last // 2 or 1, last}:
                    medians.append(statistics.median(page(f"pageSize={size}&page={number}{filter}{order}")[0] for _ in range(9)))
        found[size] = medians
    server.stop()
    return found


# ---- the peer --------------------------------------------------------------------------------------------------------
class Postgres:
    """A throw-away server on a unix socket: as durable as it comes."""

    def __init__(self):
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        self.bin = found[-1] if found else None

    def start(self, connections):
        self.folder = Path(tempfile.mkdtemp(prefix="slipway-pg-"))
        self.runas = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self.runas:
            shutil.chown(self.folder, "postgres")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": self.folder, "check": True}
        subprocess.run([*self.runas, self.bin / "initdb", "-D", self.folder / "data", "-U", "postgres", "-A", "trust"], **quiet)
        subprocess.run([*self.runas, self.bin / "pg_ctl", "-D", self.folder / "data", "-w", "-l", self.folder / "log", "-o",
                        f"-c listen_addresses='' -c unix_socket_directories='{self.folder}' -c max_connections={connections}", "start"], **quiet)

    def stop(self):
        atexit.unregister(self.stop)
        subprocess.run([*self.runas, self.bin / "pg_ctl", "-D", self.folder / "data", "-m", "fast", "-w", "stop"], stdout=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)


class Sql:
    """PostgreSQL's simple query protocol, as far as this needs it."""

    @classmethod
    async def to(cls, folder):
        self = cls()
        self.reader, self.writer = await asyncio.open_unix_connection(folder / ".s.PGSQL.5432")
        start = b"\0\3\0\0user\0postgres\0database\0postgres\0\0"
        self.writer.write((len(start) + 4).to_bytes(4, "big") + start)
        await self.ready()
        return self

    async def message(self):
        head = await self.reader.readexactly(5)
        return head[:1], await self.reader.readexactly(int.from_bytes(head[1:], "big") - 4)

    async def ready(self):
        first = None
        while True:
            kind, body = await self.message()
            if kind == b"E":
                raise SystemExit(f"the peer: {body}")
            if kind == b"D" and first is None:
                first = body[6:].decode()
            if kind == b"Z":
                return first

    async def ask(self, statement):
        """The first column of the first row, if there is one."""
        text = statement.encode() + b"\0"
        self.writer.write(b"Q" + (len(text) + 4).to_bytes(4, "big") + text)
        return await self.ready()

    async def notified(self):
        while (await self.message())[0] != b"A":
            pass


TAKE = """UPDATE jobs SET status = 'claimed' WHERE id = (SELECT id FROM jobs WHERE status = 'waiting' ORDER BY id
          FOR UPDATE SKIP LOCKED LIMIT 1) RETURNING id"""


async def peer_enqueue_to_claimed(postgres, agents, count):
    """The same with a table of jobs: an INSERT notifies all workers, the first to lock the row has it."""
    arrived = asyncio.Queue()
    user = await Sql.to(postgres.folder)
    await user.ask("DROP TABLE IF EXISTS jobs")
    await user.ask("CREATE TABLE jobs (id BIGSERIAL PRIMARY KEY, status TEXT NOT NULL DEFAULT 'waiting')")
    await user.ask("CREATE INDEX waiting ON jobs (id) WHERE status = 'waiting'")

    async def worker():
        connection = await Sql.to(postgres.folder)
        try:
            await connection.ask("LISTEN jobs")
            while True:
                await connection.notified()
                if await connection.ask(TAKE):
                    arrived.put_nowait(time.perf_counter())
        finally:
            connection.writer.close()
    tasks = [asyncio.create_task(worker()) for _ in range(agents)]
    await asyncio.sleep(1 + agents / 100)
    took = []
    for _ in range(count):
        await asyncio.sleep(.02)
        began = time.perf_counter()
        await user.ask("INSERT INTO jobs DEFAULT VALUES; NOTIFY jobs")
        took.append(await asyncio.wait_for(arrived.get(), 30) - began)
    for t in tasks:
        t.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return took


# ---- rows ------------------------------------------------------------------------------------------------------------
def two(took):
    return f"{percentile(took, .5) * 1000:.1f} / {percentile(took, .99) * 1000:.1f} ms"


def rows(folder):
    descriptors = raise_descriptors(PARKED + 2000)
    say("from enqueue to claimed")
    site, postgres = Site(folder / "claims", 50), Postgres()
    if postgres.bin:
        postgres.start(max(AGENTS) + 20)
        atexit.register(postgres.stop)
    for agents in AGENTS:
        row(f"enqueue to claimed, {agents} waiting agents, p50 / p99", two(asyncio.run(enqueue_to_claimed(site, agents, ENQUEUES))), "reach: 3 / 15 ms")
        if postgres.bin:
            row(f"  a peer with PostgreSQL's notifications, {agents} workers", two(asyncio.run(peer_enqueue_to_claimed(postgres, agents, ENQUEUES))))
    if postgres.bin:
        postgres.stop()
    site.server.stop()

    say(f"{DRAINED} deployments over 100 stacks")
    site = Site(folder / "drain", 100)
    row(f"{DRAINED} enqueued by 16 clients", f"{DRAINED / asyncio.run(fill(site, DRAINED)):.0f}/s")
    before = cpu_seconds(site.server.pid)
    took = asyncio.run(drain(site, DRAINED, DRAINERS))
    row(f"… claimed, begun and ended by {DRAINERS} agents, none twice", f"{DRAINED / took:.0f}/s")
    row("  the server's processor time for each", f"{(cpu_seconds(site.server.pid) - before) / DRAINED * 1000:.2f} ms")
    site.server.stop()

    parked = min(PARKED, descriptors - 500)
    say(f"{parked} parked polls")
    site = Site(folder / "park", 1)
    idle = anonymous_kib(site.server.pid)
    memory, took = asyncio.run(park(site, parked))
    row(f"memory with {parked} parked polls, server (RssAnon)", f"{memory / 1024:.1f} MB", "reach: 100 MB")
    row("  before", f"{idle / 1024:.1f} MB")
    row("  … and from enqueue to claimed by one of them", f"{took * 1000:.1f} ms")
    site.server.stop()

    say(f"a list of {LISTED}")
    found = list_times(folder / "lists", LISTED)
    for size, medians in found.items():
        row(f"list of {LISTED} deployments, pages of {size}: median / worst page", f"{statistics.median(medians) * 1000:.1f} / {max(medians) * 1000:.1f} ms", "reach: 5 ms")
