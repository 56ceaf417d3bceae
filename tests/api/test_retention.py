"""What goes away by itself: blobs that no row names, engine events that are old. (States of versions: test_versions.py.)"""
import hashlib
import os
import random
import re
import threading

import pytest
from helpers.api import path_of
from helpers.waiting import wait_until

from test_maintenance import admin, data
from test_state import begin, names, resource
from test_versions import state

HOUR = 3600
DAY = 24 * HOUR


def site(own, clock, *options, **more):
    server = own(*options, command="serve", clock=clock, **more)
    server.admin("org", "add", "acme")
    return server, server.user("operator", role="admin")


def files(server):
    return {f for f in (data(server) / "blobs").rglob("*") if f.is_file()}


def large(path, seed):
    return state(resource(path, f"r{seed}", random.Random(seed).randbytes(300_000).hex()))


def keep(server, content: bytes):
    """A file of the store, as blob_put leaves it."""
    key = hashlib.sha256(content).hexdigest()
    file = data(server) / "blobs" / key[:2] / key[2:4] / key
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


# ---- blobs -----------------------------------------------------------------------------------------------------------
@pytest.fixture
def orphan(own, clock, stack):
    """A server with a large state, and the blob of a stack that was removed put back, as a kill would have left it."""
    server, api = site(own, clock, "--log-level", "debug")
    path, gone = api.create_stack(stack), api.create_stack(stack + "-gone")
    api.post(f"{path}/import", large(path, 1))
    kept = files(server)
    api.post(f"{gone}/import", large(gone, 2))
    file, = files(server) - kept
    content = file.read_bytes()
    api.ok("DELETE", f"{gone}?force=true")
    assert files(server) == kept and len(kept) == 1
    assert keep(server, content) == file
    return server, api, path, file


def second_look(server, clock, rounds=1):
    """Once the first look has come by."""
    wait_until(lambda: len(re.findall("[1-9][0-9]* blobs that nothing names are looked at", server.stderr())) == rounds, what="the first look")
    clock.advance(11 * 60)


def test_a_blob_that_nothing_names_goes(orphan, clock):
    server, api, path, file = orphan
    kept = files(server) - {file}
    foreign = keep(server, b"what another room may keep there")
    damaged = keep(server, file.read_bytes()[:20])
    young = keep(server, file.read_bytes() + b"!")
    os.utime(young, (young.stat().st_mtime + 30 * DAY,) * 2)
    size = file.stat().st_size
    clock.advance(2 * HOUR)
    second_look(server, clock)
    wait_until(lambda: not file.exists(), what="the blob's end")
    assert files(server) == kept | {foreign, damaged, young}
    assert re.search(rf"1 blobs \({size} bytes\) that nothing named were removed", server.stderr())
    assert names(api, path) == ["r1"] and admin(data(server), "verify").returncode == 0
    # The next round, a day later, finds what has come meanwhile.
    again = keep(server, young.read_bytes()[:-1])
    assert again == file
    clock.advance(DAY + 2 * HOUR)
    second_look(server, clock, rounds=2)
    wait_until(lambda: not file.exists(), what="the next blob's end")


def test_a_blob_stays_for_an_hour(orphan, clock):
    server, _, _, file = orphan
    clock.advance(40 * 60)
    server.wait_stderr("0 blobs that nothing names")
    assert file.exists(), "it may be of a state that is being written"


def test_states_that_come_meanwhile_stay(orphan, clock):
    """Uploads go on through both looks: each state that was acknowledged is there afterwards."""
    server, api, path, file = orphan
    stop, done = threading.Event(), []

    def upload(n):
        mine = api.create_stack(f"acme/upload-{n}-{os.getpid()}/dev")
        seed = n * 1000
        while not stop.is_set():
            seed += 1
            api.post(f"{mine}/import", large(mine, seed))
            done.append(seed)
        assert names(api, mine) == [f"r{seed}"]

    threads = [threading.Thread(target=upload, args=(n,)) for n in (1, 2, 3)]
    for t in threads:
        t.start()
    wait_until(lambda: len(done) > 5, what="some uploads")
    clock.advance(2 * HOUR)
    seen = len(done)
    wait_until(lambda: len(done) > seen + 10, what="further uploads")
    second_look(server, clock)
    wait_until(lambda: not file.exists(), what="the blob's end")
    stop.set()
    for t in threads:
        t.join()
    assert len(files(server)) == len(done) + 1
    admin(data(server), "verify")  # exits with 1 if there is a problem


# ---- events ----------------------------------------------------------------------------------------------------------
def events_of(api, update):
    return [e["sequence"] for e in api.get(update + "/events")["events"]]


def put_events(lease, update, *sequences):
    events = [{"sequence": n, "timestamp": 1, "stdoutEvent": {"message": "m", "color": "raw"}} for n in sequences[:-1]]
    events.append({"sequence": sequences[-1], "timestamp": 1, "summaryEvent": {"resourceChanges": {"create": 1}, "result": "succeeded"}})
    lease.post(update + "/events/batch", {"events": events})


def ended(api, path, kind="update"):
    update, lease = begin(api, path, kind)
    put_events(lease, update, 0, 1, 2)
    lease.post(update + "/complete", {"status": "succeeded"})
    return update


def test_events_go_by_age(own, clock, stack):
    server, api = site(own, clock, "--event-retention", "48h", "--lease", "240h")
    path, other = api.create_stack(stack), api.create_stack(stack + "-other")
    many = [ended(api, path, kind) for kind in ("update", "preview") for _ in range(12)]
    # Begins before and ends after: its age counts from its end.
    running, lease = begin(api, other)
    put_events(lease, running, 0, 1)
    clock.advance(47 * HOUR)
    young = ended(api, path)
    assert [events_of(api, u) for u in many] == [[0, 1, 2]] * 24
    history = api.get(f"{path}/updates")
    clock.advance(2 * HOUR)
    wait_until(lambda: not any(events_of(api, u) for u in many), what="the end of old events")
    assert events_of(api, young) == [0, 1, 2] and events_of(api, running) == [0, 1]
    assert api.get(many[0] + "/events")["continuationToken"] is None
    assert api.get(f"{path}/updates") == history and history["updates"][-1]["resourceChanges"] == {"create": 1}
    put_events(lease, running, 2, 3)
    lease.post(running + "/complete", {"status": "succeeded"})
    clock.advance(47 * HOUR)
    wait_until(lambda: not events_of(api, young), what="the young one's end")
    assert events_of(api, running) == [0, 1, 2, 3]
    clock.advance(2 * HOUR)
    wait_until(lambda: not events_of(api, running), what="the end of the one that ran long")


def test_events_are_kept_unless_told_otherwise(own, clock, stack):
    _, api = site(own, clock)
    update = ended(api, api.create_stack(stack))
    for _ in range(3):
        clock.advance(2000 * DAY)
        assert events_of(api, update) == [0, 1, 2]
