"""Levels on stacks, what lists show, whose rights a run has, members, tokens."""
import subprocess
import time

import pytest
import requests
from helpers.access import STACK, WIRE, Organization
from helpers.api import path_of

YEAR = 365 * 24 * 3600


@pytest.fixture
def org(own, clock):
    return Organization(own, clock=clock)


# ---- levels ----------------------------------------------------------------------------------------------------------

def test_a_grant_stands_in_place_of_the_default(org):
    member = org.none
    for default in WIRE:
        set_default = {"setDefaultStackPermission": WIRE[default]["permission"], "setDefaultStackDeploy": WIRE[default].get("deploy", False)}
        said = org.boss.ok("PATCH", "/api/orgs/acme", set_default)
        assert (said["defaultStackPermission"], said["defaultStackDeploy"]) == tuple(set_default.values())
        assert said == org.none.get("/api/orgs/acme/metadata")
        for level in (None, *WIRE):
            if level:
                assert org.grant("with-none", level)["permission"] == WIRE[level]["permission"]
            effective = level or default
            explained = org.boss.get("/api/console/orgs/acme/members/with-none/stacks/shop/dev")
            assert (explained["permission"], explained["deploy"]) == (WIRE[effective]["permission"], effective == "deploy")
            assert explained["organizationDefault"] == WIRE[default]["permission"] and explained["organizationRole"] == "member"
            got = {"read": member.call("GET", org.stack).status_code == 200,
                   "deploy": member.call("POST", org.stack + "/deployments", []).status_code == 400,
                   "write": member.call("PATCH", org.stack + "/tags", []).status_code == 400,
                   "admin": member.call("POST", org.stack + "/rename", []).status_code == 400}
            order = list(WIRE)
            assert got == {k: order.index(effective) >= order.index(k) for k in got}, (default, level)
        org.boss.ok("DELETE", f"{org.stack}/collaborators/with-none", status=204)
        org.boss.refused(404, "DELETE", f"{org.stack}/collaborators/with-none", names="with-none")


def test_grants_are_listed_and_checked(org):
    listed = org.read.get(org.stack + "/collaborators")
    assert listed["stackCreatorUserName"] == "boss"
    assert {u["user"]["githubLogin"]: (u["permission"], u["deploy"]) for u in listed["users"]} == {
        "boss": (103, False), "with-read": (101, False), "with-deploy": (101, True), "with-write": (102, False), "with-admin": (103, False)}
    path = org.stack + "/collaborators/with-none"
    for body, names in (({"permission": 7}, "/permission"), ({"permission": 102, "deploy": True}, "/deploy"), ({}, "/permission"), ({"permission": 104}, "/permission")):
        org.boss.refused(400, "PUT", path, body, names=names)
    org.boss.refused(404, "PUT", org.stack + "/collaborators/stranger", WIRE["read"], names="stranger")
    org.write.refused(403, "PUT", path, WIRE["read"], names="stack-access")
    org.admin.ok("PUT", path, WIRE["read"])
    assert org.none.get(org.stack)["stackName"] == "dev"
    org.boss.refused(400, "PATCH", "/api/orgs/acme", {"setDefaultStackDeploy": True}, names="setDefaultStackDeploy")
    org.admin.refused(403, "PATCH", "/api/orgs/acme", {"setDefaultStackPermission": 103})
    assert org.boss.get("/api/orgs/acme/metadata")["defaultStackPermission"] == 0, "a refusal changes nothing"


def test_who_makes_a_stack_administers_it(org):
    path = org.read.create_stack("acme/shop/mine")
    assert org.read.get(path)["stackName"] == "mine"
    org.none.refused(404, "GET", path)
    org.read.ok("PUT", path + "/collaborators/with-none", WIRE["write"])
    org.none.refused(403, "DELETE", path)
    org.read.ok("DELETE", path, status=204)
    org.boss.ok("PATCH", "/api/orgs/acme", {"setMembersCanCreateStacks": False})
    org.read.refused(403, "POST", "/api/stacks/acme/shop", {"stackName": "other"})
    org.boss.create_stack("acme/shop/other")
    # A stack that gets the name of one that was removed has none of its grants.
    org.boss.ok("DELETE", "/api/stacks/acme/shop/other")
    org.none.refused(404, "GET", path)


