"""Schedules: raw, drift, time to live; what is due is queued once, whatever happened in between."""
import datetime
import re

import pytest
from helpers.api import path_of
from helpers.waiting import wait_until

GIT = {"git": {"repoUrl": "https://example.invalid/shop.git", "branch": "main"}}
UPDATE = {"operation": "update", "operationContext": {"options": {}}}
PLAIN = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\Z")  # the layout that the provider parses (clients §1.1)
DAY = 24 * 3600


def ahead(seconds):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def settle(api, stack):
    """A stack with settings, whose deployments wait: nothing of these tests needs a runner."""
    api.create_stack(stack)
    api.settings(stack, {"sourceContext": GIT})
    api.post(path_of(stack) + "/deployments/pause")
    return path_of(stack) + "/deployments"


@pytest.fixture
def path(api, stack):
    return settle(api, stack)


def deployments(api, path):
    return api.get(path + "?pageSize=100")["deployments"]


def test_a_raw_schedule_in_the_official_shape(api, path):
    made = api.post(path + "/schedules", {"scheduleCron": "0 */4 * * *", "request": UPDATE})
    assert made["scheduleCron"] == "0 */4 * * *" and "scheduleOnce" not in made
    assert made["kind"] == "deployment" and made["paused"] is False and made["lastExecuted"] == ""
    assert made["definition"]["request"]["operation"] == "update" and made["definition"]["programID"]
    assert all(PLAIN.match(made[name]) for name in ("nextExecution", "created", "modified"))
    assert made["nextExecution"].endswith("00:00.000") and int(made["nextExecution"][11:13]) % 4 == 0
    assert api.get(f"{path}/schedules/{made['id']}") == made
    assert api.get(path + "/schedules") == {"schedules": [made]}
    assert api.get(path + "/metadata")["hasSchedules"] is True


def test_once_drift_and_ttl(api, path):
    once = api.post(path + "/schedules", {"scheduleOnce": ahead(3600), "request": {"operation": "preview"}})
    assert PLAIN.match(once["scheduleOnce"]) and once["nextExecution"] == once["scheduleOnce"] and "scheduleCron" not in once
    drift = api.post(path + "/drift/schedules", {"scheduleCron": "@daily", "autoRemediate": True})
    request = drift["definition"]["request"]
    assert request["operation"] == "detect-drift" and request["operationContext"]["options"]["remediateIfDriftDetected"] is True
    ttl = api.post(path + "/ttl/schedules", {"timestamp": ahead(3 * DAY), "deleteAfterDestroy": True})
    request = ttl["definition"]["request"]
    assert request["operation"] == "destroy" and request["operationContext"]["options"]["deleteAfterDestroy"] is True
    # All of them are read and removed at the one common path.
    assert [s["id"] for s in api.get(path + "/schedules")["schedules"]] == [once["id"], drift["id"], ttl["id"]]
    for one in (once, drift, ttl):
        assert api.get(f"{path}/schedules/{one['id']}") == one
        api.ok("DELETE", f"{path}/schedules/{one['id']}", status=200)
        api.ok("DELETE", f"{path}/schedules/{one['id']}", status=200)  # idempotent
        api.refused(404, "GET", f"{path}/schedules/{one['id']}")
    assert api.get(path + "/schedules") == {"schedules": []}


def test_changes(api, path):
    made = api.post(path + "/schedules", {"scheduleCron": "0 1 * * *", "request": UPDATE})
    changed = api.post(f"{path}/schedules/{made['id']}", {"scheduleOnce": ahead(600), "request": {"operation": "refresh"}})
    assert changed["id"] == made["id"] and "scheduleCron" not in changed and changed["definition"]["request"]["operation"] == "refresh"
    drift = api.post(path + "/drift/schedules", {"scheduleCron": "0 1 * * *"})
    changed = api.post(f"{path}/drift/schedules/{drift['id']}", {"scheduleCron": "0 2 * * *", "autoRemediate": True})
    assert changed["scheduleCron"] == "0 2 * * *"
    assert changed["definition"]["request"]["operationContext"]["options"]["remediateIfDriftDetected"] is True
    api.refused(404, "POST", f"{path}/ttl/schedules/{drift['id']}", {"timestamp": ahead(600)})
    api.refused(404, "POST", f"{path}/schedules/no-such-id", {"scheduleCron": "0 1 * * *", "request": UPDATE})


