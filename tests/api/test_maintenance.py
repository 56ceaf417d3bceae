"""`slipway admin backup|restore|verify|export`: of a running server, and of a folder."""
import json
import random
import sqlite3
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest
from helpers import where

import test_drift_runs as drift_runs
from test_state import SECRETS, apply, begin, created, journal, names, resource
from test_versions import state


@pytest.fixture
def site(own, stack):
    """A server with a bit of everything: (server, api, path of the stack)."""
    server = own(command="serve")
    server.admin("org", "add", "acme")
    api = server.user("operator", role="admin")
    path = api.create_stack(stack)
    apply(api, path, resource(path, "small", 1))
    api.post(f"{path}/import", state(resource(path, "large", random.Random(4).randbytes(300_000).hex())))
    preview, lease = drift_runs.begin(api, path)
    drift_runs.send(lease, preview, drift_runs.change(0, old={"a": 1}, new={"a": 2}))
    drift_runs.finish(lease, preview)
    api.settings(stack, {"sourceContext": {"git": {"repoUrl": "https://example.invalid/x.git"}}, "operationContext": {"environmentVariables": {"K": {"secret": "hidden"}}}})
    api.post(f"{path}/deployments/pause")
    api.deploy(stack, "preview")
    return server, api, path


def data(server):
    return server.folder / "data"


def admin(folder, *arguments, expect=0):
    done = subprocess.run([str(where.build() / "slipway"), "admin", *map(str, arguments), "--data", str(folder)], capture_output=True, text=True, timeout=120)
    assert done.returncode == expect, (done.returncode, done.stdout, done.stderr)
    return done


def test_backup_and_restore(site, own, tmp_path, stack):
    server, api, path = site
    sealed = api.post(f"{path}/encrypt", {"plaintext": "aGk="})["ciphertext"]
    before = api.call("GET", f"{path}/export").content
    file = tmp_path / "today.backup"
    assert admin(data(server), "backup", file).stdout == f"{file}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [f.name for f in tmp_path.iterdir() if "today" in f.name] == ["today.backup"], "nothing else is left there"
    assert "already" in admin(data(server), "backup", file, expect=1).stderr
    # Made after the backup, and so not in it.
    api.post(f"{path}/import", state())
    restored = tmp_path / "restored" / "data"
    assert admin(restored, "restore", file).stdout == f"{restored}\n"
    assert admin(restored, "verify").stdout == ""
    again = own(command="serve", folder=tmp_path / "restored", data=restored)
    api = again.api(api.token)
    assert api.call("GET", f"{path}/export").content == before
    assert api.post(f"{path}/decrypt", {"ciphertext": sealed})["plaintext"] == "aGk="
    assert api.get(f"{path}/deployments")["total"] == 1
    update, lease = begin(api, path)
    journal(lease, update, [SECRETS])
    lease.post(f"{update}/complete", {"status": "succeeded"})


def test_any_tar_reads_a_backup(site, tmp_path):
    server, _, _ = site
    admin(data(server), "backup", tmp_path / "b.tar")
    with tarfile.open(tmp_path / "b.tar") as archive:
        members = archive.getnames()
        assert members[:3] == ["slipway-backup.json", "slipway.db", "master.key"] and all(m.startswith("blobs/") for m in members[3:])
        assert len(members) == 4
        assert json.load(archive.extractfile("slipway-backup.json"))["format"] == 1


def test_backup_of_a_stopped_server(site, tmp_path):
    server, _, _ = site
    server.stop()
    admin(data(server), "backup", tmp_path / "b")
    admin(tmp_path / "new", "restore", tmp_path / "b")
    assert "0 problems" in admin(tmp_path / "new", "verify").stderr


def test_backups_under_load(site, own, tmp_path):
    """States come and go, in rows and in blobs, while several backups are made: each of them is whole."""
    server, api, path = site
    stop, failures = threading.Event(), []

    def load(n):
        noise = random.Random(n)
        mine = api.create_stack(f"acme/load/s{n}")
        while not stop.is_set():
            try:
                update, lease = begin(api, mine, journal=0)
                for size in (90_000, 300_000, 90_000, 300_000):  # each takes the place of the one before, whose blob goes
                    lease.ok("PATCH", f"{update}/checkpoint", {"isInvalid": False, **state(resource(mine, "a", noise.randbytes(size).hex()))})
                lease.post(f"{update}/complete", {"status": "succeeded"})
            except Exception as e:  # noqa: BLE001: whatever it is fails the test
                failures.append(e)
                return

    workers = [threading.Thread(target=load, args=(n,)) for n in range(3)]
    for w in workers:
        w.start()
    try:
        for n in range(4):
            admin(data(server), "backup", tmp_path / f"b{n}")
            assert admin(data(server), "verify").stdout == "", "what is replaced meanwhile is no damage"
    finally:
        stop.set()
        for w in workers:
            w.join()
    assert not failures, failures[0]
    for n in range(4):
        admin(tmp_path / f"r{n}", "restore", tmp_path / f"b{n}")
        assert admin(tmp_path / f"r{n}", "verify").stdout == ""
    assert admin(data(server), "verify").stdout == ""