def test_a_new_organization_lets_members_write(own):
    server = own(command="serve")
    server.admin("org", "add", "acme")
    boss, member = server.user("boss", role="admin"), server.user("member")
    path = boss.create_stack(STACK)
    assert member.get("/api/orgs/acme/metadata")["defaultStackPermission"] == 102
    member.ok("PATCH", path + "/tags", {"a": "b"})
    member.refused(403, "DELETE", path)


# ---- deploy ----------------------------------------------------------------------------------------------------------

def test_deploy_starts_and_cancels_as_configured(org):
    made = org.deploy.deploy(STACK, "update")
    # What the CLI sends when no flag was given (cli-protocol §4.2) overrides nothing, the saved pool neither.
    other = org.boss.post("/api/orgs/acme/agent-pools", {"name": "others"})
    org.boss.settings(STACK, {"agentPoolID": org.pool["id"]})
    org.boss.ok("PATCH", f"/api/orgs/acme/agent-pools/{other['id']}", {"isDefault": True})
    like_the_cli = org.deploy.deploy(STACK, "preview", agentPoolID=None, inheritSettings=True, executorContext={"workingDirectory": ""}, operationContext={"preRunCommands": [], "operation": "", "environmentVariables": {}},
                      sourceContext={"git": {"repoUrl": "", "branch": "", "commit": ""}})
    assert org.boss.deployment(STACK, like_the_cli["id"])["agentPool"]["name"] == "builders"
    seen = org.deploy.deployment(STACK, made["id"])
    assert seen["status"] == "not-started" and "configuration" not in seen
    assert "plain-value" not in str(seen) and "secret-value" not in str(seen)
    assert org.read.deployment(STACK, made["id"])["configuration"]["environmentVariables"][0] == {"name": "PLAIN", "value": "plain-value", "secret": False}
    org.deploy.ok("POST", f"{org.stack}/deployments/{made['id']}/cancel")
    assert org.boss.deployment(STACK, made["id"])["status"] == "skipped"
    org.read.refused(403, "POST", f"{org.stack}/deployments/{made['id']}/cancel")
    org.read.refused(403, "POST", f"{org.stack}/deployments", {"operation": "update"}, names="stack-deploy")


@pytest.mark.parametrize("body", [
    {"inheritSettings": False}, {"agentPoolID": "0199d2a0-0000-7000-8000-000000000000"},
    {"operationContext": {"environmentVariables": {"A": "1"}}}, {"operationContext": {"environmentVariables": {"PLAIN": None}}},
    {"operationContext": {"environmentVariables": {"A": {"secret": "x"}}}}, {"operationContext": {"preRunCommands": ["true"]}},
    {"operationContext": {"options": {"deleteAfterDestroy": False}}}, {"sourceContext": {"git": {"branch": "other"}}},
    {"sourceContext": None}, {"executorContext": {"executorImage": "x"}}, {"cacheOptions": {"enable": True}}],
    ids=lambda body: next(iter(body)))
def test_deploy_overrides_nothing(org, body):
    before = org.boss.get(org.stack + "/deployments")["total"]
    org.deploy.refused(403, "POST", org.stack + "/deployments", {"operation": "update", **body})
    assert org.boss.get(org.stack + "/deployments")["total"] == before


def test_deploy_learns_nothing_of_the_settings(org):
    org.deploy.refused(403, "GET", org.stack + "/deployments/settings", names="settings-read")
    assert org.read.get(org.stack + "/deployments/settings")["operationContext"]["environmentVariables"]["PLAIN"] == "plain-value"
    # Whether a variable is there, and is a secret, shows in no answer.
    said = {org.deploy.call("POST", org.stack + "/deployments", {"operation": "update", "operationContext": {"environmentVariables": {name: {"secret": "[secret]"}}}}).text.replace(name, "")
            for name in ("SECRET", "PLAIN", "NONE")}
    assert len(said) == 1, said
    schedule = org.boss.post(org.stack + "/deployments/schedules", {"scheduleCron": "0 0 * * *", "request": {"operation": "update", "operationContext": {"environmentVariables": {"X": "in-the-schedule"}}}})
    org.deploy.refused(403, "GET", org.stack + "/deployments/schedules")
    org.deploy.refused(403, "GET", f"{org.stack}/deployments/schedules/{schedule['id']}")
    org.boss.ok("DELETE", org.stack + "/deployments/settings")
    org.deploy.refused(400, "POST", org.stack + "/deployments", {"operation": "update"}, names="no deployment settings")