@pytest.mark.parametrize("more", [
    {"sourceContext": {"git": {"repoUrl": "https://example.invalid/other.git", "branch": "next", "repoDir": "x"}}},
    {"sourceContext": {"git": {"commit": "c0ffee"}}},
    {"gitHub": {"repository": "acme/shop"}},
    {"sourceContext": {"template": {"sourceUrl": "https://example.invalid/t"}}},
    {"operationContext": {"preRunCommands": ["a"], "environmentVariables": {"A": "b"}}, "executorContext": {"executorImage": "x"}},
])
def test_a_request_comes_back_as_it_was(api, path, more):
    """What one source or revision takes away of the saved ones is not part of what was asked for."""
    request = {"operation": "update", "inheritSettings": True, **more}
    made = api.post(path + "/schedules", {"scheduleCron": "0 1 * * *", "request": request})
    assert made["definition"]["request"] == request == api.get(f"{path}/schedules/{made['id']}")["definition"]["request"]


def test_secrets_of_a_request_are_never_shown(api, path):
    request = {"operation": "update", "operationContext": {"environmentVariables": {"K": {"secret": "hunter2"}, "P": "plain"}}}
    made = api.post(path + "/schedules", {"scheduleCron": "@hourly", "request": request})
    variables = made["definition"]["request"]["operationContext"]["environmentVariables"]
    assert variables["K"]["secret"] == "[secret]" and variables["P"] == "plain"
    assert "hunter2" not in str(api.get(path + "/schedules"))


@pytest.mark.parametrize("body, names", [
    ({"request": UPDATE}, "scheduleOnce must be set"),
    ({"scheduleCron": "0 1 * * *", "scheduleOnce": "2040-01-01T00:00:00Z", "request": UPDATE}, "cannot both be set"),
    ({"scheduleCron": "0 25 * * *", "request": UPDATE}, "/scheduleCron: cron expression, hour: '25'"),
    ({"scheduleCron": "0 0 30 2 *", "request": UPDATE}, "no such day"),
    ({"scheduleCron": 5, "request": UPDATE}, "/scheduleCron"),
    ({"scheduleOnce": "2001-01-01T00:00:00Z", "request": UPDATE}, "/scheduleOnce: must lie in the future"),
    ({"scheduleOnce": "soon", "request": UPDATE}, "/scheduleOnce: must be a time"),
    ({"scheduleCron": "0 1 * * *"}, "/request"),
    ({"scheduleCron": "0 1 * * *", "request": {}}, "operation"),
    ({"scheduleCron": "0 1 * * *", "request": {"operation": "dance"}}, "/operation"),
    ({"scheduleCron": "0 1 * * *", "request": {"operation": "update", "agentPoolID": "no-such-pool"}}, "pool"),
])
def test_refused(api, path, body, names):
    api.refused(400, "POST", path + "/schedules", body, names=names)
    assert api.get(path + "/schedules") == {"schedules": []}


def test_refused_ttl_and_drift(api, path):
    api.refused(400, "POST", path + "/ttl/schedules", {}, names="timestamp must be set")
    api.refused(400, "POST", path + "/drift/schedules", {}, names="/scheduleCron")


def test_a_stack_without_settings_has_no_schedules(api, stack):
    api.create_stack(stack)
    api.refused(400, "POST", path_of(stack) + "/deployments/schedules", {"scheduleCron": "@daily", "request": UPDATE}, names="settings")
    assert api.get(path_of(stack) + "/deployments/metadata")["hasSchedules"] is False


def test_too_many(api, path):
    for _ in range(100):
        api.post(path + "/schedules", {"scheduleCron": "@yearly", "request": UPDATE})
    api.refused(400, "POST", path + "/schedules", {"scheduleCron": "@yearly", "request": UPDATE}, names="100 schedules")


def test_a_due_run_is_queued_once_and_stands_in_the_history(own, clock, stack):
    server = own(command="serve", clock=clock)
    server.admin("org", "add", "acme")
    api = server.user("operator", role="admin")
    path = settle(api, stack)
    made = api.post(path + "/schedules", {"scheduleCron": "0 * * * *", "request": {"operation": "refresh", "operationContext": {"preRunCommands": ["a"]}}})
    assert deployments(api, path) == []
    clock.set(3600)
    wait_until(lambda: deployments(api, path), what="the run of the first hour")
    queued = deployments(api, path)
    assert [d["pulumiOperation"] for d in queued] == ["refresh"]
    assert queued[0]["initiator"] == "scheduled" and queued[0]["requestedBy"]["githubLogin"] == "operator"
    seen = api.get(f"{path}/schedules/{made['id']}")
    assert PLAIN.match(seen["lastExecuted"]) and seen["nextExecution"] > made["nextExecution"]
    history = api.get(f"{path}/schedules/{made['id']}/history")["scheduleHistoryEvents"]
    assert [(h["result"], h["version"], h["scheduledActionID"], h["deploymentVersion"]) for h in history] == [("not-started", 1, made["id"], 1)]
    # A server that stood still for days makes up for what it missed by one run.
    server.kill()
    clock.set(3600 + 3 * DAY)
    server = own(command="serve", clock=clock, folder=server.folder)
    api = server.api(api.token)
    wait_until(lambda: len(deployments(api, path)) == 2, what="one run for all that were missed")
    clock.set(3600 + 3 * DAY + 60)
    assert len(deployments(api, path)) == 2


