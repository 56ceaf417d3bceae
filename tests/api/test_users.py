"""All users and organizations, users who go, and the verbs of `slipway admin` for people, levels and tokens."""
import json
import time

import pytest
from helpers.access import STACK, WIRE, Organization
from helpers.api import path_of
from helpers.waiting import wait_until

DAY = 24 * 3600


@pytest.fixture
def org(own, clock):
    return Organization(own, clock=clock)


def lines(server, *arguments):
    return [line.split("\t") for line in server.admin(*arguments).stdout.splitlines()]


def user(org, name):
    return next((u for u in org.root.get("/api/site/users")["users"] if u["name"] == name), None)


# ---- lists -----------------------------------------------------------------------------------------------------------
def test_the_lists_of_the_site(org):
    org.read.get("/api/user")
    users = {u["name"]: u for u in org.root.get("/api/site/users")["users"]}
    assert set(users) == {"root", "boss", "stranger", *(f"with-{level}" for level in WIRE)}
    assert users["root"]["siteAdmin"] and not users["boss"]["siteAdmin"] and users["root"]["organizations"] == []
    assert users["boss"]["organizations"] == [{"name": "acme", "role": "admin"}] and users["with-read"]["tokens"] == 1
    assert abs(users["with-read"]["lastUsed"] - time.time()) < 600 and users["with-none"]["lastUsed"] == 0
    orgs = {o["name"]: o for o in org.root.get("/api/site/orgs")["organizations"]}
    assert (orgs["acme"]["personal"], orgs["acme"]["members"], orgs["acme"]["stacks"], orgs["acme"]["defaultLevel"]) == (False, 6, 1, "none")
    assert orgs["boss"]["personal"] and orgs["boss"]["members"] == 1 and "elsewhere" in orgs
    assert [row[0] for row in lines(org.server, "user", "list")] == sorted(users)
    assert ["boss", "", "acme (admin)"] == next(row[:3] for row in lines(org.server, "user", "list") if row[0] == "boss")
    assert ["root", "siteAdmin", ""] == next(row[:3] for row in lines(org.server, "user", "list") if row[0] == "root")
    assert ["acme", "", "6", "1", "none"] in lines(org.server, "org", "list")
    assert ["with-read", "member"] in lines(org.server, "org", "members", "acme") and ["boss", "admin"] in lines(org.server, "org", "members", "acme")
    assert json.loads(org.server.admin("user", "list", "--json").stdout)["users"][0]["name"] == "boss"
    for path in ("/api/site/users", "/api/site/orgs"):
        org.boss.refused(403, "GET", path)
        org.root.refused(400, "GET", path + "?continuationToken=%25", names="continuationToken")


def test_long_lists_come_in_pages(own):
    server = own(command="serve")
    server.admin("org", "add", "acme")
    root = server.user("root-of-all", role="admin")
    for i in range(105):
        root.post("/api/site/users", {"name": f"user-{i:03}"})
    wanted = ["root-of-all", *(f"user-{i:03}" for i in range(105))]
    first = root.get("/api/site/users")
    second = root.get(f"/api/site/users?continuationToken={first['continuationToken']}")
    assert [u["name"] for u in first["users"] + second["users"]] == wanted and "continuationToken" not in second
    assert [row[0] for row in lines(server, "user", "list")] == wanted
    assert [row[0] for row in lines(server, "org", "list")] == ["acme", *wanted]