def test_a_role_that_nobody_knows_is_refused(org):
    for role in ({"id": "role-1"}, {"name": "admin"}, {"defaultIdentifier": "stack-admin"}):
        for path, body in ((org.stack + "/deployments/settings", {"operationContext": {"role": role}}),
                           (org.stack + "/deployments", {"operation": "update", "operationContext": {"role": role}})):
            org.boss.refused(400, "POST", path, body, names="/operationContext/role")
    for role in (None, {}, {"id": ""}):
        org.boss.post(org.stack + "/deployments/settings", {"operationContext": {"role": role}})


# ---- lists -----------------------------------------------------------------------------------------------------------

def test_lists_show_what_may_be_read(org):
    org.boss.create_stack("acme/shop/secret")
    org.boss.create_stack("acme/hidden/dev")
    for stack in (STACK, "acme/shop/secret", "acme/hidden/dev"):
        org.boss.settings(stack, org.settings)
        org.boss.deploy(stack, "preview")
        org.boss.post(path_of(stack) + "/deployments/pause")
    everything = {STACK, "acme/shop/secret", "acme/hidden/dev"}
    machine, ops = org.machine("ci"), org.machine("ops", admin=True)
    cases = [(org.boss, everything), (org.read, {STACK}), (org.deploy, {STACK}), (org.none, set()), (machine, set()), (ops, everything)]
    for api, visible in cases:
        listed = api.get("/api/user/stacks?organization=acme")["stacks"]
        assert {"/".join((s["orgName"], s["projectName"], s["stackName"])) for s in listed} == visible
        page = api.get("/api/orgs/acme/deployments")
        assert {f"acme/{d['projectName']}/{d['stackName']}" for d in page["deployments"]} == visible and page["total"] == len(visible)
        about = api.get("/api/orgs/acme/deployments/metadata")
        assert about["deploymentCounts"]["total"] == len(visible) and {"acme/" + s for s in about["pausedStacks"]} == visible
        for project in ("shop", "hidden"):
            seen = any(s.split("/")[1] == project for s in visible)
            assert api.call("GET", f"/api/stacks/acme/{project}").status_code == (200 if seen else 404), (project, visible)
    assert org.stranger.get("/api/user/stacks")["stacks"] == []
    # With an open default, one who is shut out of one stack does not see that one.
    org.boss.ok("PATCH", "/api/orgs/acme", {"setDefaultStackPermission": 101})
    org.grant("with-none", "none", "acme/hidden/dev")
    assert org.none.get("/api/orgs/acme/deployments")["total"] == 2
    assert {s["projectName"] for s in org.none.get("/api/user/stacks?organization=acme")["stacks"]} == {"shop"}
    assert machine.get("/api/orgs/acme/deployments")["total"] == 3
    assert len(machine.get("/api/user/stacks")["stacks"]) == 3


def test_pages_show_what_may_be_read(org):
    made = org.boss.deploy(STACK, "preview")
    for api, status in ((org.none, 404), (org.stranger, 404), (org.deploy, 200), (org.boss, 200)):
        with requests.Session() as browser:
            browser.trust_env = False
            browser.post(org.server.url + "/console/session", data={"token": api.token, "to": "/"}, allow_redirects=False)
            for page in (f"/{STACK}", f"/{STACK}/deployments/{made['version']}"):
                assert browser.get(org.server.url + page).status_code == status
            assert ("acme/shop/dev" in browser.get(org.server.url + "/").text) == (status == 200)


# ---- runs ------------------------------------------------------------------------------------------------------------

