"""Engine events: batches out of order, repeated and late; pages, tokens and filters."""
import json
import random
import urllib.parse

import pytest
from helpers.access import STACK, Organization
from helpers.api import path_of
from helpers.waiting import wait_until

from test_state import begin


@pytest.fixture
def path(api, stack):
    api.create_stack(stack)
    return path_of(stack)


def line(sequence, **more):
    return {"sequence": sequence, "timestamp": 1790000000 + sequence, "diagnosticEvent": {"message": f"line {sequence}\n", "color": "raw", "severity": "info"}, **more}


def step(sequence, kind, urn, op="create"):
    return {"sequence": sequence, "timestamp": 1790000000, kind: {"metadata": {"op": op, "urn": urn, "type": "t:i:T", "old": None, "new": None, "logical": True}}}


def send(lease, update, events, **more):
    lease.ok("POST", f"{update}/events/batch", data=json.dumps({"events": events}).encode(), status=204, **more)


def page(api, update, **query):
    return api.get(f"{update}/events?" + urllib.parse.urlencode(query, doseq=True))


def walk(api, update, **query):
    """Every page up to the null token, as the CLI does."""
    pages, token = [], None
    for _ in range(200):
        answer = page(api, update, **({"continuationToken": token} if token else {}), **query)
        pages.append([e["sequence"] for e in answer["events"]])
        token = answer["continuationToken"]
        if token is None:
            return pages
        assert token and all(c.isalnum() or c in "-_" for c in token), f"not safe in a URL: {token!r}"
    raise AssertionError("the events never end")


def test_random_orders_and_repeats(api, path):
    """Whatever comes in whatever order: each event once, by its number, while the update runs and afterwards."""
    chance = random.Random(7)
    for n in (1, 49, 333):
        update, lease = begin(api, path)
        batches, at = [], 0
        while at < n:
            size = chance.randint(1, 50)
            batches.append([line(i) for i in range(at, min(at + size, n))])
            at += size
        arriving = batches + chance.choices(batches, k=3)
        chance.shuffle(arriving)
        for batch in arriving:
            chance.shuffle(batch)
            send(lease, update, batch, zipped=chance.random() < 0.5)
        running = page(api, update)
        assert [e["sequence"] for e in running["events"]] == list(range(n)) and running["continuationToken"] == str(n)
        lease.post(f"{update}/complete", {"status": "succeeded"})
        assert sum(walk(api, update), []) == list(range(n))


def test_what_comes_behind_a_gap_waits_for_it(api, path):
    update, lease = begin(api, path)
    assert page(api, update) == {"events": [], "continuationToken": "0"}
    send(lease, update, [line(0), line(1)])
    send(lease, update, [line(4), line(5)])
    first = page(api, update)
    assert [e["sequence"] for e in first["events"]] == [0, 1] and first["continuationToken"] == "2"
    assert page(api, update, continuationToken="2") == {"events": [], "continuationToken": "2"}
    send(lease, update, [line(2), line(3)])
    second = page(api, update, continuationToken="2")
    assert [e["sequence"] for e in second["events"]] == [2, 3, 4, 5] and second["continuationToken"] == "6"
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert page(api, update, continuationToken="6") == {"events": [], "continuationToken": None}


def test_a_gap_is_given_up_and_a_late_batch_is_told_to_new_readers(own, clock, stack):
    server = own(clock=clock)
    api = server.api()
    path = api.create_stack(stack)
    update, lease = begin(api, path)
    send(lease, update, [line(0), line(3)])
    assert [e["sequence"] for e in page(api, update)["events"]] == [0]
    clock.advance(6)
    seen = page(api, update, continuationToken="1")
    assert [e["sequence"] for e in seen["events"]] == [3] and seen["continuationToken"] == "4"
    send(lease, update, [line(1), line(2), line(3)])
    assert page(api, update, continuationToken="4")["events"] == [], "a reader that is past it hears nothing twice"
    assert [e["sequence"] for e in page(api, update)["events"]] == [0, 1, 2, 3]


def test_the_end_of_the_update_ends_the_waiting(api, path):
    update, lease = begin(api, path)
    send(lease, update, [line(2), line(5)])
    assert page(api, update)["events"] == []
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert walk(api, update) == [[2, 5]]
    # Nothing is added to what has ended: its readers were told that this was all.
    lease.refused(409, "POST", f"{update}/events/batch", {"events": [line(6)]})
    assert walk(api, update) == [[2, 5]]


def test_an_update_without_events(api, path):
    update, lease = begin(api, path, "preview")
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert page(api, update) == {"events": [], "continuationToken": None}


