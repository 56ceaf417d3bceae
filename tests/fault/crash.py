#!/usr/bin/env python3
"""Kills the server again and again under load, and compares it with what was acknowledged: `make check-crash`.

    crash.py [--kills N] [--seed N] [--mutate WHAT]

A kill is one of
    kill    SIGKILL at a random time of the load
    point   SIGKILL in front of a random change of a file, the write at hand perhaps torn
    start   the same during the start and its recovery, of a server that was killed under load before
    first   the same during the first start in an empty folder
    fault   the disk fails meanwhile (FAULTS): requests may fail, the server lives on, and works when the fault is gone
    migrate the same during the migration of a database of an older schema, with the data that the load has made
and half of them are power cuts: what was not synced is lost afterwards, or any part of it (disk.py). Between them the
clock is now and then put ahead, so that the leases of all running updates end (builds with a test clock).

After each kill the server is started again and every stack is compared with the model. In the end every stack takes a
further update, `slipway admin verify` reads everything, and the database and the blobs are looked at from outside.

--mutate breaks the server's promise, so that the test itself can be tested (tests/fault/run): wal-sync and blob-sync make
its fsync of those files do nothing and say success, as `synchronous = OFF` would. A server that answers before it commits
was tried by hand (the answer in front of the commit in db_writer.c): three seeds of three failed, before the second kill.
"""
import argparse
import errno
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent / "tools")]

import sqlgen  # noqa: E402
from client import Client, Gone, Wire, Wrong  # noqa: E402
from disk import Disk, killed  # noqa: E402
from helpers import process, where  # noqa: E402
from helpers.waiting import wait_until  # noqa: E402

MUTATIONS = {"wal-sync": "slipway.db-wal", "blob-sync": "/blobs/"}
# Of a hundred kills.
KINDS = {"kill": 30, "point": 25, "start": 15, "fault": 16, "first": 7, "migrate": 7}
# Call, errno, word in the path. A failed fsync loses what it should have written, and the next one does not tell.
FAULTS = [("write", errno.ENOSPC, ""), ("write", errno.EIO, ""), ("write", errno.ENOSPC, "/blobs/"), ("write", errno.EIO, "slipway.db-wal"),
          ("fdatasync", errno.EIO, ""), ("fdatasync", errno.EIO, "slipway.db-wal"), ("fsync", errno.EIO, ""), ("rename", errno.EIO, ""),
          ("open", errno.EIO, "/blobs/"), ("open", errno.ENOSPC, "/blobs/tmp/"), ("mkdir", errno.ENOSPC, ""), ("truncate", errno.EIO, ""),
          ("unlink", errno.EIO, "")]
LEASE_S = 300


