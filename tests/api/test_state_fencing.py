"""Who may still write to an update, and when: leases, cancels, and ways of saving that do not mix."""
import json
import re

import pytest
from helpers.access import STACK, Organization
from helpers.api import path_of
from helpers.waiting import wait_until

from test_state import SECRETS, apply, begin, created, journal, names, resource


@pytest.fixture
def path(api, stack):
    api.create_stack(stack)
    return path_of(stack)


def pending(name, path, sequence, operation):
    return created(sequence, operation, resource(path, name, 1))[0]


def checkpoint(*resources):
    return {"isInvalid": False, "version": 3,
            "deployment": {"manifest": {"time": "2026-01-01T00:00:00Z", "magic": "", "version": ""}, "resources": list(resources)}}


def test_cancel_keeps_what_was_saved_and_shuts_the_writer_out(api, path):
    update, lease = begin(api, path)
    journal(lease, update, [SECRETS, *created(2, 1, resource(path, "a", 1)), pending("b", path, 4, 2)])
    api.ok("POST", f"{update}/cancel", status=204)
    api.ok("POST", f"{update}/cancel", status=204)
    deployment = api.get(f"{path}/export")["deployment"]
    assert [r["id"] for r in deployment["resources"]] == ["a"]
    assert [p["type"] for p in deployment["pending_operations"]] == ["creating"]

    late = {"entries": created(5, 3, resource(path, "late", 1))}
    lease.refused(409, "PATCH", f"{update}/journalentries", late)
    lease.refused(409, "PATCH", f"{update}/checkpoint", checkpoint())
    lease.refused(409, "POST", f"{update}/events/batch", {"events": [{"sequence": 0, "timestamp": 1, "cancelEvent": {}}]})
    lease.refused(403, "POST", f"{update}/renew_lease", {"token": "", "duration": 300})
    lease.refused(409, "POST", f"{update}/complete", {"status": "succeeded"})
    assert names(api, path) == ["a"]
    assert api.get(update)["status"] == "cancelled"
    assert api.get(f"{path}/updates")["updates"][0]["result"] == "failed"

    apply_again, lease = begin(api, path)
    journal(lease, apply_again, [SECRETS])
    lease.post(f"{apply_again}/complete", {"status": "succeeded"})
    assert api.get(f"{path}/export")["deployment"]["pending_operations"], "only the user clears a creation that was left open"


def test_an_update_that_has_ended_cannot_be_cancelled(api, path):
    update, _ = apply(api, path, resource(path, "a", 1))
    api.refused(409, "POST", f"{update}/cancel")
    assert api.get(update)["status"] == "succeeded"


def test_an_update_starts_once(api, path):
    made = api.post(f"{path}/update", {"options": {}, "metadata": {}})
    update = f"{path}/update/{made['updateID']}"
    api.refused(409, "POST", f"{update}/cancel", names="not started")
    assert api.get(update)["status"] == "not started"
    api.post(update, {})
    api.refused(409, "POST", update, {}, names="already been started")


def test_the_stack_is_left_alone_while_an_update_runs(api, path, stack):
    """Whatever would change it, the 409 names who has it."""
    state = {k: v for k, v in checkpoint().items() if k != "isInvalid"}
    api.post(f"{path}/import", state)
    update, _ = begin(api, path)
    before = api.get(path)
    started = api.get(f"{path}/versions")["versions"][0]["startTime"]
    for method, tail, body in (("POST", "/import", state), ("POST", "/rename", {"newName": "other"}), ("DELETE", "?force=true", ...),
                               ("POST", "/versions/1/restore", {})):
        assert api.refused(409, method, path + tail, body) == "Conflict: Another update is currently in progress."
        assert api.call(method, path + tail, body).json()["currentUpdate"] == {
            "updateID": update.rsplit("/")[-1], "kind": "update", "author": "admin", "started": started, "version": 2}, tail
    # What is refused for another reason names nobody.
    other = api.create_stack(stack + "-other")
    assert "currentUpdate" not in api.call("POST", f"{other}/rename", {"newName": stack.split("/")[-1]}).json()
    assert api.get(path) == before


def test_the_conflict_names_who_holds_the_stack(api, path):
    update, _ = begin(api, path)
    made = api.post(f"{path}/destroy", {"options": {}, "metadata": {}})
    answer = api.call("POST", f"{path}/update/{made['updateID']}", {})
    assert answer.status_code == 409
    holder = answer.json()["currentUpdate"]
    assert update.endswith(holder["updateID"]) and holder["author"] == "admin" and holder["kind"] == "update"


def test_previews_save_nothing(api, path):
    update, lease = begin(api, path, "preview")
    lease.refused(400, "PATCH", f"{update}/journalentries", {"entries": [SECRETS]}, names="preview")
    lease.refused(400, "PATCH", f"{update}/checkpoint", checkpoint(), names="preview")
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert api.get(path)["version"] == 0 and api.get(f"{path}/updates")["updates"] == []