def test_backups_during_rotations(site, tmp_path):
    """The master key in a backup opens the database in it, whenever the key is replaced."""
    server, api, path = site
    noise = random.Random(5)
    for _ in range(40):  # in rows: copying the database takes a while
        api.post(f"{path}/import", state(resource(path, "wide", noise.randbytes(30_000).hex())))
    stop, done = threading.Event(), []

    def rotate():
        while not stop.is_set():
            done.append(server.admin("key", "rotate").stdout)

    rotating = threading.Thread(target=rotate)
    rotating.start()
    try:
        for n in range(8):
            admin(data(server), "backup", tmp_path / f"b{n}")
            assert admin(data(server), "verify").stdout == "", "what is replaced meanwhile is no damage"
    finally:
        stop.set()
        rotating.join()
    assert len(done) > 8, "the rotations were as quick as the backups"
    for n in range(8):
        admin(tmp_path / f"r{n}", "restore", tmp_path / f"b{n}")
        assert admin(tmp_path / f"r{n}", "verify").stdout == ""


@pytest.mark.parametrize("damage, words", [
    (lambda b: b[:-2000], "ends too early"),
    (lambda b: b[:600] + b"x" + b[601:], "damaged"),
    (lambda b: b.replace(b"SQLite format 3", b"SQLite format 4", 1), "slipway.db in it is damaged"),
    (lambda b: b"not a backup at all", "ends too early"),
    (lambda b: b.replace(b"master.key", b"../../evil", 1), "damaged"),
], ids=["cut", "header", "database", "no backup", "path"])
def test_a_damaged_backup_leaves_nothing(site, tmp_path, damage, words):
    server, _, _ = site
    admin(data(server), "backup", tmp_path / "b")
    (tmp_path / "bad").write_bytes(damage((tmp_path / "b").read_bytes()))
    assert words in admin(tmp_path / "new", "restore", tmp_path / "bad", expect=1).stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "blobs/../../../evil", "blobs/ab/cd/" + "e" * 64, "slipway.sock", "blobs/" + "a" * 70])
def test_an_archive_cannot_write_elsewhere(site, tmp_path, name):
    """Whole headers, right sums: what does not belong into a data folder is refused by its name."""
    server, _, _ = site
    admin(data(server), "backup", tmp_path / "b")
    with tarfile.open(tmp_path / "b") as good, tarfile.open(tmp_path / "bad", "w", format=tarfile.USTAR_FORMAT) as bad:
        for member in good.getmembers():
            content = good.extractfile(member)
            member.name = name if member.name == "master.key" else member.name
            bad.addfile(member, content)
    assert "does not belong there" in admin(tmp_path / "new" / "data", "restore", tmp_path / "bad", expect=1).stderr
    assert not (tmp_path / "evil").exists() and not (tmp_path / "new" / "data").exists()


def test_restore_overwrites_nothing(site, tmp_path):
    server, _, _ = site
    admin(data(server), "backup", tmp_path / "b")
    assert "not empty" in admin(data(server), "restore", tmp_path / "b", expect=1).stderr
    (tmp_path / "empty").mkdir()
    admin(tmp_path / "empty", "restore", tmp_path / "b")
    assert "No such file" in admin(tmp_path / "x", "restore", tmp_path / "nothing", expect=1).stderr


def test_backup_needs_a_place(site, tmp_path):
    server, api, _ = site
    (tmp_path / "plain").write_text("a file")
    for place, words in ((tmp_path / "no" / "such", "there is no folder"), (tmp_path / "plain", "there is no folder"), (Path("/proc"), "may not write"),
                         (tmp_path, "too long")):
        name = "b" * 300 if words == "too long" else "b"
        said = api.refused(400, "POST", "/api/site/backup", {"file": str(place / name)}, names=words)
        assert str(place) in said, said
    assert f"there is no folder {tmp_path}/no/such" in admin(data(server), "backup", tmp_path / "no" / "such" / "b", expect=1).stderr
    assert sorted(f.name for f in tmp_path.iterdir() if f.is_file()) == ["plain"]
    api.refused(400, "POST", "/api/site/backup", {"file": "relative"}, names="/file")


