"""What happens, as one stream for each page of a browser."""
import time

import pytest
from helpers.access import STACK, Organization
from helpers.events import Events
from helpers.runner import Site

LIVE = "/api/console/events"


def live(api, query="", **more):
    return Events(api, LIVE + query, **more)


def kinds(seen):
    return [data["kind"] for event, _, data in seen if event == "event"]


def until_kind(stream, kind):
    seen = []
    for event in stream:
        seen.append(event)
        if event[0] == "event" and event[2]["kind"] == kind:
            return seen
    raise AssertionError(f"the stream ended without {kind}: {seen}")


@pytest.fixture
def site(own):
    return Site(own)


def test_events_come_as_they_happen(site, stack):
    site.stack(stack)
    stream = live(site.api)
    assert stream.answer.status == 200 and stream.answer.headers["Content-Type"] == "text/event-stream"
    event, begin, data = next(stream)
    assert event == "hello" and data["version"] and stream.retry == 2000
    for _ in range(5):
        began = time.monotonic()
        made = site.api.deploy(stack, "preview")
        queued = until_kind(stream, "deployment.queued")[-1]
        assert time.monotonic() - began < 5
        assert queued[2]["payload"]["deploymentId"] == made["id"] and queued[2]["created"] and queued[1] > begin


def test_a_page_goes_on_where_it_was(site, own, stack):
    """Also over a restart of the server: nothing is missing, nothing comes twice."""
    site.stack(stack)
    stream = live(site.api)
    begin = next(stream)[1]
    ids = [site.api.deploy(stack, "preview")["id"] for _ in range(250)]
    seen = []
    while len(seen) < 100:
        event, place, data = next(stream)
        seen.append(data["payload"]["deploymentId"])
    site.server.stop()
    api = own(command="serve", folder=site.server.folder).api(site.api.token)
    stream = live(api, f"?after={place}")
    assert next(stream)[1] == place
    while len(seen) < 250:
        seen.append(next(stream)[2]["payload"]["deploymentId"])
    assert seen == ids
    begun = live(api, f"?after={begin}")
    assert next(begun)[0] == "hello"
    assert [next(begun)[2]["payload"]["deploymentId"] for _ in ids] == ids


def test_what_is_not_kept_any_more_is_said(own, clock, stack):
    site = Site(own, clock=clock)
    begin = next(live(site.api))[1]
    site.stack(stack)
    clock.advance(31 * 86400)
    site.api.deploy(stack, "preview")
    end = time.monotonic() + 30
    while time.monotonic() < end:
        stream = live(site.api, f"?after={begin}")
        seen = [next(stream)[0], next(stream)[0]]
        if seen == ["hello", "reset"]:
            return
        time.sleep(0.3)
    raise AssertionError(seen)


def test_each_sees_what_they_may(own):
    org = Organization(own)
    callers = ("none", "read", "deploy", "boss", "stranger")
    streams = {name: live(getattr(org, name)) for name in callers}
    for stream in streams.values():
        assert next(stream)[0] == "hello"
    org.boss.deploy(STACK, "preview")
    org.boss.create_stack("acme/shop/other")
    org.machine("ci")
    org.boss.ok("PATCH", "/api/orgs/acme", {"setDefaultStackPermission": 0, "membersCanCreateStacks": False})
    expected = {"none": ["organization.changed"], "stranger": [],
                "read": ["deployment.queued", "organization.changed"], "deploy": ["deployment.queued", "organization.changed"],
                "boss": ["deployment.queued", "stack.created", "token.created", "organization.changed"]}
    for name in callers:
        if name == "stranger":
            org.stranger.create_stack("elsewhere/shop/own")
            assert kinds(until_kind(streams[name], "stack.created")) == ["stack.created"]
        else:
            assert kinds(until_kind(streams[name], "organization.changed")) == expected[name], name


def test_who_may_follow_it(own):
    org = Organization(own)
    for api in (org.machine("ci"), org.server.api(org.pool["tokenValue"]), org.server.api("")):
        assert api.call("GET", LIVE).status_code in (401, 403)
    org.read.refused(400, "GET", LIVE + "?after=yesterday", names="after")
    org.read.refused(400, "GET", LIVE + "?heartbeat=0", names="heartbeat")


def test_the_log_of_a_deployment_in_the_same_stream(site, stack):
    run = site.run(site.stack(stack))
    stream = live(site.api, f"?deployment={run.id}")
    assert next(stream)[0] == "hello"
    run.step(0, name="Setup")
    run.log(0, "one\n")
    seen = stream.until("lines")
    assert seen[-1][2]["lines"][0]["line"] == "one\n"
    place, after = seen[-1][1], [x[1] for x in seen if x[0] == "event"][-1:]
    run.log(0, "two\n")
    run.finish()
    seen = stream.until("end")
    assert [x["line"] for event, _, data in seen if event == "lines" for x in data["lines"]] == ["two\n"]
    # Behind the end of the log the events go on.
    site.api.deploy(stack, "preview")
    until_kind(stream, "deployment.queued")
    # And from the place in the middle.
    again = live(site.api, f"?deployment={run.id}&logToken={place}" + (f"&after={after[0]}" if after else ""))
    assert [x["line"] for event, _, data in again.until("end") if event == "lines" for x in data["lines"]] == ["two\n"]
    site.api.refused(400, "GET", f"{LIVE}?deployment={run.id}&logToken=x", names="logToken")
    site.api.refused(404, "GET", f"{LIVE}?deployment=0199d2a0-0000-7000-8000-000000000000", names="0199d2a0")


def test_rights_are_looked_up_again(own):
    org = Organization(own)
    org.boss.deploy(STACK, "preview")
    deployment, runner, _ = org.claim()
    org.none.refused(404, "GET", f"{LIVE}?deployment={deployment}")
    stream = live(org.read, f"?deployment={deployment}&heartbeat=1")
    assert stream.until("status")
    org.grant("with-read", "none")
    assert stream.until("gone")[-1][2] == {}
    org.boss.deploy(STACK, "preview")
    # A token that is revoked ends the stream.
    made = org.read.post("/api/user/tokens", {"description": "page"})
    stream = live(org.server.api(made["tokenValue"]), "?heartbeat=1")
    assert next(stream)[0] == "hello"
    org.read.ok("DELETE", f"/api/user/tokens/{made['id']}", status=204)
    with pytest.raises(Exception):
        while True:
            next(stream)


def test_silence_is_broken(site):
    stream = live(site.api, "?heartbeat=1")
    next(stream)
    time.sleep(3.2)
    site.api.create_stack("acme/quiet/dev")
    until_kind(stream, "stack.created")
    assert stream.comments >= 2
