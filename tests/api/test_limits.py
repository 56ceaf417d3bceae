"""Limits of what the state backend takes: a clear 4xx, and nothing changed."""
import gzip
import json
import re
import socket
import threading
import time
import zlib
from pathlib import Path

import pytest
from helpers.api import path_of

from test_delta import sha, span
from test_state import MAGIC, SECRETS, apply, begin, created, names, resource

MIB = 1 << 20


@pytest.fixture
def path(api, stack):
    api.create_stack(stack)
    return path_of(stack)


def seen(api, path):
    """All that a refused request may not change."""
    return (api.call("GET", f"{path}/export").content, api.get(path), api.get(f"{path}/updates?pageSize=10&page=1"))


def bomb(mib):
    """Gzip that inflates to that many MiB of one text: one compressed block, many times over."""
    head, piece, tail = b'{"version":3,"deployment":{"a":"', b"x" * MIB, b'"}}'

    def block(text, end):
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        return packer.compress(text) + packer.flush(end)

    crc = zlib.crc32(head)
    for _ in range(mib):
        crc = zlib.crc32(piece, crc)
    total = len(head) + mib * MIB + len(tail)
    return (b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + block(head, zlib.Z_FULL_FLUSH) + block(piece, zlib.Z_FULL_FLUSH) * mib + block(tail, zlib.Z_FINISH)
            + zlib.crc32(tail, crc).to_bytes(4, "little") + total.to_bytes(4, "little"))


def test_the_bomb_is_one():
    assert gzip.decompress(bomb(3)) == b'{"version":3,"deployment":{"a":"' + b"x" * (3 * MIB) + b'"}}'


# ---- size ----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def huge():
    return bomb(640)


BATCHES, DOCUMENTS = ["journalentries", "events/batch", "batch-encrypt"], ["import", "checkpoint", "checkpointverbatim", "checkpointdelta"]


# One that lies about its size is inflated up to the limit, which takes its time: one document is enough.
@pytest.mark.parametrize("tail, honest", [(tail, True) for tail in DOCUMENTS + BATCHES] + [(tail, False) for tail in ["import", *BATCHES]])
def test_gzip_bombs(api, path, huge, tail, honest):
    apply(api, path, resource(path, "a", 1))
    update, lease = begin(api, path, journal=1 if tail == "journalentries" else 0)
    before = seen(api, path)
    on_update = tail not in ("import", "batch-encrypt")
    client, method = (lease if on_update else api), "PATCH" if on_update and tail != "events/batch" else "POST"
    began = time.monotonic()
    large = huge if tail in DOCUMENTS else bomb(80)
    body = large if honest else large[:-4] + b"\x10\0\0\0"
    client.refused(413, method, f"{update if on_update else path}/{tail}", data=body, headers={"Content-Encoding": "gzip"}, timeout=60)
    assert time.monotonic() - began < 30
    assert seen(api, path) == before


def test_a_size_in_the_trailer_that_is_a_lie(api, path):
    """The last four bytes of a gzip say how long the text is; nobody has to believe them."""
    text = json.dumps({"version": 3, "deployment": {"manifest": MAGIC, "resources": [resource(path, "a", "y" * 100_000)]}}).encode()
    packed = gzip.compress(text)
    for claim in (0, 1, 512 * MIB, 512 * MIB + 1, 0xffffffff):
        api.refused(400, "POST", f"{path}/import", data=packed[:-4] + claim.to_bytes(4, "little"), headers={"Content-Encoding": "gzip"})
    assert names(api, path) == [] and api.get(path)["version"] == 0


def test_a_body_over_the_limit_is_refused_before_it_is_sent(dev, api, path):
    with socket.create_connection(("127.0.0.1", dev.port), 10) as s:
        s.settimeout(30)
        s.sendall((f"POST {path}/import HTTP/1.1\r\nHost: x\r\nAuthorization: token {dev.token}\r\nContent-Type: application/json\r\n"
                   f"Content-Length: {512 * MIB + 1}\r\n\r\n").encode())
        answer = s.recv(4096)
    assert b" 413 " in answer.split(b"\r\n")[0] and str(512 * MIB).encode() in answer, answer
    assert api.get(path)["version"] == 0