def test_a_run_has_the_rights_of_who_asked_as_they_are_now(org):
    for name, level in (("readable", "read"), ("writable", "write"), ("closed", None)):
        org.boss.create_stack(f"acme/shop/{name}")
        if level:
            org.grant("with-deploy", level, f"acme/shop/{name}")
    org.deploy.deploy(STACK, "update")
    id, _, run = org.claim()
    assert run.get("/api/user")["githubLogin"] == "with-deploy"
    # Its own stack: all that an update needs, though who asked may only press the button. Not the settings.
    run.ok("PATCH", org.stack + "/tags", {"by": "run"})
    update, lease = org.update(run)
    lease.post(update + "/complete", {"status": "succeeded"})
    run.refused(403, "POST", org.stack + "/deployments/settings", {})
    run.refused(403, "PUT", org.stack + "/collaborators/with-none", WIRE["admin"])
    run.refused(403, "POST", "/api/user/tokens", {"description": "x"})
    run.refused(403, "POST", "/api/orgs/acme/tokens", {"name": "x", "description": "x", "admin": True})
    run.refused(403, "PATCH", "/api/orgs/acme", {"setDefaultStackPermission": 103})
    # Other stacks: what who asked may do.
    run.get("/api/stacks/acme/shop/readable")
    run.refused(403, "PATCH", "/api/stacks/acme/shop/readable/tags", {})
    run.ok("PATCH", "/api/stacks/acme/shop/writable/tags", {})
    run.refused(404, "GET", "/api/stacks/acme/shop/closed")
    assert {s["stackName"] for s in run.get("/api/user/stacks")["stacks"]} == {"dev", "readable", "writable"}
    # What is taken away is gone at once.
    org.grant("with-deploy", "none", "acme/shop/writable")
    run.refused(404, "GET", "/api/stacks/acme/shop/writable")
    org.grant("with-deploy", "read")
    run.get(org.stack)
    run.refused(403, "PATCH", org.stack + "/tags", {})
    org.boss.ok("DELETE", "/api/orgs/acme/members/with-deploy", status=204)
    run.refused(404, "GET", org.stack)
    run.refused(404, "GET", "/api/stacks/acme/shop/readable")


def test_the_token_of_a_run_dies_with_its_job(org):
    org.write.deploy(STACK, "update")
    id, runner, run = org.claim()
    run.get(org.stack)
    for step in ("running", "succeeded"):
        runner.post(f"/api/runner/{id}/steps", {"attempt": 1, "step": 0, "name": "Setup", "status": step})
    runner.post(f"/api/runner/{id}/finish", {"attempt": 1, "status": "succeeded", "message": ""})
    run.refused(401, "GET", org.stack)
    runner.refused(401, "POST", f"/api/runner/{id}/heartbeat", {"attempt": 1})


def test_a_run_that_nobody_asked_for_has_its_own_stack(org):
    org.boss.create_stack("acme/shop/other")
    # Over the control socket nobody in particular asks.
    done = subprocess.run(["curl", "-sS", "--unix-socket", str(org.server.data / "slipway.sock"), "-X", "POST", "-H", "Content-Type: application/json",
                           "-d", '{"operation":"update"}', "http://localhost" + org.stack + "/deployments"], capture_output=True, text=True, check=True)
    assert '"version"' in done.stdout, done.stdout
    _, _, run = org.claim()
    run.ok("PATCH", org.stack + "/tags", {"by": "run"})
    run.refused(404, "GET", "/api/stacks/acme/shop/other")
    run.refused(404, "GET", "/api/orgs/acme/members")
    run.refused(403, "POST", org.stack + "/deployments/settings", {})
    assert [s["stackName"] for s in run.get("/api/user/stacks")["stacks"]] == ["dev"]


