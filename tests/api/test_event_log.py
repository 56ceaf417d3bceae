"""The events that actions leave: each leaves its own, once, with what a webhook's payload needs (features §5.3)."""
import pytest
from helpers import programs
from helpers.api import path_of
from helpers.waiting import wait_until

from test_drift_runs import begin, change, finish, send, summary


class Log:
    """What has happened since it was looked at last."""

    def __init__(self, api):
        self.api = api
        self.last = self.newest()

    def newest(self):
        events = self.api.get("/api/site/events?maxResults=1")["events"]
        return events[0]["id"] if events else ""

    def since(self):
        """Oldest first: [(kind, payload)]."""
        events = [e for e in self.api.get("/api/site/events?maxResults=1000")["events"] if e["id"] > self.last]
        self.last = events[0]["id"] if events else self.last
        return [(e["kind"], e["payload"]) for e in reversed(events)]

    def kinds(self):
        return [kind for kind, _ in self.since()]

    def one(self, kind) -> dict:
        events = self.since()
        assert [k for k, _ in events] == [kind], events
        return events[0][1]


@pytest.fixture
def server(own):
    server = own(command="serve")
    server.admin("org", "add", "acme")
    return server


@pytest.fixture
def boss(server):
    return server.user("boss", role="admin")


@pytest.fixture
def log(boss):
    return Log(boss)  # the first user administers the site


@pytest.fixture
def path(boss, stack, log):
    path = boss.create_stack(stack)
    log.since()
    return path


def check_common(payload, stack=None, user="boss"):
    assert payload["organization"] == {"name": "acme", "githubLogin": "acme", "avatarUrl": ""}
    assert payload["user"] == {"name": user, "githubLogin": user, "avatarUrl": ""}
    if stack:
        assert [payload["projectName"], payload["stackName"]] == stack.split("/")[1:]
    else:
        assert "stackName" not in payload and "projectName" not in payload


def test_stacks(boss, log, stack, project):
    path = boss.create_stack(stack)
    made = log.one("stack.created")
    assert made["action"] == "created"
    check_common(made, stack)
    boss.refused(409, "POST", f"/api/stacks/acme/{project}", {"stackName": "dev"})
    assert log.kinds() == []
    boss.post(f"{path}/rename", {"newName": "prod"})
    renamed = log.one("stack.renamed")
    assert (renamed["formerProjectName"], renamed["formerStackName"], renamed["stackName"]) == (project, "dev", "prod")
    boss.ok("DELETE", f"/api/stacks/acme/{project}/prod")
    gone = log.one("stack.deleted")
    assert gone["action"] == "deleted"
    check_common(gone, f"acme/{project}/prod")


@pytest.mark.parametrize("kind", ["update", "refresh", "destroy"])
@pytest.mark.parametrize("result", ["succeeded", "failed"])
def test_updates(boss, log, path, stack, kind, result):
    update, lease = begin(boss, path, kind, dry=False)
    send(lease, update, summary(0, create=2, same=1))
    assert log.kinds() == []
    finish(lease, update, result)
    finish(lease, update, result)
    event = log.one("stack.update")
    check_common(event, stack)
    assert event == {**event, "updateId": update.split("/")[-1], "kind": kind, "result": result, "version": 1, "isPreview": False,
                     "resourceChanges": {"create": 2, "same": 1}, "updateUrl": f"{boss.url}/{stack}/updates/1"}


def test_previews(boss, log, path, stack):
    for kind, dry in (("preview", False), ("update", True), ("destroy", True)):
        update, lease = begin(boss, path, kind, dry)
        finish(lease, update)
        event = log.one("stack.preview")
        assert event == {**event, "kind": kind, "result": "succeeded", "isPreview": True, "resourceChanges": {},
                         "updateUrl": f"{boss.url}/{stack}/previews/{update.split('/')[-1]}"}
    update, lease = begin(boss, path)
    send(lease, update, change(0, old={"x": 1}, new={"x": 2}), summary(1, update=1))
    finish(lease, update)
    (first, preview), (second, drift) = log.since()
    assert (first, second) == ("stack.preview", "drift.detection") and preview["kind"] == "refresh"
    assert drift == {**drift, "driftDetected": True, "status": "succeeded", "resourceChanges": {"update": 1},
                     "driftRunId": boss.get(f"{path}/drift/status")["latestDriftRun"], "referenceUrl": preview["updateUrl"]}


