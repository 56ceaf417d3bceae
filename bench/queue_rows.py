"""Rows of ready-made deployments, for figures about many of them: made over HTTP a hundred thousand take ten minutes."""
import contextlib
import random
import sqlite3
import uuid

STATUSES = ("succeeded",) * 80 + ("failed",) * 12 + ("skipped",) * 7 + ("not-started",)


def fill(database, org, count, stacks):
    """Puts deployments over the organization's stacks, while no server runs; the last ones wait in the queue. Their shape is that of
    rows which a server wrote: one of them is copied."""
    rng = random.Random(3)
    with contextlib.closing(sqlite3.connect(database)) as c, c:
        pattern = dict(zip(*columns(c, "SELECT * FROM deployments WHERE org_id = (SELECT id FROM orgs WHERE name = ?) LIMIT 1", org)))
        ids = [r[0] for r in c.execute("SELECT id FROM stacks WHERE org_id = ? ORDER BY id", (pattern["org_id"],))][:stacks]
        version = dict(c.execute("SELECT stack_id, MAX(version) FROM deployments GROUP BY stack_id"))
        number = c.execute("SELECT MAX(org_number) FROM deployments WHERE org_id = ?", (pattern["org_id"],)).fetchone()[0]
        names = list(pattern)
        insert = f"INSERT INTO deployments ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        for i in range(count):
            stack, status = rng.choice(ids), rng.choice(STATUSES) if i < count - count // 50 else "not-started"
            version[stack] = version.get(stack, 0) + 1
            us = pattern["created_us"] + i
            over = status != "not-started"
            row = {**pattern, "id": ordered_id(us, i), "stack_id": stack, "version": version[stack], "org_number": number + 1 + i, "status": status,
                   "created_us": us, "modified_us": us, "ended_us": us if over else None, "log_removed_us": us if over else None,
                   "started_us": us if status in ("succeeded", "failed") else None}
            c.execute(insert, [row[n] for n in names])
            if row["started_us"]:
                c.executemany("INSERT INTO deployment_steps (deployment_id, step, name, status, started_us, updated_us) VALUES (?, ?, ?, 'succeeded', ?, ?)",
                              [(row["id"], n, name, us, us) for n, name in enumerate(("Setup", "Get source", "pulumi update"))])
        c.execute("DELETE FROM deployment_counts")
        c.execute("INSERT INTO deployment_counts SELECT org_id, org_number / 1000, status, COUNT(*) FROM deployments GROUP BY 1, 2, 3")


def columns(c, statement, *arguments):
    found = c.execute(statement, arguments)
    row = found.fetchone()
    return [d[0] for d in found.description], row


def ordered_id(us, i):
    """A UUIDv7 of that time; i keeps those of one millisecond apart."""
    head = us // 1000 << 16 | 0x7000 | i % 4096
    return str(uuid.UUID(int=head << 64 | 0x8 << 60 | i))