def test_a_run_of_a_machine_lives_by_its_token(org):
    org.boss.create_stack("acme/shop/other")
    org.boss.ok("PATCH", "/api/orgs/acme", {"setDefaultStackPermission": 102})
    machine = org.machine("ci")
    machine.deploy(STACK, "update")
    id, _, run = org.claim()
    run.ok("PATCH", org.stack + "/tags", {"by": "run"})
    run.ok("PATCH", "/api/stacks/acme/shop/other/tags", {})
    assert len(run.get("/api/user/stacks")["stacks"]) == 2
    token = next(t for t in org.boss.get("/api/orgs/acme/tokens")["tokens"] if t["name"] == "ci")
    org.boss.ok("DELETE", f"/api/orgs/acme/tokens/{token['id']}", status=204)
    machine.refused(401, "GET", "/api/user")
    run.refused(404, "GET", org.stack)
    run.refused(404, "GET", "/api/stacks/acme/shop/other")
    assert run.get("/api/user/stacks")["stacks"] == []


def test_tokens_of_one_job_or_update_are_good_for_no_other(org):
    org.boss.create_stack("acme/shop/other")
    org.boss.settings("acme/shop/other", org.settings)
    org.boss.deploy(STACK, "update")
    org.boss.deploy("acme/shop/other", "update")
    (first, one, _), (second, two, _) = org.claim(), org.claim()
    one.refused(403, "POST", f"/api/runner/{second}/heartbeat", {"attempt": 1})
    one.post(f"/api/runner/{first}/heartbeat", {"attempt": 1})
    update, lease = org.update(org.boss)
    other, _ = org.update(org.boss, "/api/stacks/acme/shop/other")
    lease.refused(403, "POST", other + "/complete", {"status": "succeeded"})
    lease.refused(401, "GET", org.stack)


# ---- the administrators of the site -----------------------------------------------------------------------------------

def test_the_site_looks_into_any_deployment(org):
    made = org.boss.deploy(STACK, "update")
    org.root.refused(404, "GET", f"{org.stack}/deployments/{made['id']}")
    path = f"/api/admin/deployments/{made['id']}"
    assert org.root.get(path + "/logs")["lines"] == []
    for api in (org.boss, org.stranger, org.machine("ops", admin=True)):
        assert api.call("POST", path + "/cancel").status_code in (401, 403)
    org.root.ok("POST", path + "/cancel")
    assert org.boss.deployment(STACK, made["id"])["status"] == "skipped"
    for id in ("0199d2a0-0000-7000-8000-000000000000", "1", "x"):
        for method, tail in (("POST", "cancel"), ("GET", "logs")):
            org.root.refused(404, method, f"/api/admin/deployments/{id}/{tail}", names=id)


# ---- members ---------------------------------------------------------------------------------------------------------

def test_members(org):
    members = "/api/orgs/acme/members"
    org.server.admin("user", "add", "newcomer")
    org.boss.refused(404, "POST", members + "/nobody", {"role": "member"}, names="nobody")
    org.boss.refused(400, "POST", members + "/newcomer", {"role": "king"}, names="/role")
    made = org.boss.post(members + "/newcomer", {"role": "member"})
    assert made["role"] == "member" and made["user"]["githubLogin"] == "newcomer" and made["fgaRole"]["id"] == "member"
    org.boss.refused(409, "POST", members + "/newcomer", {"role": "admin"}, names="newcomer")
    assert org.boss.ok("PATCH", members + "/newcomer", {"role": "admin"})["role"] == "admin"
    assert org.boss.ok("PATCH", members + "/newcomer", {"role": "admin", "fgaRoleId": "member"})["role"] == "member"
    org.boss.refused(400, "PATCH", members + "/newcomer", {"fgaRoleId": "custom"}, names="/fgaRoleId")
    org.boss.refused(400, "PATCH", members + "/newcomer", {}, names="/role")
    org.boss.refused(404, "PATCH", members + "/stranger", {"role": "admin"}, names="stranger")
    for kind in ("", "?type=frontend", "?type=backend"):
        assert {m["user"]["githubLogin"] for m in org.none.get(members + kind)["members"]} == {"boss", "newcomer", *(f"with-{level}" for level in WIRE)}
    org.boss.refused(400, "GET", members + "?type=other", names="type")
    org.admin.refused(403, "POST", members + "/stranger", {"role": "member"})
    # What was granted goes with the member.
    org.grant("newcomer", "write")
    org.boss.ok("DELETE", members + "/newcomer", status=204)
    org.boss.refused(404, "DELETE", members + "/newcomer")
    org.boss.post(members + "/newcomer", {})
    assert "newcomer" not in str(org.boss.get(org.stack + "/collaborators"))