def test_cancelled_imported_and_never_begun(boss, log, path):
    update, lease = begin(boss, path, "update", dry=False)
    boss.ok("POST", f"{update}/cancel")
    assert log.one("stack.update")["result"] == "failed"
    boss.post(f"{path}/import", {"version": 3, "deployment": {"manifest": {"time": "2026-01-01T00:00:00Z", "magic": "", "version": ""}, "resources": []}})
    imported = log.one("stack.update")
    assert imported["kind"] == "import" and imported["result"] == "succeeded" and imported["version"] == 2
    boss.post(f"{path}/update", {"metadata": {"message": ""}})
    assert log.kinds() == []


def test_an_import_of_resources_is_told_by_the_command(boss, log, path):
    for agent, kind in (("pulumi-cli/1 (v3.259.0; linux; cmd=import)", "resource-import"), ("pulumi-cli/1 (v3.259.0; linux; cmd=import; agent=x)", "resource-import"),
                        ("pulumi-cli/1 (v3.259.0; linux; cmd=import-x)", "update"), ("pulumi-cli/1 (v3.259.0; linux; cmd=up)", "update"),
                        ("other (cmd=import)", "update"), ("pulumi-cli/1 (v3.200.0; linux)", "update")):
        id = boss.post(f"{path}/update", {}, headers={"User-Agent": agent})["updateID"]
        lease = boss.with_token(boss.post(f"{path}/update/{id}", {})["token"], "update-token")
        finish(lease, f"{path}/update/{id}")
        assert boss.get(f"{path}/updates?pageSize=1&page=1")["updates"][0]["kind"] == kind, agent
        assert log.one("stack.update")["kind"] == ("import" if kind == "resource-import" else "update")


def test_deployments(own, repo, stack, project):
    server = own()
    api = server.api()
    log = Log(api)
    repo.commit(programs.stash(project))
    api.create_stack(stack)
    api.settings(stack, {"sourceContext": {"git": {"repoUrl": repo.url, "branch": "main"}}})
    log.since()
    done, _ = api.run(stack, "update")
    events = log.since()
    assert [k for k, _ in events] == ["deployment.queued", "deployment.started", "stack.update", "deployment.succeeded"]
    for (_, event), status in zip([events[0], events[1], events[3]], ("not-started", "running", "succeeded")):
        check_common(event, stack, "admin")
        assert event == {**event, "deploymentId": done["id"], "version": 1, "operation": "update", "status": status,
                         "deploymentUrl": f"{api.url}/{stack}/deployments/1"}
    update = events[2][1]
    assert update["deploymentId"] == done["id"] and update["resourceChanges"]["create"] == 2
    api.run(stack, "update", expect="failed", operationContext={"preRunCommands": ["false"]})
    events = log.since()
    assert [k for k, _ in events] == ["deployment.queued", "deployment.started", "deployment.failed"] and "Pre-run command 1" in events[2][1]["message"]
    api.post(f"{path_of(stack)}/deployments/pause")
    api.post(f"{path_of(stack)}/deployments/pause")
    made = api.deploy(stack, "update")
    api.ok("POST", f"{path_of(stack)}/deployments/{made['id']}/cancel")
    api.post(f"{path_of(stack)}/deployments/resume")
    assert log.kinds() == ["stack.paused", "deployment.queued", "deployment.skipped", "stack.resumed"]