class Crash:
    def __init__(self, seed: int, folder: Path, clients: int, stacks: int, mutation=None):
        self.rng, self.folder, self.deaf = random.Random(seed), folder, MUTATIONS.get(mutation)
        self.data = folder / "data"
        self.library = where.build() / "tests/fault/libinject.so"
        self.disk = Disk(self.data, folder, self.library)
        self.clock = process.Clock(folder / "clock")
        self.clients = [Client(i, stacks, random.Random(f"{seed}/{i}")) for i in range(clients)]
        self.token, self.server, self.undo, self.start_calls = None, None, False, 8
        self.faulty = False
        self.count = dict.fromkeys([*KINDS, "power cuts", "changes lost", "faults hit", "requests failed", "leases ended", "were ready before their point"], 0)

    # ---- the server ----------------------------------------------------------------------------------------------
    def start(self, data=None, undo=False, die_at=0, tear=False) -> bool:
        """Starts it; False if it died on the way, as planned."""
        data = data or self.data
        self.undo = undo
        disk = self.disk if data == self.data else Disk(data, data.parent, self.library)
        env = disk.environment(undo) if undo or die_at else {}
        disk.plan(die_at, tear, self.deaf)
        self.server = process.Server(self.folder / "server" if data == self.data else data.parent / "server", command="serve", data=data,
                                     clock=self.clock, wait=False, env=env)
        self.server.disk = disk
        try:
            self.server.wait_ready(60)
            return True
        except AssertionError:
            if die_at and killed(self.server.process):
                return False
            raise

    def start_past(self, data, undo, die_at):
        """Starts it, again if it died at that point. A point that did not come until it was ready is none any more: it would
        come in the midst of what is done with the server then."""
        ready = self.start(data, undo, die_at=die_at, tear=self.rng.random() < 0.5)
        if ready:
            self.server.disk.plan(0, False, self.deaf)
        if not ready or killed(self.server.process):
            self.kill(self.rng)
            self.start(data)

    def kill(self, rng) -> None:
        self.server.kill(descendants=False)
        if self.undo:
            lost = self.server.disk.cut_power(rng)
            self.count["power cuts"] += 1
            self.count["changes lost"] += lost

    def sign_in(self):
        """The user and their token; the first time they are made."""
        if not self.token:
            self.server.admin("user", "add", "tester", "--org", "acme", "--role", "admin") if self.server.admin("org", "add", "acme") else None
            self.token = self.server.admin("token", "create", "--user", "tester").stdout.strip()
        for client in self.clients:
            client.wire = Wire(self.server.port, self.token)

    # ---- in parallel -----------------------------------------------------------------------------------------------
    @contextmanager
    def each(self, work):
        """Runs work(client) for all clients beside the body; the first exception that is not Gone is raised."""
        errors = []

        def run(client):
            try:
                work(client)
            except Gone:
                pass
            except BaseException as e:
                errors.append(e)
            client.alive = False
        for client in self.clients:
            client.alive = True
        threads = [threading.Thread(target=run, args=(c,)) for c in self.clients]
        for t in threads:
            t.start()
        try:
            yield
        except BaseException:
            self.server.process.kill()
            raise
        finally:
            for t in threads:
                t.join()
            if errors:
                raise errors[0]

    def together(self, work):
        """While nobody kills the server: no answer is an error, and not the end of the comparison."""
        def answered(client):
            try:
                work(client)
            except Gone as e:
                raise Wrong(f"no answer: {e}\n{self.server.stderr()[-3000:]}") from None
        with self.each(answered):
            pass

    def settle(self):
        self.together(lambda client: [client.settle(s) for s in client.stacks])

    def break_disk(self, rng):
        """Some faults, one after the other; after each one the server must work again by itself."""
        for _ in range(rng.randint(2, 4)):
            call, error, word = rng.choice(FAULTS)
            before = sum(c.wire.failed for c in self.clients)
            self.faulty = True
            self.disk.fail(call, error, word, skip=rng.choice((0, 0, rng.randint(1, 20))), times=rng.choice((1, 1, 3, -1)))
            time.sleep(rng.uniform(0.05, 0.3))
            self.count["faults hit"] += self.disk.hits(call)
            self.disk.heal()
            self.faulty = False
            self.count["requests failed"] += sum(c.wire.failed for c in self.clients) - before
            self.wait_for_work(f"{call} had failed with {errno.errorcode[error]} {word}")

    def wait_for_work(self, after):
        before, deadline = [c.acknowledged for c in self.clients], time.monotonic() + 20
        while any(c.acknowledged == n and c.alive for c, n in zip(self.clients, before)):
            if time.monotonic() > deadline or self.server.process.poll() is not None:
                raise Wrong(f"no write is taken after {after}:\n{self.server.stderr()[-3000:]}")
            time.sleep(0.01)

    # ---- one kill ------------------------------------------------------------------------------------------------
    def round(self, kind: str):
        rng, undo = self.rng, self.rng.random() < 0.5
        self.count[kind] += 1
        if kind in ("first", "migrate"):
            getattr(self, kind)(undo)
            return
        if kind == "start":
            # Its recovery has something to do: the former server was killed under load, too.
            if self.start(undo=undo, die_at=rng.randint(1, self.start_calls), tear=rng.random() < 0.5):
                self.count["were ready before their point"] += 1
            self.kill(rng)
        point = rng.randint(1, 600) if kind == "point" else 0
        if not self.start(undo=undo or kind in ("point", "fault")):
            raise Wrong("the server did not start")
        self.sign_in()
        self.settle()
        self.end_leases()
        self.server.disk.plan(point and self.server.disk.calls + point, rng.random() < 0.5, self.deaf) if point or undo else None
        with self.each(lambda client: client.work(lambda: self.faulty)):
            if point:
                deadline = time.monotonic() + 20
                while self.server.process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.005)
            elif kind == "fault":
                self.break_disk(rng)
            else:
                time.sleep(rng.uniform(0.02, 1.2))
            self.kill(rng)

    def end_leases(self):
        """The clients of all running updates have vanished: the server ends them by itself."""
        if self.rng.random() > 0.15 or not where.has_test_clock():
            return
        import model
        self.clock.advance(LEASE_S + 100)
        self.count["leases ended"] += 1
        for client in self.clients:
            for stack in client.stacks:
                if stack.state["open"]:
                    deadline = time.monotonic() + 30
                    while client.wire.get(stack.path()).get("currentOperation") and time.monotonic() < deadline:
                        time.sleep(0.02)
                    stack.done(model.end("failed"))
        self.settle()

    def first(self, undo):
        """A first start: afterwards the folder is as good as new, or as good as set up."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        data = folder / "data"
        self.start_past(data, undo, self.rng.randint(1, 130))
        self.server.admin("user", "add", "somebody")
        self.server.kill(descendants=False)
        shutil.rmtree(folder)

    def migrate(self, undo):
        """The data of the load in tables of an older schema, as a former release left them."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        data = folder / "data"
        shutil.copytree(self.data, data, ignore=shutil.ignore_patterns("*.sock", "*-shm"))
        left = downgrade(data / "slipway.db", self.rng)
        self.start_past(data, undo, self.rng.randint(1, 60 + 20 * left))
        ports = [(c, c.wire) for c in self.clients]
        for client in self.clients:
            client.wire = Wire(self.server.port, self.token)
        try:
            self.compare_old()
        finally:
            for client, wire in ports:
                client.wire = wire
        self.server.kill(descendants=False)
        shutil.rmtree(folder)

    def compare_old(self):
        """Reads alone: the stacks' own candidates stay as they are."""
        def look(client):
            for stack in client.stacks:
                candidates, resend, stack.resend = list(stack.candidates), stack.resend, None
                ciphers = list(client.ciphers[id(stack)])
                # What an update by deltas has saved has no place in the older schemas.
                if not any(c["open"] and c["open"]["way"] == "delta" for c in candidates):
                    client.settle(stack)
                stack.candidates, stack.resend, client.ciphers[id(stack)] = candidates, resend, ciphers
        self.together(look)

    # ---- all of it -----------------------------------------------------------------------------------------------
    def run(self, kills: int):
        self.start()
        self.sign_in()
        self.server.kill(descendants=False)
        # Some of each kind however few there are, the rest at random.
        plan = self.rng.choices(list(KINDS), list(KINDS.values()), k=kills)
        plan[:len(KINDS)] = ["kill", "point", "start", "fault", "first", "migrate"][:kills]
        for number, kind in enumerate(plan, 1):
            try:
                self.round(kind)
            except Wrong as e:
                raise Wrong(f"kill {number} ({kind}): {e}") from None
            if number % 20 == 0:
                print(f"  {number} kills, {sum(c.acknowledged for c in self.clients)} writes acknowledged", flush=True)
        self.start()
        self.sign_in()
        self.settle()
        self.together(lambda client: [client.finish(s) for s in client.stacks])
        self.server.admin("verify")
        left = self.look_at_files()
        if left and where.has_test_clock():
            wait_until(self.is_swept, 60, "the sweep of blobs that nobody names")
            self.server.admin("verify")
        self.server.stop()
        self.look_at_files()
        return left

    def is_swept(self) -> bool:
        """A day later, and at the second look of the sweep (src/state/blob_sweep.c)."""
        for seconds in (26 * 3600, 11 * 60):
            self.clock.advance(seconds)
            time.sleep(0.5)
        return self.look_at_files() == 0

    def look_at_files(self) -> int:
        """From outside: the database is whole, and every blob that a row names is there. How many nobody names."""
        db = sqlite3.connect(self.data / "slipway.db")
        for check in ("PRAGMA integrity_check", "PRAGMA foreign_key_check"):
            rows = db.execute(check).fetchall()
            if rows not in ([], [("ok",)]):
                raise Wrong(f"{check}: {rows[:5]}")
        named = {key for key, in db.execute("SELECT blob_key FROM checkpoints WHERE blob_key IS NOT NULL")}
        db.close()
        there = {f.name for f in (self.data / "blobs").glob("??/??/*")}
        if named - there:
            raise Wrong(f"blobs are missing: {sorted(named - there)[:5]}")
        return len(there - named)


