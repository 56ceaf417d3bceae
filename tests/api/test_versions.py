"""Versions of a state: list, compare, restore, retention."""
import random

import pytest
from helpers.api import path_of
from helpers.waiting import wait_until

from test_state import SECRETS, apply, begin, journal, names, resource

DAY = 24 * 3600
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:c2VjcmV0"}


@pytest.fixture
def path(api, stack):
    api.create_stack(stack)
    return path_of(stack)


def state(*resources):
    return {"version": 3, "deployment": {"manifest": {"time": "2026-01-01T00:00:00Z", "magic": "", "version": ""}, "resources": list(resources)}}


def put(api, path, *resources):
    api.post(f"{path}/import", state(*resources))


def versions(api, path, query=""):
    return api.get(f"{path}/versions{query}")


def test_list(api, path):
    assert versions(api, path) == {"versions": []}
    apply(api, path, resource(path, "a", 1))
    put(api, path, resource(path, "a", 1), resource(path, "b", 2))
    update, lease = begin(api, path, dry_run=True)
    lease.post(f"{update}/complete", {"status": "succeeded"})
    seen = versions(api, path)["versions"]
    assert [(v["version"], v["kind"], v["result"], v["resourceCount"], v["stored"]) for v in seen] == [
        (2, "import", "succeeded", 2, True), (1, "update", "succeeded", 1, True)]
    assert seen[0]["requestedBy"] == "admin" and seen[0]["sizeBytes"] > seen[1]["sizeBytes"] > 0 and seen[1]["startTime"] <= seen[1]["endTime"]
    assert seen[1]["message"] == "a message" and seen[1]["updateID"]


def test_pages(api, path):
    for i in range(5):
        put(api, path, resource(path, "a", i))
    seen, token = [], ""
    for _ in range(3):
        page = versions(api, path, "?pageSize=2" + token)
        seen += [v["version"] for v in page["versions"]]
        token = f"&continuationToken={page.get('continuationToken')}"
    assert seen == [5, 4, 3, 2, 1] and "continuationToken" not in page
    api.refused(400, "GET", f"{path}/versions?pageSize=0", names="pageSize")


def test_compare(api, path):
    put(api, path, resource(path, "same", 1), resource(path, "gone", 1), resource(path, "moved", 1, parent="urn:p1"), resource(path, "changed", "one"))
    put(api, path, resource(path, "changed", SECRET), resource(path, "same", 1), resource(path, "moved", 1, parent="urn:p2"),
        resource(path, "new", 1), resource(path, "same", 1, delete=True))
    seen = api.get(f"{path}/versions/compare?from=1&to=2")
    assert (seen["from"], seen["to"]) == (1, 2)
    name = lambda r: r["urn"].split("::")[-1]  # noqa: E731
    assert [(name(r), r.get("delete", False)) for r in seen["added"]] == [("new", False), ("same", True)]
    assert [name(r) for r in seen["removed"]] == ["gone"] and seen["removed"][0]["type"] == "pulumi:index:Stash"
    assert {name(r): (r["inputs"], r["outputs"], r["other"]) for r in seen["changed"]} == {
        "changed": (["input"], ["input", "output"], []), "moved": ([], [], ["parent"])}
    assert "c2VjcmV0" not in str(seen), "values are not told"
    back = api.get(f"{path}/versions/compare?from=2&to=1")
    assert [name(r) for r in back["added"]] == ["gone"] and len(back["removed"]) == 2
    assert api.get(f"{path}/versions/compare?from=2&to=2") == {"from": 2, "to": 2, "added": [], "removed": [], "changed": []}
    api.refused(404, "GET", f"{path}/versions/compare?from=1&to=7", names="version 7")
    api.refused(400, "GET", f"{path}/versions/compare?from=1", names="query argument to: is required")


@pytest.mark.parametrize("size", [10, 300_000])
def test_restore(api, path, size):
    filler = random.Random(2).randbytes(size).hex()
    put(api, path, resource(path, "a", filler))
    before = api.call("GET", f"{path}/export").content
    put(api, path)
    assert names(api, path) == []
    made = api.post(f"{path}/versions/1/restore")
    assert made["version"] == 3 and api.get(path)["version"] == 3
    assert api.call("GET", f"{path}/export").content == before
    newest = versions(api, path)["versions"][0]
    assert (newest["kind"], newest["message"]) == ("import", "version 1 restored")
    api.refused(404, "POST", f"{path}/versions/9/restore", names="version 9")
    api.refused(400, "POST", f"{path}/versions/x/restore")
    update, lease = begin(api, path)
    assert "in progress" in api.refused(409, "POST", f"{path}/versions/1/restore")
    lease.post(f"{update}/complete", {"status": "succeeded"})


