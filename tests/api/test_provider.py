"""The requests of Pulumi's own provider for the service (`pulumiservice`), resource by resource, and what it needs of the
answers, so that a second `pulumi up` and a refresh show no change.

The provider's program cannot be had from the registries that a build of Slipway uses (its Go modules are not on the module
proxy), so these are recordings: its program was run once beside Slipway, at 1.3.0, through a proxy that wrote down what it
sent; bodies, headers and order are its own. How it compares answers with its inputs follows its source: of settings every
key that comes back beyond the written ones is a change, `version`, `source` and `tag` excepted; a secret is unchanged if its
marker is; times are parsed by the layout `2006-01-02 15:04:05`, a fraction allowed.
"""
import datetime
import re
from urllib.parse import quote

import pytest
from helpers.api import Api, path_of

LAYOUT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?\Z")
OPTIONS = {"skipInstallDependencies": True, "skipIntermediateDeployments": True, "deleteAfterDestroy": True}


def ahead(days):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Provider(Api):
    """Of both generations: the older resources send one set of headers, the ones made from the specification another."""

    def __init__(self, api, generated=False):
        super().__init__(api.url, api.token)
        self.generated = generated

    def call(self, method, path, json=..., **more):
        headers = {"Accept": "application/json" if self.generated else "application/vnd.pulumi+9", "X-Pulumi-Source": "provider",
                   "User-Agent": "Go-http-client/1.1"}
        answer = super().call(method, path, json, headers=headers, **more)
        # What it takes for an answer: any 2xx, empty or JSON; else {"code","message"} whose code is the status.
        if answer.status_code < 300:
            assert not answer.content or answer.json() is not None
        else:
            assert answer.json()["code"] == answer.status_code
        return answer


@pytest.fixture
def v1(api):
    return Provider(api)


@pytest.fixture
def generated(api):
    return Provider(api, generated=True)


@pytest.fixture
def place(api, stack):
    """The path of a stack that is there."""
    api.create_stack(stack)
    return path_of(stack)


def redacted(value):
    """The settings that were written, as they have to come back: each secret with the constant marker."""
    if isinstance(value, dict):
        return {"secret": "[secret]"} if set(value) == {"secret"} else {k: redacted(v) for k, v in value.items()}
    return value


def seen(answer):
    """Without what the provider does not look at."""
    def strip(v):
        if isinstance(v, dict):
            return {"secret": v["secret"]} if "ciphertext" in v else {k: strip(x) for k, x in v.items()}
        return v
    return strip({k: v for k, v in answer.items() if k not in ("version", "source", "tag")})