def test_an_organization_keeps_an_administrator(org):
    members = "/api/orgs/acme/members"
    org.boss.refused(409, "PATCH", members + "/boss", {"role": "member"}, names="administrator")
    org.boss.refused(400, "DELETE", members + "/boss")
    ops = org.machine("ops", admin=True)
    ops.refused(409, "DELETE", members + "/boss", names="administrator")
    run = org.server.admin("user", "add", "boss", "--org", "acme", "--role", "member", check=False)
    assert run.returncode == 1 and "administrator" in run.stderr
    org.boss.ok("PATCH", members + "/with-admin", {"role": "admin"})
    org.admin.ok("DELETE", members + "/boss", status=204)
    org.boss.refused(404, "GET", members)
    # Nobody joins, leaves or loses a personal organization.
    org.boss.refused(409, "POST", "/api/orgs/boss/members/with-read", {"role": "member"}, names="personal")
    org.boss.refused(409, "PATCH", "/api/orgs/boss/members/boss", {"role": "member"})
    org.read.refused(404, "GET", "/api/orgs/boss/members")


def test_many_members_come_in_pages(own):
    server = own(command="serve")
    server.admin("org", "add", "acme")
    boss = server.user("boss", role="admin")
    root = server.api(boss.token)
    for i in range(120):
        root.post("/api/site/users", {"name": f"user-{i:03}", "organization": "acme"})
    names, token, pages = [], "", 0
    while True:
        page = boss.get(f"/api/orgs/acme/members?type=backend&continuationToken={token}")
        names += [m["user"]["githubLogin"] for m in page["members"]]
        token, pages = page.get("continuationToken"), pages + 1
        if not token:
            break
    assert pages == 2 and names == ["boss", *(f"user-{i:03}" for i in range(120))]
    boss.refused(400, "GET", "/api/orgs/acme/members?continuationToken=%25", names="continuationToken")


# ---- tokens ----------------------------------------------------------------------------------------------------------

def test_personal_tokens(org, clock):
    soon = int(time.time() + clock.ahead) + 3600
    made = org.read.post("/api/user/tokens", {"description": "laptop", "expires": soon})
    token = org.server.api(made["tokenValue"])
    shown = next(t for t in org.read.get("/api/user/tokens")["tokens"] if t["id"] == made["id"])
    assert (shown["description"], shown["expires"], shown["lastUsed"], shown["type"], shown["admin"], shown["createdBy"]) == (
        "laptop", soon, 0, "personal", False, "with-read")
    assert token.get("/api/user")["githubLogin"] == "with-read"
    used = next(t for t in org.read.get("/api/user/tokens")["tokens"] if t["id"] == made["id"])["lastUsed"]
    assert abs(used - time.time()) < 60 and isinstance(used, int)
    assert made["tokenValue"] not in str(org.read.get("/api/user/tokens"))
    for expires in (1, soon + 3 * YEAR, -1):
        org.read.refused(400, "POST", "/api/user/tokens", {"description": "x", "expires": expires}, names="/expires")
    org.boss.refused(404, "DELETE", f"/api/user/tokens/{made['id']}")
    clock.advance(3601)
    token.refused(401, "GET", "/api/user")
    ids = {kind: [t["id"] for t in org.read.get(f"/api/user/tokens?filter={kind}")["tokens"]] for kind in ("active", "expired", "all")}
    assert made["id"] not in ids["active"] and ids["expired"] == [made["id"]] and set(ids["all"]) == set(ids["active"]) | {made["id"]}
    org.read.refused(400, "GET", "/api/user/tokens?filter=some", names="filter")
    other = org.read.post("/api/user/tokens", {"description": "y"})
    org.read.ok("DELETE", f"/api/user/tokens/{other['id']}", status=204)
    org.server.api(other["tokenValue"]).refused(401, "GET", "/api/user")