def test_the_limit_of_a_state_can_be_set(own, stack):
    server = own("--body-limit", "2")
    api = server.api()
    path = api.create_stack(stack)
    for size, zipped in ((2 * MIB, False), (2 * MIB, True)):
        text = json.dumps({"version": 3, "deployment": {"manifest": MAGIC, "resources": [resource(path, "a", "z" * size)]}}).encode()
        api.refused(413, "POST", f"{path}/import", data=text, zipped=zipped)
        update, lease = begin(api, path, journal=0)
        lease.refused(413, "PATCH", f"{update}/checkpoint", data=text, zipped=zipped)
        lease.post(f"{update}/complete", {"status": "failed"})
    assert names(api, path) == []
    api.post(f"{path}/import", {"version": 3, "deployment": {"manifest": MAGIC, "resources": [resource(path, "a", "z" * (MIB // 4))]}})
    assert names(api, path) == ["a"]


def anonymous_memory(pid) -> int:
    return int(re.search(r"^RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE).group(1)) * 1024


def test_memory_while_a_large_state_comes(own, stack, request):
    """The server holds what came compressed once, or twice for a moment; the text is in an unlinked file. The bound leaves
    room for what AddressSanitizer keeps back, and is a sixth of the text."""
    server = own(env={"ASAN_OPTIONS": "detect_leaks=1:quarantine_size_mb=1"})
    api = server.api()
    path = api.create_stack(stack)
    word = "".join(f"{i:x}" for i in range(1000))
    resources = [resource(path, f"r{i}", f"{i}" + word[i % 7:] * 28) for i in range(800)]
    text = json.dumps({"version": 3, "deployment": {"manifest": MAGIC, "resources": resources}}).encode()
    assert len(text) > 120 * MIB
    packed = gzip.compress(text, 1)
    api.post(f"{path}/import", {"version": 3, "deployment": {"manifest": MAGIC}})
    base, top, done = anonymous_memory(server.pid), [0], threading.Event()

    def watch():
        while not done.wait(0.01):
            top[0] = max(top[0], anonymous_memory(server.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        update, lease = begin(api, path, journal=0)
        lease.ok("PATCH", f"{update}/checkpoint", data=packed, headers={"Content-Encoding": "gzip"}, timeout=240)
    finally:
        done.set()
        watcher.join()
    grown = top[0] - base
    print(f"text {len(text) / MIB:.0f} MiB, gzip {len(packed) / MIB:.1f} MiB, memory grew by {grown / MIB:.1f} MiB")
    assert grown < 4 * len(packed) + 24 * MIB, f"text {len(text)}, gzip {len(packed)}, memory grew by {grown}"
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert len(names(api, path)) == 800


# ---- cut off -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("tail, body", [
    ("import", {"version": 3, "deployment": {"manifest": MAGIC}}), ("journalentries", {"entries": [SECRETS]}),
    ("checkpoint", {"version": 3, "deployment": {"manifest": MAGIC}}), ("events/batch", {"events": [{"sequence": 0, "timestamp": 1}]})])
def test_truncated_bodies(dev, api, path, tail, body):
    """Cut within gzip, within JSON, and by a connection that closes before all of it was there."""
    update, lease = begin(api, path, journal=0 if tail == "checkpoint" else 1)
    before = seen(api, path)
    text = json.dumps(body).encode()
    packed = gzip.compress(text)
    client, where_ = (api, f"{path}/{tail}") if tail == "import" else (lease, f"{update}/{tail}")
    method = "POST" if tail in ("import", "events/batch") else "PATCH"
    for cut in (1, 10, len(packed) // 2, len(packed) - 8, len(packed) - 1):
        client.refused(400, method, where_, data=packed[:cut], headers={"Content-Encoding": "gzip"})
    damaged = bytearray(packed)
    damaged[-6] ^= 1  # of the checksum
    client.refused(400, method, where_, data=bytes(damaged), headers={"Content-Encoding": "gzip"})
    for cut in (1, len(text) // 2, len(text) - 1):
        client.refused(400, method, where_, data=text[:cut])
    client.refused(400, method, where_, data=text + b"}")
    for length in (len(text) + 1, 200_000):
        with socket.create_connection(("127.0.0.1", dev.port), 10) as s:
            scheme = "token" if client is api else "update-token"
            s.sendall((f"{method} {where_} HTTP/1.1\r\nHost: x\r\nAuthorization: {scheme} {client.token}\r\nContent-Type: application/json\r\n"
                       f"Content-Length: {length}\r\n\r\n").encode() + text)
            s.settimeout(0.5)
            with pytest.raises(TimeoutError):  # it waits for the rest
                s.recv(4096)
    assert seen(api, path) == before
    assert api.get(f"{update}/events")["events"] == []


# ---- leases, numbers, kinds ----------------------------------------------------------------------------------------
def test_wrong_lease_tokens(dev, api, path, project):
    other_path = api.create_stack(f"acme/{project}/other")
    update, lease = begin(api, path)
    _, other = begin(api, other_path)
    ended, ended_lease = begin(api, api.create_stack(f"acme/{project}/third"))
    ended_lease.post(f"{ended}/complete", {"status": "succeeded"})
    before = seen(api, path)
    strangers = [other, ended_lease, api.with_token("", "update-token"), api.with_token("nonsense", "update-token"),
                 api.with_token(lease.token[:-1] + ("a" if lease.token[-1] != "a" else "b"), "update-token"), api.with_token(lease.token), api]
    for client in strangers:
        for method, tail, body in (("PATCH", "journalentries", {"entries": [SECRETS]}), ("PATCH", "checkpoint", {"version": 3, "deployment": {}}),
                                   ("POST", "events/batch", {"events": [{"sequence": 0, "timestamp": 1, "stdoutEvent": {}}]}),
                                   ("POST", "renew_lease", {"token": "", "duration": 300}), ("POST", "complete", {"status": "failed"})):
            answer = client.call(method, f"{update}/{tail}", body)
            assert answer.status_code in (401, 403, 404) and answer.json()["code"] == answer.status_code, (client.token, tail, answer.text)
    assert seen(api, path) == before and api.get(f"{update}/events")["events"] == []
    lease.post(f"{update}/complete", {"status": "succeeded"})


@pytest.mark.parametrize("entry, word", [
    ({"sequenceID": 0}, "sequenceID"), ({"sequenceID": -1}, "sequenceID"), ({"sequenceID": 1.5}, "sequenceID"), ({"sequenceID": "2"}, "sequenceID"),
    ({"sequenceID": None}, "sequenceID"), ({"sequenceID": 1 << 63}, "sequenceID"), ({"operationID": 1 << 63}, "operationID"), ({"operationID": "x"}, "operationID"),
    ({"removeOld": "x"}, "removeOld"), ({"removeNew": 1.5}, "removeNew"), ({"kind": 10}, "kind"), ({"kind": -1}, "kind"), ({"kind": "1"}, "kind"),
    ({"kind": None}, "kind"), ({"kind": 1.0e0}, "kind"), ({"state": []}, "state"), ({"state": {"urn": 1}}, "urn"), ({"kind": 6}, "secretsProvider"),
    ({"kind": 5}, "newSnapshot"), ({"kind": 8}, "extension"), ({"isRefresh": "yes"}, "isRefresh"), ({"operation": {}}, "operation")])
def test_journal_entries_that_cannot_be(api, path, entry, word):
    """One that is wrong refuses its batch, and the good one before it with it."""
    update, lease = begin(api, path)
    good = created(5, 5, resource(path, "good", 1))
    wrong = {**created(7, 6, resource(path, "wrong", 1))[1], **entry}
    said = lease.refused(400, "PATCH", f"{update}/journalentries", {"entries": [*good, wrong]})
    assert "/entries/2" in said and word in said, said
    assert names(api, path) == []
    lease.ok("PATCH", f"{update}/journalentries", {"entries": [SECRETS, *good]})
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert names(api, path) == ["good"]


def test_repeated_sequence_numbers(api, path):
    """The first that was acknowledged counts, within a batch and between batches."""
    update, lease = begin(api, path)
    first, second = created(2, 1, resource(path, "first", 1)), created(2, 1, resource(path, "second", 2))
    lease.ok("PATCH", f"{update}/journalentries", {"entries": [SECRETS, *first, *second, *first]})
    lease.ok("PATCH", f"{update}/journalentries", {"entries": second})
    assert names(api, path) == ["first"]
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert names(api, path) == ["first"]


def test_sequence_numbers_with_gaps_and_large_batches(api, path):
    update, lease = begin(api, path)
    entries = [SECRETS]
    for i in range(3000):
        entries += created(10 + 20 * i, 1 + i, resource(path, f"r{i}", i))
    lease.ok("PATCH", f"{update}/journalentries", {"entries": entries}, timeout=120)
    lease.post(f"{update}/complete", {"status": "succeeded"}, timeout=120)
    assert names(api, path) == [f"r{i}" for i in range(3000)]


@pytest.mark.parametrize("body", [
    {"version": 3, "checkpointHash": "x", "sequenceNumber": 0, "deploymentDelta": []}, {"version": 3, "checkpointHash": "x", "sequenceNumber": -1, "deploymentDelta": []},
    {"version": 3, "checkpointHash": "0" * 64, "sequenceNumber": 1, "deploymentDelta": [span(0, 1 << 40, "")]},
    {"version": 3, "checkpointHash": sha(b""), "sequenceNumber": 1, "deploymentDelta": []}, {"version": 99, "checkpointHash": sha(b""), "sequenceNumber": 1, "deploymentDelta": []}])
def test_deltas_without_a_base(api, path, body):
    update, lease = begin(api, path, journal=0)
    lease.refused(400, "PATCH", f"{update}/checkpointdelta", body)
    assert names(api, path) == []


# ---- names ---------------------------------------------------------------------------------------------------------
STRANGE = ["a b", "a%20b", "ü", "a/b", "a\\b", "a\0b", "a\nb", "..", ".", "", "x" * 101, "a'b", 'a"b', "<b>", "a;b", "a?b", "a#b", "*", "\U0001f600", "a\u200bb"]


@pytest.mark.parametrize("name", STRANGE)
def test_strange_names_of_stacks(api, path, project, name):
    """Neither made, nor renamed to, nor found; also not by a percent sign in a path."""
    from urllib.parse import quote
    api.refused(400, "POST", f"/api/stacks/acme/{project}", {"stackName": name}, names="stackName")
    if name:
        api.refused(400, "POST", f"{path}/rename", {"newName": name}, names="newName")
        api.refused(400, "POST", f"{path}/rename", {"newName": "ok", "newProject": name}, names="newProject")
    for tail in ("", "/export", "/updates"):
        answer = api.call("GET", f"/api/stacks/acme/{project}/{quote(name, safe='')}{tail}")
        if not name:
            continue  # one segment less: another route
        assert answer.status_code in (400, 404) and answer.json()["code"] == answer.status_code, answer.text
    assert [s["stackName"] for s in api.get(f"/api/user/stacks?project={project}")["stacks"]] == ["dev"]


@pytest.mark.parametrize("tags", [{"x" * 41: "v"}, {"": "v"}, {"a b": "v"}, {"ä": "v"}, {"a/b": "v"}, {"a": "v" * 257}, {"a": "\0"}, {"a": 1}, {"a": None},
                                  {"a": ["v"]}, {f"n{i}": "v" for i in range(201)}, [], "text"], ids=lambda t: str(t)[:24])
def test_tags_that_cannot_be(api, path, project, tags):
    """Wherever they come from: at the creation, all at once, one by one, with the start of an update."""
    api.ok("PATCH", f"{path}/tags", {"kept": "as-it-was"})
    api.refused(400, "PATCH", f"{path}/tags", tags)
    if isinstance(tags, dict):
        api.refused(400, "POST", f"/api/stacks/acme/{project}", {"stackName": "tagged", "tags": tags})
        api.refused(404, "GET", f"/api/stacks/acme/{project}/tagged")
        made = api.post(f"{path}/update", {"options": {}, "metadata": {}})
        api.refused(400, "POST", f"{path}/update/{made['updateID']}", {"tags": tags, "journalVersion": 1})
        assert "currentOperation" not in api.get(path)
    assert api.get(path)["tags"] == {"kept": "as-it-was"}
