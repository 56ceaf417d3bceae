"""Commands for what the hosted service has and Slipway has not: each says that there is nothing, or why not, and ends; none
prints a Go error or waits (cli-protocol §5, §6.3)."""
import json

import pytest
from helpers import programs
from helpers.api import path_of


@pytest.fixture
def made(cli, api, stack, project):
    cli.write(programs.stash(project))
    api.create_stack(stack)
    cli.run("stack", "select", stack)
    return cli


# Lists that are empty.
EMPTY = {
    "policies": [("policy", "ls", "acme"), ("policy", "group", "ls", "acme"), ("policy", "install"), ("policy", "issue", "list"),
                 ("policy", "compliance", "list")],
    "environments": [("env", "ls"), ("env", "ls", "--organization", "acme"), ("config", "env", "ls")],
    "registry": [("template", "list"), ("install",)],
    "insights": [("insights", "account", "list")],
    "schedules": [("stack", "schedule", "list"), ("deployment", "list")],
    "logs": [("logs",), ("logs", "--since", "1h"), ("logs", "list")],
}


@pytest.mark.parametrize("what", EMPTY)
def test_empty_lists(made, what):
    for arguments in EMPTY[what]:
        made.run(*arguments, timeout=60)


# What is refused: a 404 with its code, in the CLI's words, at once.
ABSENT = {
    "policies": [("policy", "enable", "acme/pack", "latest"), ("policy", "disable", "acme/pack"), ("policy", "rm", "acme/pack", "1", "--yes"),
                 ("policy", "group", "get", "group"), ("policy", "group", "new", "group", "--entity-type", "stacks"),
                 ("policy", "group", "rm", "group", "--yes"), ("policy", "issue", "get", "issue")],
    "environments": [("env", "init", "acme/p/e"), ("env", "get", "acme/p/e"), ("env", "open", "acme/p/e"), ("env", "rm", "acme/p/e", "--yes"),
                     ("env", "set", "acme/p/e", "a", "b"), ("env", "run", "acme/p/e", "--", "true"), ("env", "clone", "acme/p/e", "p/f"),
                     ("env", "tag", "ls", "acme/p/e"), ("env", "version", "history", "acme/p/e"), ("env", "rotate", "acme/p/e"),
                     ("env", "diff", "acme/p/e@1", "acme/p/e@2"), ("env", "referrer", "ls", "acme/p/e"), ("env", "settings", "get", "acme/p/e"),
                     ("env", "schedule", "ls", "acme/p/e"), ("env", "schedule", "get", "acme/p/e", "s"), ("env", "schedule", "history", "acme/p/e", "s"),
                     ("env", "webhook", "ls", "acme/p/e"), ("env", "webhook", "get", "acme/p/e", "w"), ("env", "webhook", "ping", "acme/p/e", "w"),
                     ("env", "webhook", "delivery", "ls", "acme/p/e", "w"), ("env", "tag", "get", "acme/p/e", "t"), ("env", "tag", "rm", "acme/p/e", "t"),
                     ("env", "version", "rollback", "acme/p/e@1"), ("env", "version", "retract", "acme/p/e@1"), ("env", "version", "tag", "ls", "acme/p/e"),
                     ("env", "open-request", "acme/p/e")],
    "organization": [("org", "role", "list"), ("org", "audit-log", "list"), ("org", "audit-log", "export"), ("org", "usage", "get"),
                     ("org", "webhook", "list"), ("org", "webhook", "new", "--name", "w", "--url", "http://127.0.0.1:1"), ("org", "webhook", "ping", "w"),
                     ("org", "webhook", "edit", "w", "--url", "http://127.0.0.1:1"), ("org", "webhook", "rm", "w", "--yes"), ("org", "webhook", "delivery", "ls", "w"),
                     ("org", "role", "rm", "r", "--yes"), ("org", "role", "edit", "r", "--name", "x"), ("org", "role", "assign", "r", "team"), ("org", "search", "ai", "--query", "everything")],
    "insights": [("insights", "account", "scan", "list", "account"), ("insights", "account", "scan", "get", "account", "id"),
                 ("insights", "account", "scan", "log", "account", "id"), ("insights", "account", "scan", "account"), ("neo", "resume", "task"),
                 ("insights", "resource", "get", "a:b:C::id", "--account", "x"), ("neo", "do something")],
    "registry": [("template", "publish", ".", "--name", "t", "--version", "1.0.0", "--publisher", "acme")],
    "webhooks": [("stack", "webhook", "ls"), ("stack", "webhook", "get", "w"), ("stack", "webhook", "ping", "w"),
                 ("stack", "webhook", "new", "--name", "w", "--url", "http://127.0.0.1:1"), ("stack", "webhook", "rm", "w", "--yes"),
                 ("stack", "webhook", "edit", "w", "--url", "http://127.0.0.1:1"), ("stack", "webhook", "delivery", "ls", "w"),
                 ("stack", "webhook", "delivery", "redeliver", "w", "e")],
    "deployments": [("deployment", "get", "1"), ("deployment", "log", "1"), ("deployment", "cancel", "no-such-id", "--yes"),
                    ("deployment", "settings", "get"), ("stack", "schedule", "get", "no-such-id")],
}


