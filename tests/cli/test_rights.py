"""The real CLI as people with different rights use it."""
import json

from helpers import programs
from helpers.access import STACK, Organization
from helpers.pulumi import Pulumi


def test_members_by_the_cli(own, tmp_path):
    org = Organization(own)
    boss = Pulumi(tmp_path, org.server.url, org.boss.token)
    listed = json.loads(boss.run("org", "member", "list", "--org", "acme", "--output", "json").stdout)
    rows = {m["user"]["githubLogin"]: m["role"] for m in listed["members"]}
    assert rows["boss"] == "admin" and rows["with-read"] == "member"
    boss.run("org", "member", "edit", "with-read", "--role", "admin", "--org", "acme")
    assert org.read.get("/api/orgs/acme/tokens")["tokens"] == []
    boss.run("org", "member", "remove", "with-read", "--org", "acme", "--yes")
    org.read.refused(404, "GET", "/api/orgs/acme/members")


def test_the_one_who_presses_the_button(own, agent, tmp_path, repo):
    """`pulumi deployment run` with the saved settings works with deploy; `pulumi up`, or another branch, does not."""
    org = Organization(own, repo)
    repo.commit(programs.stash("shop"))
    org.boss.ok("POST", org.stack + "/import", {"version": 3, "deployment": {"manifest": {"time": "2026-01-01T00:00:00Z", "magic": "", "version": ""}}})
    org.boss.settings(STACK, {"operationContext": {"options": {"skipInstallDependencies": True}}})
    agent(org.server, org.pool["tokenValue"])
    clerk = Pulumi(tmp_path, org.server.url, org.deploy.token)
    clerk.write(programs.stash("shop"))
    done = clerk.run("deployment", "run", "update", "--stack", STACK, "--suppress-stream-logs=false")
    # The CLI follows the update's events, whose end is a moment before that of the deployment.
    made = org.boss.get(org.stack + "/deployments")["deployments"][0]
    assert org.boss.wait_status(STACK, made["id"])["status"] == "succeeded", done.stdout
    assert "plain-value" not in done.stdout
    assert "stack-write" in clerk.run("deployment", "run", "update", "--stack", STACK, "--git-branch", "other", expect=None).stderr
    refused = clerk.run("up", "--stack", STACK, "--yes", expect=None)
    assert refused.returncode and "stack-write" in refused.stderr + refused.stdout
    clerk.run("stack", "select", STACK)
    assert "settings-read" in clerk.run("deployment", "settings", "get", expect=None).stderr
    stranger = Pulumi(tmp_path / "other", org.server.url, org.none.token)
    assert "no stack named" in stranger.run("stack", "select", STACK, expect=None).stderr


def test_a_machine_signs_in(own, tmp_path):
    org = Organization(own)
    token = org.boss.post("/api/orgs/acme/tokens", {"name": "ci", "description": "", "admin": True})["tokenValue"]
    machine = Pulumi(tmp_path, org.server.url, token)
    said = machine.run("whoami", "-v").stdout
    assert "User: acme" in said and "Token type: organization: acme" in said and "Token name: ci" in said, said
    assert STACK in machine.run("stack", "ls", "--all").stdout