def test_one_time_ones_disappear_after_firing(own, clock, stack):
    server = own(command="serve", clock=clock)
    server.admin("org", "add", "acme")
    api = server.user("operator", role="admin")
    path = settle(api, stack)
    made = api.post(path + "/schedules", {"scheduleOnce": ahead(600), "request": UPDATE})
    clock.set(700)
    wait_until(lambda: deployments(api, path), what="the one run")
    assert api.get(path + "/schedules") == {"schedules": []}
    assert len(api.get(f"{path}/schedules/{made['id']}/history")["scheduleHistoryEvents"]) == 1
    api.refused(404, "POST", f"{path}/schedules/{made['id']}/pause")
    clock.set(3 * DAY)
    assert len(deployments(api, path)) == 1


def test_a_paused_one_rests(own, clock, stack):
    server = own(command="serve", clock=clock)
    server.admin("org", "add", "acme")
    api = server.user("operator", role="admin")
    path = settle(api, stack)
    resting = api.post(path + "/schedules", {"scheduleCron": "0 * * * *", "request": UPDATE})
    other = api.post(path + "/schedules", {"scheduleCron": "0 * * * *", "request": {"operation": "preview"}})
    for _ in range(2):
        api.ok("POST", f"{path}/schedules/{resting['id']}/pause", status=200)
    assert api.get(f"{path}/schedules/{resting['id']}")["paused"] is True
    clock.set(3600)
    wait_until(lambda: deployments(api, path), what="the other one")
    assert [d["pulumiOperation"] for d in deployments(api, path)] == ["preview"]
    api.ok("POST", f"{path}/schedules/{resting['id']}/resume", status=200)
    api.ok("DELETE", f"{path}/schedules/{other['id']}")
    assert api.get(f"{path}/schedules/{resting['id']}")["paused"] is False
    clock.set(7200)
    wait_until(lambda: len(deployments(api, path)) == 2, what="the resumed one")
    assert deployments(api, path)[0]["pulumiOperation"] == "update"


def test_a_run_that_cannot_be_queued_says_why(own, clock, stack):
    server = own(command="serve", clock=clock)
    server.admin("org", "add", "acme")
    api = server.user("operator", role="admin")
    path = settle(api, stack)
    made = api.post(path + "/schedules", {"scheduleCron": "0 * * * *", "request": UPDATE})
    api.ok("DELETE", path + "/settings")
    clock.set(3600)
    wait_until(lambda: api.get(f"{path}/schedules/{made['id']}/history")["scheduleHistoryEvents"], what="the run")
    assert "no deployment settings" in api.get(f"{path}/schedules/{made['id']}/history")["scheduleHistoryEvents"][0]["result"]
    assert deployments(api, path) == []


def test_a_time_to_live_warns_ahead(own, clock, stack):
    server = own(command="serve", clock=clock)
    server.admin("org", "add", "acme")
    api = server.user("operator", role="admin")
    path = settle(api, stack)
    api.post(path + "/ttl/schedules", {"timestamp": ahead(3 * DAY), "deleteAfterDestroy": True})

    def warnings():
        return server.log.read_text(errors="replace").count("stack.ttl_warning")

    for seconds, count in ((DAY + 60, 1), (3 * DAY - 2 * 3600 + 60, 2), (3 * DAY - 1800 + 60, 3)):
        assert warnings() == count - 1
        clock.set(seconds)
        wait_until(lambda: warnings() == count, what=f"warning {count}")
    assert deployments(api, path) == []
    clock.set(3 * DAY + 60)
    wait_until(lambda: deployments(api, path), what="the end")
    assert deployments(api, path)[0]["pulumiOperation"] == "destroy"
    assert warnings() == 3
