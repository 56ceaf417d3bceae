"""Drift runs over the API: pages, bounds, events that come twice, previews that die. With the real CLI: tests/cli/test_drift.py."""
import contextlib
import json
import sqlite3

import pytest
from helpers.access import STACK, Organization
from helpers.waiting import wait_until

SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "blinded"}


@pytest.fixture
def path(api, stack):
    return api.create_stack(stack)


def begin(api, path, kind="refresh", dry=True):
    """A preview of a refresh as the CLI makes it: (its path, the client with its lease)."""
    id = api.post(f"{path}/{kind}", {"options": {"dryRun": dry}, "metadata": {"message": "", "environment": {}}})["updateID"]
    return f"{path}/update/{id}", api.with_token(api.post(f"{path}/update/{id}", {})["token"], "update-token")


def change(sequence, name="thing", op="update", old=None, new=None, **more):
    urn = f"urn:pulumi:dev::p::t:i:T::{name}"
    state = {"type": "t:i:T", "urn": urn, "id": f"id-{name}", "parent": "", "inputs": {}, "provider": ""}
    return {"sequence": sequence, "timestamp": 1790000000, "resOutputsEvent": {"planning": True, "metadata": {
        "op": op, "urn": urn, "type": "t:i:T", "old": {**state, "outputs": old or {}}, "new": None if op == "delete" else {**state, "outputs": new or {}},
        "detailedDiff": None, **more}}}


def summary(sequence, **changes):
    return {"sequence": sequence, "timestamp": 1790000000, "summaryEvent": {"resourceChanges": changes, "isPreview": True}}


def send(lease, update, *events):
    lease.ok("POST", f"{update}/events/batch", data=json.dumps({"events": events}).encode(), status=204)


def finish(lease, update, status="succeeded"):
    lease.ok("POST", f"{update}/complete", {"status": status})


def runs(api, path, query=""):
    return api.get(f"{path}/drift/runs{query}")


def found(api, path, run):
    return api.get(f"{path}/drift/runs/{run['id']}/resources")


def test_pages_and_refusals(api, path):
    assert runs(api, path) == {"driftRuns": [], "itemsPerPage": 10, "total": 0}
    for _ in range(5):
        update, lease = begin(api, path)
        finish(lease, update)
    whole = runs(api, path)["driftRuns"]
    assert [r["created"] for r in whole] == sorted((r["created"] for r in whole), reverse=True) and len({r["id"] for r in whole}) == 5
    pages = [runs(api, path, f"?page={n}&pageSize=2") for n in (1, 2, 3, 4)]
    assert [r["id"] for p in pages for r in p["driftRuns"]] == [r["id"] for r in whole]
    assert all(p["total"] == 5 and p["itemsPerPage"] == 2 for p in pages)
    for query in ("?page=0", "?page=x", "?pageSize=0", "?pageSize=101"):
        api.refused(400, "GET", f"{path}/drift/runs{query}", names=query[1:].split("=")[0])
    for tail in ("", "/resources"):
        api.refused(404, "GET", f"{path}/drift/runs/no-such-run{tail}", names="no-such-run")
    other = api.create_stack(path.removeprefix("/api/stacks/") + "-other")
    api.refused(404, "GET", f"{other}/drift/runs/{whole[0]['id']}", names=whole[0]["id"])
    assert runs(api, other)["total"] == 0


def test_only_previews_of_a_refresh(api, path):
    for kind, dry in (("update", True), ("preview", True), ("destroy", True), ("refresh", False), ("update", False)):
        update, lease = begin(api, path, kind, dry)
        send(lease, update, change(0, old={"a": 1}, new={"a": 2}), summary(1, update=1))
        finish(lease, update)
    assert runs(api, path)["total"] == 0
    # One that never began is none, either.
    api.post(f"{path}/refresh", {"options": {"dryRun": True}})
    assert runs(api, path)["total"] == 0 and api.get(f"{path}/drift/status")["runInProgress"] is False