# ---- a user goes -----------------------------------------------------------------------------------------------------
def test_who_goes_has_nothing_left(org):
    name, api = "with-write", org.write
    id = user(org, name)["id"]
    second = org.server.api(api.post("/api/user/tokens", {"description": "second"})["tokenValue"])
    own_stack = api.create_stack(f"{name}/private/dev")
    update, lease = org.update(api, org.stack)
    lease.post(update + "/complete", {"status": "succeeded"})
    api.deploy(STACK, "update")
    schedule = api.post(f"{org.stack}/deployments/schedules", {"scheduleCron": "0 1 * * *", "request": {"operation": "update"}})["id"]
    kept = org.boss.post(f"{org.stack}/deployments/schedules", {"scheduleCron": "0 1 * * *", "request": {"operation": "update"}})["id"]
    said = org.root.ok("DELETE", f"/api/site/users/{name}")
    assert said == {"id": id, "name": name, "organizations": ["acme"], "tokens": 2, "schedulesPaused": 1, "deploymentsCancelled": 1, "ownStacks": 1}
    for token in (api, second):
        token.refused(401, "GET", "/api/user")
    assert user(org, name) is None
    assert name not in str(org.boss.get("/api/orgs/acme/members")) and name not in str(org.boss.get(org.stack + "/collaborators"))
    org.boss.refused(404, "POST", f"/api/orgs/acme/members/{name}", {}, names=name)
    org.boss.refused(404, "PUT", f"{org.stack}/collaborators/{name}", WIRE["read"])
    done = org.boss.get(f"{org.stack}/deployments")["deployments"][0]
    assert done["status"] == "skipped" and name in done["message"]
    paused = {s["id"]: s["paused"] for s in org.boss.get(f"{org.stack}/deployments/schedules")["schedules"]}
    assert paused == {schedule: True, kept: False}
    # What they did stays theirs.
    assert done["requestedBy"]["githubLogin"] == name
    assert org.boss.get(f"{org.stack}/versions")["versions"][0]["requestedBy"] == name
    org.root.refused(404, "DELETE", f"/api/site/users/{name}", names=name)
    assert org.server.admin("org", "add", name, check=False).returncode == 1, "nobody else gets the name"
    assert any(e["kind"] == "member.removed" and name in str(e) for e in org.root.get("/api/site/events")["events"])
    # Back again: the same user, and only what was their own.
    assert org.server.admin("user", "add", name, "--org", "acme").stdout.strip() == id
    back = org.server.api(org.server.admin("token", "create", "--user", name).stdout.strip())
    assert back.get(own_stack)["stackName"] == "dev"
    back.refused(404, "GET", org.stack)
    api.refused(401, "GET", "/api/user")
    assert {o["githubLogin"] for o in back.get("/api/user")["organizations"]} == {name, "acme"}
    assert org.boss.get(f"{org.stack}/deployments/schedules")["schedules"][0]["paused"] is True


def test_a_run_of_who_goes_is_cancelled(org):
    """Its runner hears of it, its token is dead; the update that it runs may still be brought to its end."""
    org.write.deploy(STACK, "update")
    id, runner, run = org.claim()
    runner.post(f"/api/runner/{id}/steps", {"attempt": 1, "step": 0, "name": "Setup", "status": "running"})
    update, lease = org.update(run)
    org.root.ok("DELETE", "/api/site/users/with-write")
    run.refused(401, "GET", org.stack)
    assert runner.post(f"/api/runner/{id}/heartbeat", {"attempt": 1})["cancel"] is True
    lease.post(update + "/complete", {"status": "failed"})
    runner.post(f"/api/runner/{id}/steps", {"attempt": 1, "step": 0, "name": "Setup", "status": "failed"})
    runner.post(f"/api/runner/{id}/finish", {"attempt": 1, "status": "failed", "message": "cancelled"})
    done = org.boss.deployment(STACK, id)
    assert done["status"] == "failed" and done["requestedBy"]["githubLogin"] == "with-write"
    assert org.boss.get(f"{org.stack}/versions")["versions"][0]["result"] == "failed"


def test_who_has_to_stay(org):
    assert "acme" in org.root.refused(409, "DELETE", "/api/site/users/boss", names="last administrator of the organization")
    org.root.refused(400, "DELETE", "/api/site/users/root", names="another administrator")
    org.root.refused(404, "DELETE", "/api/site/users/no-such-user", names="no-such-user")
    run = org.server.admin("user", "remove", "root", check=False)
    assert run.returncode == 1 and "last administrator of the site" in run.stderr
    assert org.boss.get("/api/user")["githubLogin"] == "boss" and org.root.get("/api/user")["siteAdmin"], "a refusal changes nothing"
    assert org.boss.get("/api/orgs/acme/members")["members"][0]["role"] == "admin"
    org.server.admin("user", "add", "second", "--site-admin")
    assert org.server.admin("user", "remove", "root").stdout.strip()
    org.root.refused(401, "GET", "/api/user")
    org.boss.ok("PATCH", "/api/orgs/acme/members/with-admin", {"role": "admin"})
    org.server.admin("user", "remove", "boss")
    # The one who was the first of all is no site administrator when they come back.
    org.server.admin("user", "add", "root")
    back = org.server.api(org.server.admin("token", "create", "--user", "root").stdout.strip())
    assert back.get("/api/user")["siteAdmin"] is False


def test_a_browser_is_signed_out(org):
    import requests
    with requests.Session() as browser:
        browser.trust_env = False
        browser.post(org.server.url + "/console/session", data={"token": org.read.token, "to": "/"}, allow_redirects=False)
        assert browser.get(org.server.url + f"/{STACK}").status_code == 200
        org.root.ok("DELETE", "/api/site/users/with-read")
        answer = browser.get(org.server.url + f"/{STACK}", allow_redirects=False)
        assert answer.status_code in (302, 303, 401) or "acme" not in answer.text