def test_ways_of_saving_do_not_mix(api, path):
    update, lease = begin(api, path)
    lease.refused(400, "PATCH", f"{update}/checkpoint", checkpoint(), names="journal")
    lease.post(f"{update}/complete", {"status": "failed"})
    update, lease = begin(api, path, journal=0)
    lease.refused(400, "PATCH", f"{update}/journalentries", {"entries": [SECRETS]}, names="checkpoints")
    lease.ok("PATCH", f"{update}/checkpoint", checkpoint(resource(path, "a", 1)), status=204)
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert names(api, path) == ["a"]


@pytest.mark.parametrize("kind", ["update", "preview", "refresh", "destroy"])
def test_paths_by_kind(api, path, kind):
    """Older clients go on with the segment that they began with."""
    made = api.post(f"{path}/{kind}", {"options": {}, "metadata": {}})
    update = f"{path}/{kind}/{made['updateID']}"
    lease = api.with_token(api.post(update, {"journalVersion": 1})["token"], "update-token")
    lease.post(f"{update}/events/batch", {"events": [{"sequence": 0, "timestamp": 1, "stdoutEvent": {"message": "m", "color": "raw"}}]})
    renewed = api.with_token(lease.post(f"{update}/renew_lease", {"token": "", "duration": 300})["token"], "update-token")
    if kind != "preview":
        renewed.ok("PATCH", f"{update}/journalentries", {"entries": [SECRETS]})
    renewed.post(f"{update}/complete", {"status": "succeeded"})
    assert api.get(update)["status"] == "succeeded"
    assert len(api.get(f"{update}/events")["events"]) == 1
    if kind != "preview":
        assert api.get(f"{path}/updates")["updates"][0]["kind"] == kind


def test_an_update_is_found_only_through_its_stack(api, path, project):
    update, _ = begin(api, path)
    other = api.create_stack(f"acme/{project}/other")
    there = f"{other}/update/{update.rsplit('/', 1)[1]}"
    api.refused(404, "GET", there)
    api.refused(404, "POST", f"{there}/cancel")
    api.refused(404, "GET", f"{there}/events")
    api.refused(404, "GET", f"{path}/update/0195e000-0000-7000-8000-000000000000")


def test_renewal(own, clock, stack):
    """The former token is good for a minute more; the lease ends when nobody renews it, for journals and for previews."""
    server = own("--lease", "5m", clock=clock)
    api = server.api()
    path = api.create_stack(stack)
    update, first = begin(api, path)
    preview, _ = begin(api, path, "preview")
    clock.advance(200)
    second = api.with_token(first.post(f"{update}/renew_lease", {"token": "", "duration": 300})["token"], "update-token")
    journal(first, update, [SECRETS])
    clock.advance(70)
    first.refused(403, "PATCH", f"{update}/journalentries", {"entries": created(2, 1, resource(path, "a", 1))})
    journal(second, update, created(2, 1, resource(path, "a", 1)))
    clock.advance(100)
    wait_until(lambda: api.get(preview)["status"] == "failed", 15, "the end of the preview")
    assert api.get(update)["status"] == "running"
    clock.advance(200)
    wait_until(lambda: api.get(update)["status"] == "failed", 15, "the end of the update")
    second.refused(403, "POST", f"{update}/renew_lease", {"token": "", "duration": 300})
    second.refused(409, "PATCH", f"{update}/journalentries", {"entries": created(4, 2, resource(path, "b", 1))})
    assert names(api, path) == ["a"]


def test_bounds_of_a_renewal(api, path):
    update, lease = begin(api, path)
    for duration in (-1, 301, "300"):
        lease.refused(400, "POST", f"{update}/renew_lease", {"token": "", "duration": duration}, names="duration")
    lease.refused(400, "POST", f"{update}/complete", {"status": "done"}, names="status")
    lease.refused(400, "POST", f"{update}/complete", {}, names="status")


def late_writes(update, path, at):
    """Everything that a client of an update may still send: (method, path, body, the answer when its update has ended)."""
    one = resource(path, "late", 1)
    return [("PATCH", f"{update}/journalentries", {"entries": created(at, 90, one)}, 409),
            ("PATCH", f"{update}/checkpoint", checkpoint(one), 409),
            ("PATCH", f"{update}/checkpointverbatim", {"version": 3, "untypedDeployment": {"version": 3, "deployment": checkpoint(one)["deployment"]}, "sequenceNumber": 1}, 409),
            ("PATCH", f"{update}/checkpointdelta", {"version": 3, "checkpointHash": "0" * 64, "sequenceNumber": 2, "deploymentDelta": []}, 409),
            ("POST", f"{update}/events", {"sequence": 70, "timestamp": 1, "cancelEvent": {}}, 409),
            ("POST", f"{update}/events/batch", {"events": [{"sequence": 71, "timestamp": 1, "summaryEvent": {"resourceChanges": {"delete": 9}}}]}, 409),
            ("POST", f"{update}/renew_lease", {"token": "", "duration": 300}, 403),
            ("POST", f"{update}/complete", {"status": "succeeded"}, 409)]