def test_pages_of_a_long_update(api, path):
    """More batches than fit on a page, overlapping, and large events; text stays as it was."""
    update, lease = begin(api, path)
    for at in range(0, 2000, 40):
        send(lease, update, [line(i) for i in range(at, min(at + 50, 2000))])
    text = '{"events":[{"sequence":2000,"timestamp":1,"stdoutEvent":{"message":"' + "x" * 5_000_000 + '","n":1.0,"e":1e400}}]}'
    lease.ok("POST", f"{update}/events/batch", data=text.encode(), zipped=True)
    send(lease, update, [line(2001)])
    lease.post(f"{update}/complete", {"status": "succeeded"})
    pages = walk(api, update)
    assert sum(pages, []) == list(range(2002)) and len(pages) > 2
    last = api.call("GET", f"{update}/events?continuationToken=2000").text
    assert '"n":1.0,"e":1e400' in last


def test_filters(api, path):
    update, lease = begin(api, path)
    send(lease, update, [{"sequence": 0, "timestamp": 1, "preludeEvent": {"config": {}}}, step(1, "resourcePreEvent", "urn:a"), step(2, "resourcePreEvent", "urn:b"),
                         step(3, "resOutputsEvent", "urn:a"), {**line(4), "diagnosticEvent": {"urn": "urn:a", "message": "", "color": "raw", "severity": "error"}},
                         step(5, "resOpFailedEvent", "urn:b"), {"sequence": 6, "timestamp": 1, "policyEvent": {"resourceUrn": "urn:a", "message": "urn:b"}},
                         {"sequence": 7, "timestamp": 1, "summaryEvent": {"resourceChanges": {"create": 1}}}])
    # The token goes on although nothing of the page was wanted.
    assert page(api, update, urn="urn:none") == {"events": [], "continuationToken": "8"}
    lease.post(f"{update}/complete", {"status": "succeeded"})
    for query, expected in (({"urn": "urn:a"}, [1, 3, 4, 6]), ({"urn": "urn:b"}, [2, 5]), ({"type": "resourcePreEvent"}, [1, 2]),
                            ({"type": ["resourcePreEvent", "summaryEvent"]}, [1, 2, 7]), ({"type": ["5", "7"]}, [1, 2, 5]),
                            ({"type": "resOutputsEvent", "urn": "urn:b"}, []), ({"type": "0"}, []), ({"urn": "", "include_non_activated": "true"}, list(range(8)))):
        assert walk(api, update, **query) == [expected], query
    for bad in ("resource", "17", "-1", "1x", ""):
        api.refused(400, "GET", f"{update}/events?type=5&type={bad}", names="type")
    api.refused(400, "GET", f"{update}/events?include_non_activated=maybe", names="include_non_activated")
    for bad in ("x", "-1", "1.5", "99999999999999999999"):
        api.refused(400, "GET", f"{update}/events?continuationToken={bad}", names="continuationToken")


def test_a_filter_finds_what_lies_pages_away(api, path):
    """The CLI asks for one page unless told otherwise: it has to have something on it if there is anything."""
    update, lease = begin(api, path)
    for at in range(0, 1500, 50):
        send(lease, update, [line(i) for i in range(at, at + 50)])
    send(lease, update, [step(1500, "resOutputsEvent", "urn:far")])
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert [e["sequence"] for e in page(api, update, urn="urn:far")["events"]] == [1500]
    assert walk(api, update, urn="urn:far") == [[1500]]


def test_changes_for_the_history(api, path):
    """What the summary event said, for updates and for previews; a repeated or late batch changes nothing about it."""
    changes = {"create": 2, "same": 1}
    summary = {"sequence": 1, "timestamp": 1, "summaryEvent": {"maybeCorrupt": False, "durationSeconds": 1, "resourceChanges": changes, "PolicyPacks": {}}}
    preview, lease = begin(api, path, dry_run=True)
    send(lease, preview, [summary])
    lease.post(f"{preview}/complete", {"status": "succeeded"})
    assert api.get(f"{path}/updates/latest/previews")["updates"][0]["info"]["resourceChanges"] == changes
    update, lease = begin(api, path)
    send(lease, update, [summary])
    send(lease, update, [line(0)])
    send(lease, update, [summary])
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert api.get(f"{path}/updates")["updates"][0]["resourceChanges"] == changes
    assert api.get(f"{path}/versions")["versions"][0]["resourceChanges"] == changes
    assert sum(walk(api, update), []) == [0, 1]