@pytest.mark.parametrize("what", ABSENT)
def test_what_is_refused(made, what):
    for arguments in ABSENT[what]:
        said = made.refused(*arguments, names="[404]", timeout=60)
        assert "Not Found: " in said, (arguments, said)


def test_commands_of_the_cli_alone(made, project):
    """They need the server only to be signed in, or not at all."""
    assert "Please visit" in made.run("console", quiet=False).stdout  # there is no browser, and no console that the CLI knows of
    assert made.run("version").stdout.startswith("v3.")
    made.run("about", "env")
    made.run("plugin", "ls")
    made.run("gen-completion", "bash")
    made.run("do", "show-resources")
    made.run("config", "set", "a", "b")
    made.run("config", "cp", "--dest", f"acme/{project}/dev", quiet=False, expect=None)
    made.run("convert", "--language", "yaml", "--out", "converted", quiet=False, expect=None)
    for arguments in (("new",), ("policy", "new"), ("policy", "publish", "acme"), ("logs", "share"), ("logs", "decrypt", "no-such-file"),
                      ("config", "env", "add", "x"), ("config", "env", "init"), ("policy", "analyze"), ("stack", "schedule", "new"),
                      ("policy", "validate-config", "acme/p", "1", "--config", "no-such-file"),
                      ("env", "provider", "aws-login", "oidc", "acme/p/e", "arn:aws:iam::1:role/r", "session"), ("package", "remove", "acme/x@1"), ("org", "role", "new", "r", "no-such-file")):
        assert made.run(*arguments, expect=None, timeout=60).returncode != 0


def test_api(made, api):
    """`pulumi api` reads our own description of the API."""
    listed = made.json("api", "list")
    routes = {(o["method"], o["path"]) for o in listed["operations"]}
    assert ("GET", "/api/user") in routes and ("POST", "/api/stacks/{orgName}/{projectName}/{stackName}/deployments") in routes
    ids = [o["operationId"] for o in listed["operations"]]
    assert len(ids) == len(set(ids)) == sum(len(p) for p in api.get("/api/openapi/pulumi-spec.json")["paths"].values())
    assert "GET /api/user" in made.run("api", "describe", "GetCurrentUser").stdout
    assert "waiting" in made.run("api", "describe", "deploy_waiting").stdout  # ours have names, too
    said = made.run("api", "describe", "ListStackDeploymentsHandlerV2").stdout
    assert "pageSize" in said and "itemsPerPage" in said, said
    assert made.json("api", "/api/user")["githubLogin"] == "admin"
    assert made.json("api", "GetCurrentUser")["githubLogin"] == "admin"
    # The path is filled from the stack that is selected; fields are the query, or the body.
    assert made.json("api", "ListStackDeploymentsHandlerV2", "--method", "GET", "-F", "pageSize=3")["itemsPerPage"] == 3
    assert made.json("api", "PatchDeploymentSettings", "-F", "tag=from-the-cli")["tag"] == "from-the-cli"
    assert made.json("api", "GetDeploymentSettings")["tag"] == "from-the-cli"
    described = json.dumps(made.json("api", "describe", "GetDeployment_version", "--output", "json"))
    assert '"latestVersion"' in described and '"not-started"' in described  # the schema of the answer, and what it refers to


def test_environments_of_a_stack_are_refused(made, api, stack):
    """A Pulumi.dev.yaml that imports an environment: an update says so, and changes nothing."""
    (made.project / "Pulumi.dev.yaml").write_text("environment:\n  - some/environment\n")
    made.refused("preview", names="[404]", timeout=60)
    made.refused("up", "--yes", "--skip-preview", names="[404]", timeout=60)
    assert api.get(path_of(stack))["version"] == 0


def test_every_list_that_is_empty_has_the_shape_that_clients_decode(api):
    wanted = {
        "/api/orgs/acme/templates": {"templates": {}, "orgHasTemplates": False, "hasAccessError": False, "hasUpstreamError": False},
        "/api/registry/templates": {"templates": []}, "/api/registry/packages": {"packages": []},
        "/api/orgs/acme/policypacks": {"policyPacks": []}, "/api/orgs/acme/policygroups": {"policyGroups": []},
        "/api/esc/environments": {"environments": []}, "/api/esc/environments/acme": {"environments": []},
        "/api/preview/insights/acme/accounts": {"accounts": []},
    }
    for path, answer in wanted.items():
        assert api.get(path) == answer
    assert api.post("/api/orgs/acme/policyresults/issues", {}) == {"policyIssues": [], "rowCount": 0}
    assert api.post("/api/orgs/acme/policyresults/compliance", {"entity": "stacks"}) == {"columns": [], "rows": []}
    for path in ("/api/orgs/acme/policygroups/x", "/api/esc/environments/acme/p/e", "/api/preview/agents/acme/tasks", "/api/ai/chat/preview"):
        assert path in api.refused(404, "GET", path)