def test_pauses_and_settings(boss, log, path, stack):
    boss.refused(400, "POST", f"{path}/deployments/pause")
    assert log.kinds() == []
    boss.settings(stack, {"operationContext": {"environmentVariables": {"A": {"secret": "of-the-settings"}}}})
    changed = log.one("settings.changed")
    check_common(changed, stack)
    assert changed["version"] == 1 and changed["source"] == "api" and "of-the-settings" not in str(changed)
    boss.refused(400, "POST", f"{path}/deployments/settings", {"sourceContext": {"git": {"branch": "a", "commit": "b"}}})
    assert log.kinds() == []
    boss.ok("POST", "/api/orgs/acme/deployments/pause")
    check_common(log.one("organization.paused"))
    boss.ok("POST", "/api/orgs/acme/deployments/pause")
    boss.ok("POST", "/api/orgs/acme/deployments/resume")
    assert log.kinds() == ["organization.resumed"]
    boss.ok("DELETE", f"{path}/deployments/settings")
    assert log.one("settings.removed")["version"] == 2


def test_members_and_grants(server, boss, log, path, stack):
    server.admin("user", "add", "newcomer")
    assert log.kinds() == []
    boss.post("/api/orgs/acme/members/newcomer", {"role": "member"})
    added = log.one("member.added")
    check_common(added)
    assert (added["member"], added["role"]) == ("newcomer", "member") and "formerRole" not in added
    for role in ("member", "admin"):
        boss.ok("PATCH", "/api/orgs/acme/members/newcomer", {"role": role})
    changed = log.one("member.changed")
    assert (changed["member"], changed["role"], changed["formerRole"]) == ("newcomer", "admin", "member")
    for _ in range(2):
        boss.ok("PUT", f"{path}/collaborators/newcomer", {"permission": 101, "deploy": True})
    granted = log.one("grant.changed")
    check_common(granted, stack)
    assert (granted["member"], granted["permission"]) == ("newcomer", "deploy")
    boss.ok("PUT", f"{path}/collaborators/newcomer", {"permission": 0})
    assert log.one("grant.changed") == {**granted, "permission": "none", "formerPermission": "deploy"}
    boss.ok("DELETE", f"{path}/collaborators/newcomer")
    boss.refused(404, "DELETE", f"{path}/collaborators/newcomer")
    assert log.one("grant.removed")["formerPermission"] == "none"
    boss.ok("DELETE", "/api/orgs/acme/members/newcomer")
    assert log.one("member.removed")["member"] == "newcomer"
    boss.refused(409, "PATCH", "/api/orgs/acme/members/boss", {"role": "member"})
    assert log.kinds() == []
    server.admin("user", "add", "newcomer", "--org", "acme")
    joined = log.one("member.added")
    assert joined["siteAdministrator"] is True and "user" not in joined
    boss.ok("PATCH", "/api/orgs/acme", {"setDefaultStackPermission": 101})
    assert log.one("organization.changed")["defaultStackPermission"] == "read"
    boss.ok("PATCH", "/api/orgs/acme", {})
    assert log.kinds() == []


def test_a_user_who_goes(server, boss, log):
    server.admin("user", "add", "leaver", "--org", "acme")
    log.since()
    boss.ok("DELETE", "/api/site/users/leaver")
    (first, left), (second, gone) = log.since()
    assert (first, left["organization"]["name"], left["member"]) == ("member.removed", "acme", "leaver")
    assert (second, gone["organization"]["name"], gone["member"], gone["user"]["githubLogin"]) == ("user.removed", "leaver", "leaver", "boss")
    boss.refused(404, "DELETE", "/api/site/users/leaver")
    assert log.kinds() == []


def test_tokens(server, boss, log, stack):
    made = boss.post("/api/user/tokens", {"description": "of a laptop"})
    event = log.one("token.created")
    assert event == {**event, "tokenId": made["id"], "tokenKind": "personal", "owner": "boss", "description": "of a laptop"}
    assert event["organization"]["name"] == "boss" and made["tokenValue"] not in str(event)
    boss.ok("DELETE", f"/api/user/tokens/{made['id']}")
    assert log.one("token.revoked")["tokenId"] == made["id"]
    boss.refused(404, "DELETE", f"/api/user/tokens/{made['id']}")
    assert log.kinds() == []
    machine = boss.post("/api/orgs/acme/tokens", {"name": "ci", "description": "", "admin": True})
    event = log.one("token.created")
    check_common(event)
    assert event == {**event, "tokenId": machine["id"], "tokenKind": "organization", "name": "ci", "admin": True}
    # What the machine does is told in its name.
    server.api(machine["tokenValue"]).create_stack(stack)
    event = log.one("stack.created")
    assert event["organizationToken"] == "ci" and "user" not in event
    boss.ok("DELETE", f"/api/orgs/acme/tokens/{machine['id']}")
    assert log.one("token.revoked")["tokenKind"] == "organization"
    server.admin("token", "create", "--user", "boss")
    assert log.one("token.created")["siteAdministrator"] is True