def test_events_that_come_twice_and_out_of_order(api, path):
    update, lease = begin(api, path)
    assert api.get(f"{path}/drift/status")["runInProgress"] is True
    events = [change(1, "a", old={"x": 1, "p": SECRET}, new={"x": 2, "p": SECRET}), change(2, "same", "same", {"x": 1}, {"x": 2}), change(3, "b", "delete", {"x": 1}),
              change(4, "read", "read", {"x": 1}, {"x": 1}), change(5, "external", "read", {"x": 1}, {"x": 9})]
    send(lease, update, *events[3:], summary(6, same=1, update=1, delete=1, read=1))
    send(lease, update, *events[:3])
    send(lease, update, *events)
    finish(lease, update)
    finish(lease, update)  # an answer that was lost
    run, = runs(api, path)["driftRuns"]
    assert run["driftDetected"] is True and run["resourceCount"] == 3 and run["resourcesCut"] is False
    assert run["detectUpdate"]["resourceChanges"] == {"same": 1, "update": 1, "delete": 1, "read": 1}
    resources = {r["urn"].split("::")[-1]: (r["kind"], r["properties"]) for r in found(api, path, run)["resources"]}
    assert resources == {"a": ("update", [{"path": "x", "kind": "update", "old": 1, "new": 2}]), "b": ("delete", []),
                         "external": ("read", [{"path": "x", "kind": "update", "old": 1, "new": 9}])}
    assert "blinded" not in json.dumps(found(api, path, run))


def test_without_a_summary_or_without_events(api, path):
    """Either tells that there is drift; the CLI posts events without looking whether they arrived."""
    update, lease = begin(api, path)
    send(lease, update, change(0, old={"x": 1}, new={"x": 2}))
    finish(lease, update)
    assert runs(api, path)["driftRuns"][0]["driftDetected"] is True
    update, lease = begin(api, path)
    send(lease, update, summary(1, same=3, update=2))
    finish(lease, update)
    run = runs(api, path)["driftRuns"][0]
    assert run["driftDetected"] is True and run["resourceCount"] == 0 and found(api, path, run)["resources"] == []


def test_much_drift_is_cut(api, path):
    update, lease = begin(api, path)
    count = 1500
    for first in range(0, count, 100):
        send(lease, update, *[change(i, f"r{i}", old={"value": "x" * 1500, "long": "y" * 5000}, new={"value": "z" * 1500, "long": ""}) for i in range(first, first + 100)])
    send(lease, update, summary(count, update=count))
    finish(lease, update)
    run, = runs(api, path)["driftRuns"]
    assert run["resourceCount"] == count and run["resourcesCut"] is True
    resources = found(api, path, run)
    assert 50 < len(resources["resources"]) <= 1000 and resources["resourcesCut"] is True
    assert len(json.dumps(resources)) < 1 << 20
    first = resources["resources"][0]
    assert first["cut"] is True and first["properties"][1] == {"path": "long", "kind": "update", "new": "", "cut": True}


def test_hostile_events_do_not_keep_a_preview_from_ending(api, path):
    update, lease = begin(api, path)
    long = "u" * 3_000_000
    odd = [{"resOutputsEvent": None}, {"resOutputsEvent": {"metadata": 7}}, {"resOutputsEvent": {"metadata": {"op": "update"}}},
           {"resOutputsEvent": {"metadata": {"op": "update", "urn": long, "type": "t"}}}, {"resOutputsEvent": {"metadata": {"op": long, "urn": "u", "type": "t"}}},
           {"resOutputsEvent": {"metadata": {"op": "update", "urn": "u", "type": "t", "old": [1], "new": "x", "detailedDiff": {long: {}}, "diffs": 3}}},
           {"resOutputsEvent": {"metadata": {"op": "update", "urn": "v", "type": "t", "old": {"id": {"a": 1}, "outputs": [1]}, "new": {"outputs": {long: long}}}}}]
    send(lease, update, *[{"sequence": i, "timestamp": 1, **event} for i, event in enumerate(odd)])
    send(lease, update, summary(99, **{f"op{i}": i for i in range(2000)}))
    finish(lease, update)
    run, = runs(api, path)["driftRuns"]
    assert run["driftDetected"] is True and run["resourceCount"] == 2
    assert {r["urn"] for r in found(api, path, run)["resources"]} == {"u", "v"}


