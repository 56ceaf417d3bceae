"""A disk that is full or broken under a running server: what clients, /readyz and the log are told, and what stays.

Every fault is one call that fails (inject.c). Requests get an error and never a false success, what was acknowledged stays,
the server lives on and works again when the fault is gone, without a new start.
"""
import errno
import re
import time

import pytest
from disk import Disk
from helpers import process, where
from helpers.waiting import wait_until

MAGIC = {"time": "2026-01-01T00:00:00Z", "magic": "", "version": ""}

# Call, errno, word in the path, the status that is answered.
FAULTS = [
    ("write", errno.ENOSPC, "", 507),
    ("write", errno.EIO, "", 500),
    ("write", errno.ENOSPC, "/blobs/", 507),
    ("write", errno.ENOSPC, "slipway.db-wal", 507),
    ("fdatasync", errno.EIO, "slipway.db-wal", 500),
    ("fsync", errno.EIO, "/blobs/", 500),
    ("fsync", errno.ENOSPC, "/blobs/", 507),
    ("rename", errno.EIO, "/blobs/", 500),
    ("open", errno.EIO, "/blobs/", 500),
    ("open", errno.ENOSPC, "/blobs/tmp/", 507),
]


def document(size, name="a"):
    value = "".join(f"{i * 2654435761 % 4294967296:08x}" for i in range(size // 8))
    return {"version": 3, "deployment": {"manifest": MAGIC, "resources": [
        {"urn": f"urn:pulumi:dev::p::pulumi:index:Stash::{name}", "custom": True, "id": name, "type": "pulumi:index:Stash", "inputs": {"input": value}}]}}


SMALL, LARGE = document(100, "small"), document(800_000, "large")  # in a row, in a blob


class Site:
    """`slipway serve` on a disk of ours, with one stack that has a small state."""

    def __init__(self, folder):
        self.folder = folder.resolve()
        self.data = self.folder / "data"
        self.disk = Disk(self.data, self.folder, where.build() / "tests/fault/libinject.so")
        self.server = self.start()
        self.server.admin("org", "add", "acme")
        self.server.admin("user", "add", "tester", "--org", "acme", "--role", "admin")
        self.token = self.server.admin("token", "create", "--user", "tester").stdout.strip()
        self.path = self.api.create_stack("acme/p/dev")
        self.api.post(f"{self.path}/import", SMALL)

    def start(self, **more):
        return process.Server(self.folder / "server", command="serve", data=self.data, env=self.disk.environment(), **more)

    @property
    def api(self):
        return self.server.api(self.token)

    def put(self, body):
        return self.api.call("POST", f"{self.path}/import", body)

    def ready(self):
        return self.server.api("").call("GET", "/readyz")

    def wait_quiet(self):
        """Until the work behind the last request is done (events, the index of resources): it would meet the fault instead."""
        wal, seen = self.data / "slipway.db-wal", []

        def still():
            stat = wal.stat()
            seen.append((time.monotonic(), stat.st_size, stat.st_mtime_ns))
            return next(at for at, *rest in seen if rest == list(seen[-1][1:])) < time.monotonic() - 1

        wait_until(still, 30, "the writing in the background to end")

    def errors(self) -> list:
        return re.findall(r" (error [^\n]*)", self.server.stderr())


@pytest.fixture
def site(tmp_path):
    one = Site(tmp_path)
    yield one
    one.disk.heal()
    if not one.server.stopped:
        one.server.stop()


@pytest.mark.parametrize("call, error, word, status", FAULTS, ids=[f"{c}-{errno.errorcode[e]}-{w.strip('/') or 'all'}" for c, e, w, _ in FAULTS])
def test_a_fault_that_stays(site, call, error, word, status):
    assert site.ready().status_code == 200
    site.disk.fail(call, error, word)
    for _ in range(3):
        answer = site.put(LARGE)
        assert answer.status_code == status and answer.json()["code"] == status, answer.text
        assert answer.json()["message"].startswith({500: "Internal Server Error: ", 507: "Insufficient Storage: "}[status])
    assert site.disk.hits(call) >= 3

    # /readyz tells the truth, and the process lives; what is read is read.
    answer = site.ready()
    assert answer.status_code == 503 and "cannot be written" in answer.json()["message"], answer.text
    assert site.server.api("").call("GET", "/healthz").status_code == 200
    assert site.api.get(f"{site.path}/export") == SMALL and site.api.get(site.path)["version"] == 1
    # The log says once what is wrong.
    assert len(site.errors()) == 1 and "cannot be written" in site.errors()[0], site.errors()

    site.disk.heal()
    wait_until(lambda: site.ready().status_code == 200, 10, "the server to be ready again")
    site.server.wait_stderr("can be written again", 10)
    assert site.put(LARGE).status_code == 200
    assert site.api.get(f"{site.path}/export") == LARGE and site.api.get(site.path)["version"] == 2
    assert len(site.errors()) == 1, site.errors()

    site.server.kill()
    site.server = site.start()
    assert site.api.get(f"{site.path}/export") == LARGE and site.api.get(f"{site.path}/export/1") == SMALL


@pytest.mark.parametrize("call, word", [("fdatasync", "slipway.db-wal"), ("fsync", "/blobs/"), ("write", "slipway.db-wal")])
def test_a_fault_that_passes(site, call, word):
    """One call fails: one request is told, and the server is as ready as before."""
    site.wait_quiet()
    site.disk.fail(call, errno.EIO, word, times=1)
    assert site.put(LARGE).status_code == 500
    assert site.ready().status_code == 200
    assert site.api.get(f"{site.path}/export") == SMALL
    assert site.put(LARGE).status_code == 200
    assert len(site.errors()) == 1 and "again" not in site.server.stderr(), site.server.stderr()


def test_a_journal_on_a_full_disk(site):
    """As the CLI: a batch that was refused is sent again, and is there once."""
    made = site.api.post(f"{site.path}/update", {"name": "p", "runtime": "yaml", "config": {}, "options": {}, "metadata": {}})
    update = f"{site.path}/update/{made['updateID']}"
    lease = site.api.with_token(site.api.post(update, {"journalVersion": 1})["token"], "update-token")
    state = document(100, "b")["deployment"]["resources"][0]
    entries = {"entries": [{"version": 1, "kind": 1, "sequenceID": 1, "operationID": 1, "removeOld": None, "removeNew": None, "state": state}]}
    site.disk.fail("write", errno.ENOSPC)
    lease.refused(507, "PATCH", f"{update}/journalentries", entries)
    lease.refused(507, "POST", f"{update}/complete", {"status": "succeeded"})
    assert [r["id"] for r in site.api.get(f"{site.path}/export")["deployment"]["resources"]] == ["small"]
    site.disk.heal()
    lease.ok("PATCH", f"{update}/journalentries", entries)
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert [r["id"] for r in site.api.get(f"{site.path}/export")["deployment"]["resources"]] == ["b", "small"]


def test_background_work_on_a_full_disk(tmp_path, clock):
    """A lease that ends meanwhile: the work is tried again and again, and said once."""
    if not where.has_test_clock():
        pytest.skip("a build without a test clock")
    site = Site(tmp_path)
    site.server.stop()
    site.server = site.start(clock=clock)
    made = site.api.post(f"{site.path}/update", {"name": "p", "runtime": "yaml", "config": {}, "options": {}, "metadata": {}})
    site.api.post(f"{site.path}/update/{made['updateID']}", {"journalVersion": 1})
    site.disk.fail("write", errno.ENOSPC)
    for _ in range(5):
        clock.advance(400)
        before = site.disk.hits("write")
        wait_until(lambda: site.disk.hits("write") > before, 10, "a further attempt")
    assert site.ready().status_code == 503
    assert len(site.errors()) == 1, site.errors()
    site.disk.heal()
    clock.advance(400)
    wait_until(lambda: not site.api.get(site.path).get("currentOperation"), 10, "the update's end")
    site.server.stop()


def test_start_on_a_full_disk(tmp_path):
    folder = tmp_path.resolve()
    disk = Disk(folder / "data", folder, where.build() / "tests/fault/libinject.so")
    disk.fail("write", errno.ENOSPC)
    run = process.run_slipway(folder, "serve", "--data", folder / "data", "--listen", "127.0.0.1:0", env=disk.environment())
    assert run.returncode == 1 and "No space left on device" in run.stderr, (run.returncode, run.stderr)
    disk.heal()
    server = process.Server(folder / "server", command="serve", data=folder / "data", env=disk.environment())
    server.admin("user", "add", "tester")
    server.stop()


@pytest.mark.parametrize("call, error, status", [
    ("write", errno.ENOSPC, 507), ("write", errno.EIO, 500), ("fsync", errno.EIO, 500), ("rename", errno.EIO, 500), ("open", errno.ENOSPC, 507)],
    ids=lambda v: errno.errorcode.get(v, v) if isinstance(v, int) and v < 200 else str(v))
@pytest.mark.parametrize("size", [1000, 3_000_000])
def test_an_archive_of_the_cache(site, call, error, status, size):
    """The one that was there stays, and what failed leaves nothing behind."""
    path = f"{site.path}/deployments/cache/url"

    def send(content):
        url = site.api.post(path, {"method": "PUT", "key": "k"})["url"]
        return site.server.api("").call("PUT", url.removeprefix(site.server.url), data=content)

    def content():
        url = site.api.post(path, {"method": "GET", "key": "k"})["url"]
        return site.server.api("").call("GET", url.removeprefix(site.server.url)).content

    before, after = b"b" * size, b"a" * size
    assert send(before).status_code == 200
    site.disk.fail(call, error, "/cache/")
    for _ in range(2):
        answer = send(after)
        assert answer.status_code == status and answer.json()["code"] == status, answer.text
    assert site.disk.hits(call) >= 2
    assert site.put(SMALL).status_code == 200 and site.ready().status_code == 200, "the rest goes on"
    site.disk.heal()
    assert content() == before
    assert send(after).status_code == 200 and content() == after
    left = [f for f in (site.data / "cache").rglob("*") if f.is_file()]
    assert len(left) == 1 and left[0].stat().st_size == size + 37, left
    assert site.server.admin("verify").stdout == ""