def test_tokens_come_in_pages(org):
    made = [org.boss.post("/api/user/tokens", {"description": str(i)})["id"] for i in range(5)]
    seen, token = [], ""
    while token is not None:
        page = org.boss.get(f"/api/user/tokens?maxResults=2&continuationToken={token}")
        assert len(page["tokens"]) <= 2
        seen += [t["id"] for t in page["tokens"]]
        token = page.get("continuationToken")
    assert seen[:5] == made[::-1] and len(seen) == len(set(seen)) == 6
    for query, name in (("maxResults=0", "maxResults"), ("maxResults=1001", "maxResults"), ("continuationToken=x", "continuationToken")):
        org.boss.refused(400, "GET", "/api/user/tokens?" + query, names=name)


def test_tokens_of_an_organization(org, clock):
    tokens = "/api/orgs/acme/tokens"
    soon = int(time.time() + clock.ahead) + 3600
    made = org.boss.post(tokens, {"name": "ci", "description": "for builds", "admin": False, "expires": soon})
    shown = org.boss.get(tokens)["tokens"]
    assert [(t["id"], t["name"], t["description"], t["admin"], t["createdBy"], t["expires"], t["type"]) for t in shown] == [
        (made["id"], "ci", "for builds", False, "boss", soon, "organization")]
    machine = org.server.api(made["tokenValue"])
    user = machine.get("/api/user")
    assert user["githubLogin"] == "acme" and user["tokenInfo"] == {"name": "ci", "organization": "acme"}
    assert [(o["githubLogin"], o["role"]) for o in user["organizations"]] == [("acme", "member")] and user["siteAdmin"] is False
    assert machine.get("/api/user/organizations/default")["gitHubLogin"] == "acme"
    assert org.boss.get(tokens)["tokens"][0]["lastUsed"] > 0
    machine.refused(404, "GET", org.stack)
    org.boss.ok("PATCH", "/api/orgs/acme", {"setDefaultStackPermission": 102})
    machine.ok("PATCH", org.stack + "/tags", {"by": "ci"})
    machine.refused(403, "DELETE", org.stack)
    machine.refused(403, "POST", tokens, {"name": "another", "description": "", "admin": False})
    machine.refused(403, "POST", "/api/user/tokens", {"description": "x"})
    machine.refused(404, "GET", "/api/orgs/elsewhere/members")
    ops = org.machine("ops", admin=True)
    ops.ok("PATCH", "/api/orgs/acme", {"setMembersCanCreateStacks": True})
    ops.refused(404, "GET", "/api/orgs/boss/members")
    clock.advance(3601)
    machine.refused(401, "GET", "/api/user")
    assert [t["name"] for t in org.boss.get(tokens)["tokens"]] == ["ops"]
    assert {t["name"] for t in org.boss.get(tokens + "?filter=all")["tokens"]} == {"ci", "ops"}


def test_names_of_tokens_are_used_once(org):
    tokens = "/api/orgs/acme/tokens"
    made = org.boss.post(tokens, {"name": "ci", "description": "", "admin": False, "expires": 0})
    org.boss.refused(409, "POST", tokens, {"name": "ci", "description": "", "admin": True}, names="ci")
    org.boss.ok("DELETE", f"{tokens}/{made['id']}", status=204)
    org.boss.refused(404, "DELETE", f"{tokens}/{made['id']}")
    org.boss.refused(409, "POST", tokens, {"name": "ci", "description": "", "admin": False}, names="ci")
    org.stranger.post("/api/orgs/elsewhere/tokens", {"name": "ci", "description": "", "admin": False})
    org.boss.post(tokens, {"name": "x" * 40, "description": "", "admin": False})
    for body, name in (({"name": "x" * 41}, "/name"), ({"name": ""}, "/name"), ({"description": "x"}, "/name"), ({"name": "r", "roleID": "some"}, "/roleID")):
        org.boss.refused(400, "POST", tokens, {"description": "", "admin": False, **body}, names=name)
    elsewhere = org.stranger.get("/api/orgs/elsewhere/tokens")["tokens"][0]["id"]
    org.boss.refused(404, "DELETE", f"{tokens}/{elsewhere}")
    personal = org.boss.get("/api/user/tokens")["tokens"][0]["id"]
    org.boss.refused(404, "DELETE", f"{tokens}/{personal}")