def test_maintenance_is_for_site_administrators(site):
    server, _, _ = site
    member = server.user("second")
    for path in ("backup", "verify"):
        member.refused(403, "POST", f"/api/site/{path}", {"file": "/tmp/x"})


# ---- verify ------------------------------------------------------------------------------------------------------
def test_nothing_is_wrong(site):
    server, api, path = site
    update, lease = begin(api, path)
    journal(lease, update, [SECRETS, *created(2, 1, resource(path, "running", 1))])
    done = admin(data(server), "verify")
    assert done.stdout == "" and "2 organizations, 1 stacks, 2 states, 2 journals" in done.stderr and "0 problems" in done.stderr
    looked = json.loads(admin(data(server), "verify", "--json").stdout)
    assert looked["problems"] == [] and looked["looked"]["settings"] == 3 and looked["looked"]["driftRuns"] == 1


DAMAGES = {
    "blob gone": (lambda d, c: next(f for f in (d / "blobs").rglob("*") if f.is_file()).unlink(), "the state of version 2"),
    "blob changed": (lambda d, c: next(f for f in (d / "blobs").rglob("*") if f.is_file()).write_bytes(b"x" * 100), "has another hash"),
    "state cut": (lambda d, c: c.execute("UPDATE checkpoints SET body = substr(body, 1, 50) WHERE body IS NOT NULL"), "the state of version 1"),
    "state flipped": (lambda d, c: flip(c, "checkpoints", "body"), "the state of version 1"),
    "size": (lambda d, c: c.execute("UPDATE checkpoints SET size_bytes = 7 WHERE body IS NOT NULL"), "should have 7"),
    "resources": (lambda d, c: c.execute("UPDATE checkpoints SET resource_count = 7"), "should have 7"),
    "newest state": (lambda d, c: c.execute("UPDATE stacks SET checkpoint_id = 'lost'"), "newest state is missing"),
    "stack key": (lambda d, c: c.execute("UPDATE stacks SET data_key = x'00'"), "its key does not open"),
    "every organization's key": (lambda d, c: c.execute("UPDATE orgs SET data_key = x'00'"), "organization acme"),
    "organization key": (lambda d, c: c.execute("UPDATE orgs SET data_key = x'00' WHERE name = 'acme'"), "organization acme"),
    "journal": (lambda d, c: c.execute("UPDATE journal_batches SET body = x'1f8b'"), "journal"),
    "events": (lambda d, c: c.execute("UPDATE event_batches SET body = x'1f8b'"), "events"),
    "drift": (lambda d, c: flip(c, "drift_runs", "resources"), "drift run"),
    "settings": (lambda d, c: c.execute("UPDATE deployment_settings SET document = '{'"), "deployment settings"),
    "sealed setting": (lambda d, c: c.execute("UPDATE deployments SET settings = '{\"x\":{\"$sealed\":\"AAAA\"}}'"), "settings of deployment"),
}


def flip(c, table, column):
    for rowid, body in c.execute(f"SELECT rowid, {column} FROM {table} WHERE {column} IS NOT NULL").fetchall():
        middle = len(body) // 2
        c.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (body[:middle] + bytes([body[middle] ^ 4]) + body[middle + 1:], rowid))


@pytest.mark.parametrize("kind", DAMAGES)
def test_what_is_wrong_is_named(site, kind):
    server, api, path = site
    update, lease = begin(api, path)
    journal(lease, update, [SECRETS])
    lease.post(f"{update}/events/batch", {"events": [{"sequence": 0, "timestamp": 1, "preludeEvent": {"config": {}}}]})
    server.stop()
    harm, words = DAMAGES[kind]
    with sqlite3.connect(data(server) / "slipway.db") as c:
        harm(data(server), c)
    c.close()
    done = admin(data(server), "verify", expect=1)
    assert words in done.stdout, done.stdout


def test_verify_of_nothing(tmp_path):
    assert "no data of a server" in admin(tmp_path / "nothing", "verify", expect=1).stderr
    assert not (tmp_path / "nothing").exists()


# ---- export ------------------------------------------------------------------------------------------------------
def test_export(site, tmp_path, stack):
    server, api, path = site
    other = api.create_stack("acme/second/prod")
    folder = tmp_path / "out"
    done = admin(data(server), "export", folder)
    org, project, name = stack.split("/")
    assert set(done.stdout.split()) == {str(folder / org / project / f"{name}.json"), str(folder / "acme/second/prod.json")}
    file = folder / org / project / f"{name}.json"
    assert file.read_bytes() == api.call("GET", f"{path}/export").content and file.stat().st_mode & 0o777 == 0o600
    api.ok("POST", f"{other}/import", data=file.read_bytes())
    assert names(api, other) == ["large"]