def downgrade(file: Path, rng) -> int:
    """Puts the rows into the tables of an older schema. How many migrations are left to do."""
    migrations = sqlgen.read_migrations(HERE.parent.parent / "sql/migrations")
    keep = rng.randint(4, len(migrations) - 1)
    old = file.with_suffix(".old")
    db = sqlite3.connect(old, isolation_level=None)
    db.executescript("PRAGMA foreign_keys = OFF; PRAGMA journal_mode = WAL;")
    db.execute(f"ATTACH '{file}' AS new")
    for m in migrations[:keep]:
        db.executescript(m.sqlite)
    db.execute("CREATE TABLE schema_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, applied_us INTEGER NOT NULL) STRICT")
    db.execute("BEGIN")
    tables = [name for name, in db.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")]
    for table in tables:
        has = {row[1] for row in db.execute(f"PRAGMA new.table_info({table})")}
        common = ", ".join(row[1] for row in db.execute(f"PRAGMA main.table_info({table})") if row[1] in has)
        some = f"WHERE version <= {migrations[keep - 1].version}" if table == "schema_migrations" else ""
        if common:
            db.execute(f"INSERT INTO main.{table} ({common}) SELECT {common} FROM new.{table} {some}")
    db.execute("COMMIT")
    db.execute("PRAGMA main.wal_checkpoint(TRUNCATE)")
    db.execute("DETACH new")
    db.close()
    for end in ("", "-wal", "-shm"):
        Path(str(file) + end).unlink(missing_ok=True)
        Path(str(old) + end).unlink(missing_ok=True) if end else None
    old.rename(file)
    return len(migrations) - keep


def main() -> int:
    parse = argparse.ArgumentParser()
    parse.add_argument("--kills", type=int, default=int(os.environ.get("CRASH_KILLS", "200")))
    parse.add_argument("--seed", type=int, default=int(os.environ.get("CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31))
    parse.add_argument("--clients", type=int, default=6)
    parse.add_argument("--stacks", type=int, default=5, help="of each client")
    parse.add_argument("--mutate", choices=list(MUTATIONS))
    options = parse.parse_args()
    print(f"crash test: seed {options.seed}, {options.kills} kills, {options.clients * options.stacks} stacks, {where.build()}", flush=True)
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="slipway-crash.")).resolve()
    crash = Crash(options.seed, folder, options.clients, options.stacks, options.mutate)
    try:
        orphans = crash.run(options.kills)
    except (Wrong, AssertionError) as e:
        print(f"FAILED with seed {options.seed}: {e}\nthe server's folder is {folder}", flush=True)
        for program in list(process.running):
            program.kill(descendants=False)
        return 1
    print(f"{options.kills} kills in {time.monotonic() - began:.0f} s: {sum(c.acknowledged for c in crash.clients)} writes acknowledged, 0 lost, 0 corrupt; "
          f"{sum(c.unsure for c in crash.clients)} without an answer, each done whole or not at all; every stack takes updates")
    print("  " + ", ".join(f"{name} {n}" for name, n in crash.count.items()) + f", blobs that nobody named, and that were swept {orphans}")
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