@pytest.mark.parametrize("saving", ["journal", "checkpoints"])
def test_a_late_write_of_a_dead_update_changes_nothing(own, clock, stack, saving):
    """Its client was away for longer than its lease, somebody else has the stack, and now it comes back. Before that one has
    saved anything, in the middle, and after its end."""
    server = own("--lease", "5m", clock=clock)
    api = server.api()
    path = api.create_stack(stack)
    apply(api, path, resource(path, "a", 1))
    dead, lease = begin(api, path, journal=1 if saving == "journal" else 0)
    if saving == "journal":
        journal(lease, dead, [SECRETS, *created(2, 1, resource(path, "b", 1)), pending("c", path, 4, 2)])
    else:
        lease.ok("PATCH", f"{dead}/checkpoint", checkpoint(resource(path, "a", 1), resource(path, "b", 1)))
    clock.advance(301)

    def document(version=""):
        text = api.call("GET", f"{path}/export{version}").text
        return re.sub(r'"time":"[^"]*"', "", text)  # of a replay that is made anew for each export

    def seen():
        history = api.get(f"{path}/updates")["updates"]
        return [document(), api.get(path), api.get(f"{dead}/events"), history, api.get(f"{path}/versions"),
                [document(f"/{u['version']}") for u in history]]

    def come_back():
        before = seen()
        for method, where, body, status in late_writes(dead, path, 6):
            lease.refused(status, method, where, body)
        lease.refused(409, "PATCH", f"{dead}/journalentries", data=json.dumps({"entries": created(6, 3, resource(path, "late", 1))}).encode(), zipped=True)
        assert seen() == before

    # The next one need not wait for the ticker: what was acknowledged is its base.
    update, its = begin(api, path)
    assert api.get(dead)["status"] == "failed" and sorted(names(api, path)) == ["a", "b"]
    come_back()
    journal(its, update, [SECRETS, *created(2, 1, resource(path, "d", 1))])
    come_back()
    its.post(f"{update}/complete", {"status": "succeeded"})
    come_back()
    # Longer afterwards even its token is unknown: still final for the client, still nothing.
    clock.advance(3600)
    before = seen()
    for method, where, body, _ in late_writes(dead, path, 6):
        lease.refused(403, method, where, body)
    assert seen() == before
    operations = api.get(f"{path}/export")["deployment"].get("pending_operations") or []
    assert [o["resource"]["urn"].split("::")[-1] for o in operations] == (["c"] if saving == "journal" else [])


def test_the_conflict_names_since_when_and_which_deployment(own, clock):
    """The run of a deployment holds the stack; the next one hears who asked for it, and which deployment it is."""
    org = Organization(own, clock=clock)
    org.write.deploy(STACK, "update")
    deployment, _, run = org.claim()
    held, lease = org.update(run)
    made = org.boss.post(f"{org.stack}/update", {"options": {}, "metadata": {}})
    answer = org.boss.call("POST", f"{org.stack}/update/{made['updateID']}", {"journalVersion": 1})
    body = answer.json()
    assert (answer.status_code, body["code"], body["message"]) == (409, 409, "Conflict: Another update is currently in progress.")
    holder = body["currentUpdate"]
    started = holder.pop("started")
    assert holder == {"updateID": held.rsplit("/")[-1], "kind": "update", "author": "with-write", "version": 2, "deploymentID": deployment}
    assert started == org.boss.get(f"{org.stack}/versions")["versions"][0]["startTime"]
    assert org.boss.get(org.stack)["currentOperation"] == {"kind": "update", "author": "with-write", "started": started}
    lease.post(f"{held}/complete", {"status": "succeeded"})
    org.boss.post(f"{org.stack}/update/{made['updateID']}", {"journalVersion": 1})


def test_of_many_that_start_at_once_one_gets_the_stack(api, path):
    """And the others its name; none of them leaves a version behind."""
    import threading
    made = [f"{path}/update/{api.post(f'{path}/update', {'options': {}, 'metadata': {}})['updateID']}" for _ in range(8)]
    answers = {}
    threads = [threading.Thread(target=lambda u=u: answers.update({u: api.call("POST", u, {"journalVersion": 1})})) for u in made]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    won = [u for u in made if answers[u].status_code == 200]
    assert len(won) == 1 and sorted(a.status_code for a in answers.values()) == [200] + [409] * 7
    assert {a.json()["currentUpdate"]["updateID"] for a in answers.values() if a.status_code == 409} == {won[0].rsplit("/")[-1]}
    assert api.get(path)["version"] == 1 and len(api.get(f"{path}/versions")["versions"]) == 1