# ---- pulumiservice:index:DeploymentSettings -------------------------------------------------------------------------
SSH = {"sshAuth": {"sshPrivateKey": {"secret": "-----BEGIN KEY-----\nx\n-----END KEY-----\n"}, "password": {"secret": "phrase"}}}
BASIC = {"basicAuth": {"userName": {"secret": "robot"}, "password": {"secret": "hunter2"}}}
SETTINGS = {
    "a bare image and everything": {
        "executorContext": {"executorImage": "pulumi/pulumi:1"},
        "sourceContext": {"git": {"repoUrl": "https://example.invalid/x.git", "branch": "refs/heads/main", "repoDir": "infra", "gitAuth": BASIC}},
        "operationContext": {"oidc": {"aws": {"duration": "1h0m0s", "policyArns": ["p"], "roleArn": "r", "sessionName": "s"}},
                             "preRunCommands": ["a", "b"], "environmentVariables": {"PLAIN": "p", "TOKEN": {"secret": "tok"}}, "options": OPTIONS},
        "cacheOptions": {"enable": True}},
    "an image with a login": {
        "executorContext": {"executorImage": {"reference": "example.invalid/x:1", "credentials": {"username": "u", "password": {"secret": "pw"}}}},
        "sourceContext": {"git": {"repoUrl": "git@example.invalid:x.git", "commit": "c0ffee", "gitAuth": SSH}}},
    "by GitHub": {
        "sourceContext": {"git": {"branch": "refs/heads/main"}},
        "gitHub": {"repository": "acme/shop", "deployCommits": True, "previewPullRequests": True, "pullRequestTemplate": False, "paths": ["infra/**"]}},
    "by another forge": {
        "sourceContext": {"git": {"branch": "main"}},
        "vcs": {"provider": "azure_devops", "repository": "acme/shop", "deployCommits": False, "previewPullRequests": False, "pullRequestTemplate": False}},
    "other clouds": {
        "sourceContext": {"git": {"repoUrl": "https://example.invalid/x.git", "branch": "main"}},
        "operationContext": {"oidc": {"gcp": {"projectId": "1", "workloadPoolId": "w", "providerId": "p", "serviceAccount": "s", "region": "r", "tokenLifetime": "15m0s"},
                                      "azure": {"clientId": "c", "tenantId": "t", "subscriptionId": "s"}}}},
    "hardly anything": {"sourceContext": {"git": {"branch": "main"}}},
    "nothing": {},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_deployment_settings(v1, place, name):
    path, body = place + "/deployments/settings", SETTINGS[name]
    v1.refused(404, "GET", path)  # gone
    created = v1.ok("PUT", path, body)
    assert seen(created) == redacted(body), "create takes its outputs from this answer"
    assert seen(v1.get(path)) == redacted(body) and created["source"] == "provider"
    # An update is the whole again. The markers are what they were, whatever the ciphertext is.
    changed = {**body, "operationContext": {"preRunCommands": ["c"], "environmentVariables": {"TOKEN": {"secret": "another"}}}}
    assert seen(v1.ok("PUT", path, changed)) == redacted(changed) == seen(v1.get(path))
    v1.ok("DELETE", path)
    v1.refused(404, "GET", path)
    v1.refused(404, "DELETE", path)  # an error for the provider: it believes that they are there


def test_settings_with_a_pool(v1, place, project):
    pool = v1.post("/api/orgs/acme/agent-pools", {"name": project})["id"]
    body = {**SETTINGS["hardly anything"], "agentPoolID": pool}
    assert seen(v1.ok("PUT", place + "/deployments/settings", body)) == body == seen(v1.get(place + "/deployments/settings"))
    # Without it: the default pool again.
    assert seen(v1.ok("PUT", place + "/deployments/settings", SETTINGS["hardly anything"])) == SETTINGS["hardly anything"]


def test_a_value_that_was_changed_elsewhere_is_a_change(v1, api, place):
    """Else a refresh that shows no change would mean nothing."""
    path, body = place + "/deployments/settings", SETTINGS["a bare image and everything"]
    v1.ok("PUT", path, body)
    api.post(path, {"operationContext": {"environmentVariables": {"PLAIN": "q"}}})
    assert seen(v1.get(path)) != redacted(body)


# ---- schedules ------------------------------------------------------------------------------------------------------
def utc(text):
    assert LAYOUT.match(text), f"{text!r} does not fit the layout that the provider parses"
    return datetime.datetime.strptime(text[:19], "%Y-%m-%d %H:%M:%S").strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def deployments(v1, place):
    v1.ok("PUT", place + "/deployments/settings", SETTINGS["hardly anything"])
    return place + "/deployments"


def request(operation):
    return {"operation": operation, "operationContext": {"options": {}}}


def test_deployment_schedule(v1, deployments):
    one = v1.post(deployments + "/schedules", {"scheduleCron": "0 7 * * *", "request": request("update")})["id"]
    path = f"{deployments}/schedules/{one}"
    for cron in ("0 7 * * *", "0 9 * * *"):
        read = v1.get(path)
        assert read["scheduleCron"] == cron and read["definition"]["request"]["operation"] == "update" and not read.get("scheduleOnce")
        v1.post(path, {"scheduleCron": "0 9 * * *", "request": request("update")})
    v1.ok("DELETE", path)
    v1.refused(404, "GET", path)  # gone
    assert v1.call("DELETE", path).status_code < 300, "a 404 would be an error"


def test_deployment_schedule_once(v1, deployments):
    when = ahead(9)
    one = v1.post(deployments + "/schedules", {"scheduleOnce": when, "request": request("preview")})["id"]
    read = v1.get(f"{deployments}/schedules/{one}")
    assert utc(read["scheduleOnce"]) == when and not read.get("scheduleCron") and read["definition"]["request"]["operation"] == "preview"
    # Another time replaces it: the new one first.
    other = v1.post(deployments + "/schedules", {"scheduleOnce": ahead(10), "request": request("preview")})["id"]
    v1.ok("DELETE", f"{deployments}/schedules/{one}")
    assert v1.get(f"{deployments}/schedules/{other}")["id"] == other != one


@pytest.mark.parametrize("remediate", [True, False])
def test_drift_schedule(v1, deployments, remediate):
    body = {"scheduleCron": "0 8 * * *", **({"autoRemediate": True} if remediate else {})}
    one = v1.post(deployments + "/drift/schedules", body)["id"]
    for cron in ("0 8 * * *", "0 10 * * *"):
        read = v1.get(f"{deployments}/schedules/{one}")
        options = read["definition"]["request"]["operationContext"]["options"]
        assert read["scheduleCron"] == cron and options.get("remediateIfDriftDetected", False) is remediate
        v1.post(f"{deployments}/drift/schedules/{one}", {**body, "scheduleCron": "0 10 * * *"})
    v1.ok("DELETE", f"{deployments}/schedules/{one}")
    v1.refused(404, "GET", f"{deployments}/schedules/{one}")


@pytest.mark.parametrize("remove", [True, False])
def test_ttl_schedule(v1, deployments, remove):
    whens = ahead(9), ahead(12)
    body = {"timestamp": whens[0], **({"deleteAfterDestroy": True} if remove else {})}
    one = v1.post(deployments + "/ttl/schedules", body)["id"]
    for when in whens:
        read = v1.get(f"{deployments}/schedules/{one}")
        assert utc(read["scheduleOnce"]) == when
        assert read["definition"]["request"]["operationContext"]["options"].get("deleteAfterDestroy", False) is remove
        v1.post(f"{deployments}/ttl/schedules/{one}", {**body, "timestamp": whens[1]})
    v1.ok("DELETE", f"{deployments}/schedules/{one}")
    v1.refused(404, "GET", f"{deployments}/schedules/{one}")


# ---- pools and tokens -----------------------------------------------------------------------------------------------
def test_agent_pool(v1, project, api, stack):
    made = v1.post("/api/orgs/acme/agent-pools", {"name": project, "description": "d"})
    path = f"/api/orgs/acme/agent-pools/{made['id']}"
    assert made["tokenValue"].startswith("pul-")
    read = v1.get(path)
    assert (read["name"], read["description"]) == (project, "d") and "tokenValue" not in read
    v1.ok("PATCH", path, {"name": project + "-2", "description": "e"})
    assert (v1.get(path)["name"], v1.get(path)["description"]) == (project + "-2", "e")
    api.create_stack(stack)
    api.settings(stack, {"agentPoolID": made["id"]})
    v1.refused(400, "DELETE", path)
    v1.ok("DELETE", path + "?force=true")  # forceDestroy
    v1.refused(404, "GET", path)


def test_access_token(v1, project):
    made = v1.post("/api/user/tokens", {"description": project})
    found = [t for t in v1.get("/api/user/tokens")["tokens"] if t["id"] == made["id"]]
    assert [t["description"] for t in found] == [project] and type(found[0]["lastUsed"]) is int and made["tokenValue"].startswith("pul-")
    v1.ok("DELETE", f"/api/user/tokens/{made['id']}")
    assert made["id"] not in [t["id"] for t in v1.get("/api/user/tokens")["tokens"]], "gone"


@pytest.mark.parametrize("admin", [True, False])
def test_org_access_token(v1, project, admin):
    body = {"description": "d", "name": f"with/{project}", "admin": admin}
    made = v1.post("/api/orgs/acme/tokens", body)
    found = [t for t in v1.get("/api/orgs/acme/tokens")["tokens"] if t["id"] == made["id"]]
    assert [{k: t[k] for k in body} for t in found] == [body] and type(found[0]["lastUsed"]) is int
    v1.ok("DELETE", f"/api/orgs/acme/tokens/{made['id']}")
    assert made["id"] not in [t["id"] for t in v1.get("/api/orgs/acme/tokens")["tokens"]]


# ---- stacks and tags ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("query, full", [("", False), ("?forceDestroy=true", True), ("?force=true", True)])
def test_stack(v1, api, project, query, full):
    v1.post(f"/api/stacks/acme/{project}", {"stackName": "dev"})
    path = f"/api/stacks/acme/{project}/dev"
    assert all(isinstance(v, str) for v in (v1.get(path).get("tags") or {}).values())
    if full:
        urn = f"urn:pulumi:dev::{project}::pulumi:pulumi:Stack::{project}-dev"
        api.post(path + "/import", {"version": 3, "deployment": {"manifest": {"time": "2026-01-01T00:00:00Z", "magic": "", "version": ""},
                                                                "resources": [{"urn": urn, "custom": False, "type": "pulumi:pulumi:Stack"}]}})
        v1.refused(400, "DELETE", path, names="still contains resources")
    v1.ok("DELETE", path + query)
    v1.refused(404, "GET", path)


def test_stack_tag_and_tags(v1, place):
    def tags():
        return v1.get(place)["tags"]

    v1.post(place + "/tags", {"name": "owner", "value": "me"})
    for name, value in sorted({"b": "2", "a": "1"}.items()):
        v1.post(place + "/tags", {"name": name, "value": value})
    assert {"owner": "me", "a": "1", "b": "2"}.items() <= tags().items()
    # A value changes by removing the tag and making it anew; making one that is there has to fail.
    v1.refused(400, "POST", place + "/tags", {"name": "a", "value": "3"})
    v1.ok("DELETE", place + "/tags/a")
    v1.post(place + "/tags", {"name": "a", "value": "3"})
    assert tags()["a"] == "3"
    for name in ("a", "b", "owner"):
        v1.ok("DELETE", f"{place}/tags/{name}")
    assert not {"a", "b", "owner"} & set(tags()), "gone"
    v1.refused(404, "GET", place + "-no-such")
    strange = "a/b c"
    v1.post(place + "/tags", {"name": "odd:name.with-all_of", "value": strange})
    assert tags()["odd:name.with-all_of"] == strange
    v1.ok("DELETE", f"{place}/tags/{quote('odd:name.with-all_of', safe='')}")


# ---- pulumiservice:api/* --------------------------------------------------------------------------------------------
def kept(inputs, answer):
    """A refresh lays the answer over the keys that the program set; what is missing there stays as it was."""
    if isinstance(inputs, dict) and isinstance(answer, dict):
        return {k: kept(v, answer[k]) if k in answer else v for k, v in inputs.items()}
    return answer


def test_api_settings(generated, place, project):
    path = place + "/deployments/settings"
    pool = generated.post("/api/orgs/acme/agent-pools", {"description": "d", "name": project})["id"]
    body = {"agentPoolID": pool, "cacheOptions": {"enable": True}, "executorContext": {"executorImage": {"reference": "pulumi/pulumi:1"}, "executorRootPath": "/x"},
            "operationContext": {"environmentVariables": {"PLAIN": "p"}, "options": {"shell": "bash", "skipInstallDependencies": True}, "preRunCommands": ["a"]},
            "sourceContext": {"git": {"branch": "refs/heads/main", "repoDir": "infra", "repoUrl": "https://example.invalid/x.git"}}, "tag": "blue"}
    generated.refused(404, "GET", path)  # on a stack without settings: else "resource already exists; use the import option"
    generated.post(path, body)
    assert kept(body, generated.get(path)) == body
    changed = {**body, "operationContext": {"environmentVariables": {"PLAIN": "q"}, "options": {"shell": "sh", "skipInstallDependencies": False}, "preRunCommands": ["z"]}, "tag": "green"}
    generated.post(path, changed)
    assert kept(changed, generated.get(path)) == changed
    generated.ok("DELETE", path)
    generated.refused(404, "DELETE", path)  # ignored


def test_api_scheduled_deployment(generated, place):
    generated.post(place + "/deployments/settings", SETTINGS["hardly anything"])
    body = {"request": {"inheritSettings": True, "operation": "update"}, "scheduleCron": "0 7 * * *"}
    one = generated.post(place + "/deployments/schedules", body)["id"]
    path = f"{place}/deployments/schedules/{one}"
    assert kept(body, generated.get(path)) == body
    body["scheduleCron"] = "0 9 * * *"
    generated.post(path, body)
    read = generated.get(path)
    assert kept(body, read) == body and read["definition"]["request"] == body["request"]
    generated.ok("DELETE", path)
    generated.refused(404, "GET", path)


def test_api_pool(generated, project):
    body = {"description": "d", "name": project}
    made = generated.post("/api/orgs/acme/agent-pools", body)
    path = f"/api/orgs/acme/agent-pools/{made['id']}"
    assert kept(body, generated.get(path)) == body and made["tokenValue"]
    generated.ok("PATCH", path, {**body, "description": "e"})
    assert generated.get(path)["description"] == "e"
    assert generated.call("DELETE", path).status_code == 204
    generated.refused(404, "DELETE", path)  # ignored


def test_api_tokens(generated, project):
    for path, body in (("/api/user/tokens", {"description": project, "expires": 0}),
                       ("/api/orgs/acme/tokens", {"admin": False, "description": "d", "expires": 0, "name": project})):
        made = generated.post(path, body)
        assert made["id"] and made["tokenValue"]
        generated.ok("DELETE", f"{path}/{made['id']}")
        generated.refused(404, "DELETE", f"{path}/{made['id']}")  # ignored


def test_api_stack_and_tag(generated, project):
    generated.post(f"/api/stacks/acme/{project}", {"stackName": "new", "tags": {"x": "y"}})
    path = f"/api/stacks/acme/{project}/new"
    assert generated.get(path)["tags"]["x"] == "y"
    generated.post(path + "/tags", {"name": "owner", "value": "v"})
    generated.ok("PATCH", path + "/tags/owner", {"name": "owner", "value": "w"})
    assert generated.get(path)["tags"] == {"x": "y", "owner": "w"}
    generated.ok("DELETE", path + "/tags/owner")
    generated.refused(404, "DELETE", path + "/tags/owner")  # ignored
    generated.ok("DELETE", path)
    generated.refused(404, "DELETE", path)