def test_warnings_before_a_time_to_live_ends(own, clock, stack):
    server = own(command="serve", clock=clock)
    server.admin("org", "add", "acme")
    api = server.user("boss", role="admin")
    log = Log(api)
    path = api.create_stack(stack)
    api.settings(stack, {"sourceContext": {"git": {"repoUrl": "https://example.com/x.git", "branch": "main"}}})
    destroy_at = api.post(f"{path}/deployments/ttl/schedules", {"timestamp": in_future(3 * 86400), "deleteAfterDestroy": True})["nextExecution"]
    log.since()
    for until in (3 * 86400 - 2 * 86400, 3 * 86400 - 2 * 3600, 3 * 86400 - 30 * 60):
        clock.set(until - 30)
        assert_quiet(log)
        clock.set(until + 1)
        warning = wait_until(log.since, 20, "the warning")
        assert [k for k, _ in warning] == ["stack.ttl_warning"]
        assert warning[0][1]["deleteAfterDestroy"] is True and warning[0][1]["destroyAt"][:19].replace("T", " ") == destroy_at[:19]
        check_common(warning[0][1], stack)
        assert_quiet(log)
    clock.set(3 * 86400 + 5)
    event = wait_until(log.since, 20, "the deployment")
    assert [k for k, _ in event] == ["deployment.queued"] and event[0][1]["operation"] == "destroy" and event[0][1]["initiator"] == "scheduled"


def in_future(seconds):
    import datetime
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def assert_quiet(log):
    """Nothing comes of the ticks of the next moment."""
    import time
    time.sleep(0.3)
    assert log.kinds() == []


def test_pages_and_filters(boss, log, path, stack, server):
    for _ in range(5):
        update, lease = begin(boss, path, "update", dry=False)
        finish(lease, update)
    boss.settings(stack, {})
    whole = boss.get("/api/site/events?maxResults=1000")["events"]
    assert [e["id"] for e in whole] == sorted((e["id"] for e in whole), reverse=True)
    pages, token = [], ""
    while token is not None:
        page = boss.get(f"/api/site/events?maxResults=3&continuationToken={token}")
        pages.append([e["id"] for e in page["events"]])
        token = page.get("continuationToken")
    assert [id for page in pages for id in page] == [e["id"] for e in whole] and all(len(p) <= 3 for p in pages)
    assert {e["kind"] for e in boss.get("/api/site/events?kind=stack.")["events"]} == {"stack.created", "stack.update"}
    assert len(boss.get("/api/site/events?kind=stack.update")["events"]) == 5
    assert {e["payload"]["organization"]["name"] for e in boss.get("/api/site/events?organization=boss")["events"]} == {"boss"}
    assert boss.get("/api/site/events?organization=nowhere") == {"events": []}
    assert whole[0]["organizationId"] and whole[0]["stackId"] and whole[0]["created"].endswith("Z")
    for query in ("maxResults=0", "maxResults=1001", "continuationToken=x"):
        boss.refused(400, "GET", f"/api/site/events?{query}", names=query.split("=")[0])


def test_they_go_after_a_month(own, clock, stack):
    server = own(clock=clock)
    api = server.api()
    api.create_stack(stack)
    assert len(api.get("/api/site/events")["events"]) >= 3
    clock.advance(29 * 86400)
    api.create_stack(stack + "-later")
    clock.advance(2 * 86400)
    wait_until(lambda: [e["payload"]["stackName"] for e in api.get("/api/site/events")["events"] if e["kind"] == "stack.created"] == ["dev-later"], 20, "the old ones to go")