# ---- levels and tokens by the program ----------------------------------------------------------------------------------
def test_levels_by_the_program(org):
    admin = org.server.admin
    order = list(WIRE)
    for level in order:
        admin("grant", "set", STACK, "--user", "with-none", "--level", level)
        assert org.none.call("GET", org.stack).status_code == (404 if level == "none" else 200)
        assert org.none.call("PATCH", org.stack + "/tags", []).status_code == {"none": 404, "write": 400, "admin": 400}.get(level, 403)
        assert ["with-none", level] in lines(org.server, "grant", "list", STACK)
    admin("grant", "remove", STACK, "--user", "with-none")
    assert "with-none" not in str(lines(org.server, "grant", "list", STACK))
    for level in order:
        admin("org", "set", "acme", "--level", level)
        said = org.boss.get("/api/orgs/acme/metadata")
        assert (said["defaultStackPermission"], said["defaultStackDeploy"]) == (WIRE[level]["permission"], level == "deploy")
    for arguments in (["grant", "set", STACK, "--user", "stranger", "--level", "read"], ["grant", "set", "acme/shop/no", "--user", "with-none", "--level", "read"],
                      ["grant", "remove", STACK, "--user", "with-none"], ["grant", "list", "acme/no/no"], ["org", "members", "nowhere"], ["user", "remove", "nobody"],
                      ["org-token", "list", "--org", "nowhere"]):
        run = admin(*arguments, check=False)
        assert run.returncode == 1 and run.stderr.strip() and not run.stdout, arguments
    for arguments in (["grant", "set", STACK, "--user", "with-none"], ["grant", "set", STACK, "--level", "read"], ["grant", "set", "acme/shop", "--user", "x", "--level", "read"],
                      ["grant", "set", STACK, "--user", "with-none", "--level", "king"], ["grant", "list"], ["org-token", "create", "ci"], ["org", "set", "acme"], ["user", "remove"]):
        run = admin(*arguments, check=False)
        assert run.returncode == 2 and run.stderr.strip() and not run.stdout, arguments


def test_tokens_of_machines_by_the_program(org, clock):
    admin = org.server.admin
    machine = org.server.api(admin("org-token", "create", "ci", "--org", "acme", "--description", "builds", "--expires", "2h").stdout.strip())
    ops = org.server.api(admin("org-token", "create", "ops", "--org", "acme", "--admin").stdout.strip())
    assert machine.get("/api/user")["tokenInfo"] == {"name": "ci", "organization": "acme"}
    assert ops.get("/api/orgs/acme/tokens")["tokens"]
    rows = {row[1]: row for row in lines(org.server, "org-token", "list", "--org", "acme")}
    assert rows["ops"][2] == "admin" and rows["ops"][4] == "never" and rows["ci"][2] == "" and rows["ci"][4].startswith("20")
    clock.advance(2 * 3600 + 5)
    machine.refused(401, "GET", "/api/user")
    assert [row[1] for row in lines(org.server, "org-token", "list", "--org", "acme")] == ["ops"]
    admin("org-token", "revoke", rows["ops"][0], "--org", "acme")
    ops.refused(401, "GET", "/api/user")
    assert lines(org.server, "org-token", "list", "--org", "acme") == []
    assert admin("org-token", "revoke", rows["ops"][0], "--org", "acme", check=False).returncode == 1
    run = admin("org-token", "create", "far", "--org", "acme", "--expires", "20000h", check=False)
    assert run.returncode == 1 and "two years" in run.stderr


def test_expiry_and_last_use_of_a_token(org, clock):
    token = org.server.api(org.server.admin("token", "create", "--user", "with-read", "--expires", "30m").stdout.strip())
    shown = lambda: next(t for t in org.read.get("/api/user/tokens")["tokens"] if t["expires"])  # noqa: E731
    assert shown()["lastUsed"] == 0 and abs(shown()["expires"] - time.time() - 1800) < 60
    token.get("/api/user")
    first = shown()["lastUsed"]
    assert first > 0
    # Noted at most once in ten minutes.
    clock.advance(300)
    token.get("/api/user")
    assert shown()["lastUsed"] == first
    clock.advance(400)
    token.get("/api/user")
    wait_until(lambda: shown()["lastUsed"] >= first + 700, what="the next use")
    clock.advance(1200)
    token.refused(401, "GET", "/api/user")
    # Told for a month, then cleared away.
    count = lambda: len(org.read.get("/api/user/tokens?filter=expired")["tokens"])  # noqa: E731
    assert count() == 1
    clock.advance(32 * DAY)
    wait_until(lambda: count() == 0, what="the end of an expired token")
    assert path_of(STACK) == org.stack