def test_restore_after_a_rename(api, path, project):
    """The state comes back under the names that the stack has now: else the next update would replace everything."""
    root = {"urn": f"urn:pulumi:dev::{project}::pulumi:pulumi:Stack::{project}-dev", "custom": False, "type": "pulumi:pulumi:Stack"}
    put(api, path, root, {**resource(path, "a", 1), "parent": root["urn"]})
    api.post(f"{path}/rename", {"newName": "prod", "newProject": f"{project}-new"})
    moved = f"/api/stacks/acme/{project}-new/prod"
    put(api, moved)
    before = api.get(f"{moved}/export/2")
    assert api.post(f"{moved}/versions/1/restore")["version"] == 4
    assert api.get(f"{moved}/export") == before
    restored = before["deployment"]["resources"]
    assert restored[0]["urn"] == f"urn:pulumi:prod::{project}-new::pulumi:pulumi:Stack::{project}-new-prod" == restored[1]["parent"]


def test_restore_of_pending_operations_alone_after_a_rename(api, path, project):
    pending = {"resource": {k: v for k, v in resource(path, "a", 1).items() if k != "outputs"}, "type": "creating"}
    api.post(f"{path}/import", {"version": 3, "deployment": {"manifest": {"time": "2026-01-01T00:00:00Z", "magic": "", "version": ""},
                                                             "resources": [], "pending_operations": [pending]}})
    api.post(f"{path}/rename", {"newName": "prod", "newProject": project})
    moved = f"/api/stacks/acme/{project}/prod"
    before = api.get(f"{moved}/export/2")
    api.post(f"{moved}/versions/1/restore")
    assert api.get(f"{moved}/export") == before
    assert before["deployment"]["pending_operations"][0]["resource"]["urn"] == f"urn:pulumi:prod::{project}::pulumi:index:Stash::a"


def site(own, clock, *options, **more):
    server = own(*options, command="serve", clock=clock, **more)
    server.admin("org", "add", "acme")
    return server, server.user("operator", role="admin")


def blobs(server):
    return sum(1 for f in (server.folder / "data" / "blobs").rglob("*") if f.is_file())


def test_retention_by_number(own, clock, stack):
    server, api = site(own, clock, "--state-versions", "3")
    api.create_stack(stack)
    path = path_of(stack)
    for i in range(6):
        put(api, path, resource(path, "a", random.Random(i).randbytes(300_000).hex()))
    # An update that changes nothing shares the state before it, and keeps it.
    update, lease = begin(api, path)
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert blobs(server) == 6
    clock.advance(3600)
    wait_until(lambda: blobs(server) == 2, what="the states of the newest three versions")
    assert [v["stored"] for v in versions(api, path)["versions"]] == [True] * 3 + [False] * 4
    assert names(api, path) == ["a"]
    api.get(f"{path}/export/5")
    api.refused(404, "GET", f"{path}/export/4", names="no longer kept")
    api.refused(404, "POST", f"{path}/versions/4/restore", names="no longer kept")
    api.post(f"{path}/versions/5/restore")


def test_retention_by_age_keeps_the_newest_and_what_runs(own, clock, stack):
    server, api = site(own, clock, "--state-retention", "48h")
    api.create_stack(stack)
    path = path_of(stack)
    put(api, path, resource(path, "a", 1))
    put(api, path, resource(path, "b", 1))
    clock.advance(3 * DAY)
    wait_until(lambda: [v["stored"] for v in versions(api, path)["versions"]] == [True, False], what="the old one's end")
    assert names(api, path) == ["b"]
    update, lease = begin(api, path)
    journal(lease, update, [SECRETS])
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert names(api, path) == ["b"]


def test_everything_is_kept_unless_told_otherwise(own, clock, stack):
    _, api = site(own, clock)
    api.create_stack(stack)
    path = path_of(stack)
    for i in range(4):
        put(api, path, resource(path, "a", i))
    clock.advance(400 * DAY)
    put(api, path, resource(path, "a", 5))
    assert all(v["stored"] for v in versions(api, path)["versions"])