def test_a_preview_that_dies(own, stack, clock):
    server = own(clock=clock)
    api = server.api()
    path = api.create_stack(stack)
    update, lease = begin(api, path)
    send(lease, update, change(0, old={"x": 1}, new={"x": 2}), summary(1, update=1))
    clock.advance(3600)
    run = wait_until(lambda: runs(api, path)["driftRuns"], 30, "the end of the lease")[0]
    assert run["status"] == "failed" and run["driftDetected"] is False and run["detectUpdate"]["status"] == "failed"
    update, lease = begin(api, path)
    api.ok("POST", f"{update}/cancel")
    assert [r["status"] for r in runs(api, path)["driftRuns"]] == ["failed", "failed"]
    assert api.get(f"{path}/drift/status")["runInProgress"] is False


def test_whose_remediation_it_is(own):
    """That of the run which its own deployment made, whatever somebody else has looked at in between."""
    org = Organization(own)
    api, path = org.boss, org.stack
    api.deploy(STACK, "detect-drift")
    id, runner, run = org.claim()
    runner.post(f"/api/runner/{id}/steps", {"attempt": 1, "step": 0, "name": "Setup", "status": "running"})
    update, lease = begin(run, path)
    send(lease, update, change(0, old={"x": 1}, new={"x": 2}))
    finish(lease, update)
    detection, = runs(api, path)["driftRuns"]
    assert detection["status"] == "running" and detection["deploymentId"] == id and detection["driftDetected"] is True
    by_hand, lease = begin(api, path)
    finish(lease, by_hand)
    # Nor is an update by hand one, nor another stack's by the run.
    update, lease = begin(api, path, "update", dry=False)
    finish(lease, update)
    other = api.create_stack("acme/shop/other")
    update, lease = begin(run, other, "update", dry=False)
    finish(lease, update)
    update, lease = begin(run, other)
    finish(lease, update)
    assert "remediateUpdate" not in found_run(api, path, detection) and "deploymentId" not in runs(api, other)["driftRuns"][0]
    for result in ("failed", "succeeded"):
        update, lease = begin(run, path, "update", dry=False)
        finish(lease, update, result)
        assert found_run(api, path, detection)["remediateUpdate"] == {**found_run(api, path, detection)["remediateUpdate"], "updateId": update.split("/")[-1], "status": result}
    runner.post(f"/api/runner/{id}/finish", {"attempt": 1, "status": "succeeded", "message": ""})
    assert found_run(api, path, detection)["status"] == "succeeded"
    assert [r["driftDetected"] for r in runs(api, path)["driftRuns"]] == [False, True] and runs(api, other)["total"] == 1


def found_run(api, path, run):
    return api.get(f"{path}/drift/runs/{run['id']}")


def test_old_runs_go(own, stack, tmp_path):
    """A thousand of a stack are kept."""
    server = own()
    api = server.api()
    path = api.create_stack(stack)
    update, lease = begin(api, path)
    finish(lease, update)
    server.stop()
    with contextlib.closing(sqlite3.connect(server.data / "slipway.db")) as db, db:
        db.execute("""INSERT INTO drift_runs (id, stack_id, status, drift_detected, created_us)
            WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 1002)
            SELECT printf('00000000-0000-7000-8000-%012d', i), r.stack_id, 'succeeded', 0, i FROM n, drift_runs r""")
    server = own(folder=tmp_path / "again", data=server.data)
    api = server.api()
    assert runs(api, path)["total"] == 1003
    update, lease = begin(api, path)
    finish(lease, update)
    kept = runs(api, path, "?pageSize=100")
    assert kept["total"] == 1000 and kept["driftRuns"][0]["id"] > kept["driftRuns"][1]["id"]
    assert runs(api, path, "?pageSize=1&page=1000")["driftRuns"][0]["id"].endswith("000000000005")