def test_changes_of_an_update_that_never_said_them(own, clock, stack):
    """Its client vanished: they are counted from the steps that it told of, each once."""
    api = own("--lease", "5m", clock=clock).api()
    path = api.create_stack(stack)
    update, lease = begin(api, path)
    steps = [step(0, "resourcePreEvent", "urn:a"), step(1, "resOutputsEvent", "urn:a"), step(2, "resOutputsEvent", "urn:b"), step(3, "resOutputsEvent", "urn:c", "same"),
             step(4, "resourcePreEvent", "urn:d", "update"), step(5, "resOpFailedEvent", "urn:d", "update")]
    steps.append(step(6, "resOutputsEvent", "urn:b", "delete-replaced"))
    steps[-1]["resOutputsEvent"]["metadata"].pop("logical")
    send(lease, update, steps[:3])
    send(lease, update, steps)
    clock.advance(400)
    wait_until(lambda: api.get(update)["status"] == "failed", 15, "the update's end")
    assert api.get(f"{path}/updates")["updates"][0]["resourceChanges"] == {"create": 2, "same": 1}
    cancelled, lease = begin(api, path)
    send(lease, cancelled, [step(0, "resOutputsEvent", "urn:a", "delete")])
    api.ok("POST", f"{cancelled}/cancel", status=204)
    assert api.get(f"{path}/updates")["updates"][0]["resourceChanges"] == {"delete": 1}
    silent, lease = begin(api, path)
    lease.post(f"{silent}/complete", {"status": "failed"})
    assert "resourceChanges" not in api.get(f"{path}/updates")["updates"][0]


# Whoever follows an update knows by its summary how it ended (the CLI takes one without for a success).
@pytest.mark.parametrize("kind", ["update", "preview"])
@pytest.mark.parametrize("ended_by, result, words", [
    ("cancel", "canceled", "was cancelled"), ("lease", "failed", "did not renew its lease"), ("deployment", "failed", "the deployment ended"),
    ("failed", "failed", "the update failed"), ("succeeded", None, None)])
def test_an_update_without_a_summary_gets_one(own, clock, kind, ended_by, result, words):
    org = Organization(own, clock=clock)
    asker, id, runner = org.boss, None, None
    if ended_by == "deployment":
        org.write.deploy(STACK, "update")
        id, runner, asker = org.claim()
    update, lease = begin(asker, org.stack, kind)
    send(lease, update, [line(0), step(1, "resOutputsEvent", "urn:pulumi:dev::shop::t:i:T::a"), line(4)])
    if ended_by == "cancel":
        org.boss.post(f"{update}/cancel")
    elif ended_by == "lease":
        clock.advance(400)
        wait_until(lambda: org.boss.get(update)["status"] == "failed", what="the end of its lease")
    elif ended_by == "deployment":
        for status in ("running", "failed"):
            runner.post(f"/api/runner/{id}/steps", {"attempt": 1, "step": 0, "name": "Setup", "status": status})
        runner.post(f"/api/runner/{id}/finish", {"attempt": 1, "status": "failed", "message": "gone"})
        wait_until(lambda: org.boss.get(update)["status"] == "failed", what="the end of the update")
    else:
        lease.post(f"{update}/complete", {"status": ended_by})
    events = page(org.boss, update)
    assert events["continuationToken"] is None
    own_events, added = events["events"][:3], events["events"][3:]
    assert [e["sequence"] for e in own_events] == [0, 1, 4]
    if not result:
        assert added == []
        return
    why, summary = added
    assert (why["sequence"], summary["sequence"]) == (5, 6)
    assert words in why["diagnosticEvent"]["message"] and why["diagnosticEvent"]["severity"] == "error"
    counted = {} if ended_by == "failed" else {"create": 1}
    assert summary["summaryEvent"] == {**summary["summaryEvent"], "result": result, "resourceChanges": counted}


def test_an_update_that_said_how_it_ended_is_believed(api, path):
    update, lease = begin(api, path)
    send(lease, update, [{"sequence": 0, "timestamp": 1, "summaryEvent": {"resourceChanges": {}, "result": "failed"}}])
    lease.post(f"{update}/complete", {"status": "failed"})
    assert [e["sequence"] for e in page(api, update)["events"]] == [0]
    # One that is cancelled before it has said anything.
    update, lease = begin(api, path)
    api.post(f"{update}/cancel")
    assert [list(e)[-1] for e in page(api, update)["events"]] == ["diagnosticEvent", "summaryEvent"]
    lease.refused(409, "POST", f"{update}/events/batch", {"events": [line(7)]})
    assert len(page(api, update)["events"]) == 2
