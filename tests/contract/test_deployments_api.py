"""The 28 operations of Pulumi's Deployments API, a test for each: status, shape, what it does, and each documented error that can
occur here (promises.py says which cannot). Names are the operations' own."""
import gzip
import itertools
import re

import pytest
from helpers import process
from helpers.api import path_of
from helpers.runner import Runner, Site

import promises

NO_ID = "0199d2a0-0000-7000-8000-000000000000"
counter = itertools.count(1)
seen = {}


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    started = []

    def own(*options, **more):
        started.append(process.Server(tmp_path_factory.mktemp("contract"), *options, **more))
        return started[-1]

    try:
        yield own
    finally:
        for server in started:
            server.stop()


@pytest.fixture(scope="module")
def site(servers):
    found = Site(servers)
    found.server.admin("org", "add", "acme2")
    found.api.ok("PATCH", "/api/orgs/acme", {"setDefaultStackPermission": 101})
    found.reader, found.stranger = found.server.user("reader"), found.server.user("stranger", org="acme2")
    return found


@pytest.fixture(autouse=True)
def complete(request):
    """A test that is named for an operation has seen everything that it promises."""
    yield
    operation = next((o for o in promises.PROMISES if snake(o) == request.node.name), None)
    if operation and getattr(request.node, "passed", False):
        _, _, answers, errors = promises.PROMISES[operation]
        assert {*answers, *errors} <= seen[operation], f"{operation}: only {sorted(seen[operation])} of {sorted({*answers, *errors})}"


@pytest.fixture
def stack(site):
    """A stack with settings, for this test alone."""
    return site.stack(f"acme/contract-{next(counter)}/dev")


@pytest.fixture
def bare(site):
    """A stack without settings."""
    name = f"acme/contract-{next(counter)}/dev"
    site.api.create_stack(name)
    return path_of(name)


def snake(operation):
    """ListOrgDeployments: test_list_org_deployments"""
    return "test_" + re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", operation).lower()


def ask(api, operation, *tail, body=..., **query):
    """Calls the operation, its path filled from left to right; the answer is as promised."""
    method, pattern, _, _ = promises.PROMISES[operation]
    names = iter(tail)
    path = re.sub(r"\{\w+\}", lambda _: next(names), pattern)
    if query:
        path += "?" + "&".join(f"{k}={v}" for k, v in query.items())
    answer = api.call(method, path, body)
    promises.check(operation, answer)
    seen.setdefault(operation, set()).add(answer.status_code)
    return answer


def good(wanted, *arguments, **more):
    answer = ask(*arguments, **more)
    assert answer.status_code == wanted, answer.text
    return answer.json() if answer.content and "json" in answer.headers["Content-Type"] else answer


def refused(wanted, said, *arguments, **more):
    answer = ask(*arguments, **more)
    assert answer.status_code == wanted and said in answer.json()["message"], answer.text


# ---- of a runner ---------------------------------------------------------------------------------------------------
def test_get_deployments_status(site, stack):
    pool = site.server.api(site.pool["tokenValue"])
    made = site.api.deploy(stack, "preview")
    assert good(200, pool, "GetDeploymentsStatus", made["id"]) == "not-started"
    run = Runner(site, stack)
    assert good(200, pool, "GetDeploymentsStatus", run.id) == "accepted"
    run.step(0)
    assert good(200, run.api, "GetDeploymentsStatus", run.id) == "running"
    run.finish()
    assert good(200, pool, "GetDeploymentsStatus", run.id) == "succeeded"
    refused(401, "", site.api, "GetDeploymentsStatus", run.id)
    refused(404, NO_ID, pool, "GetDeploymentsStatus", NO_ID)


def test_get_pulumi_deploy_executor(site):
    answer = good(200, site.server.api(site.pool["tokenValue"]), "GetPulumiDeployExecutor")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert gzip.decompress(answer.content).startswith(b"\x7fELF")
    refused(401, "", site.api, "GetPulumiDeployExecutor")


def test_poll_deployments_queue(site, stack):
    pool = site.server.api(site.pool["tokenValue"])
    idle = ask(pool, "PollDeploymentsQueue")
    assert idle.status_code == 204 and int(idle.headers["Retry-After"]) > 0
    made = site.api.deploy(stack, "preview")
    claim = good(200, pool, "PollDeploymentsQueue")
    assert claim["deploymentID"] == claim["typeSpecificID"] == made["id"]
    assert site.server.api(claim["jobToken"]).get(f"/api/runner/{made['id']}/order")["deployment"]["id"] == made["id"]
    site.server.api(claim["jobToken"]).post(f"/api/runner/{made['id']}/finish", {"attempt": claim["attempt"], "status": "failed", "message": ""})
    # Documented as 403; a token of another kind is a 401 here, as on every route: who asks is not known at all.
    refused(401, "", site.api, "PollDeploymentsQueue")
    refused(401, "", site.server.api("pul-" + "0" * 40), "PollDeploymentsQueue")


# ---- lists ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def history(site):
    """Four deployments of a stack: over, cancelled, running, waiting."""
    stack = site.stack("acme/history/dev", operationContext={"environmentVariables": {"PLAIN": "value", "HIDDEN": {"secret": "hush"}}})
    site.run(stack).finish("failed", "it does not matter")
    made = site.api.deploy(stack, "update")
    site.api.post(f"{path_of(stack)}/deployments/{made['id']}/cancel")
    run = site.run(stack, "refresh")
    run.step(0, name="Setup")
    run.log(0, *(f"line {i}\n" for i in range(5)))
    site.api.deploy(stack, "destroy")
    yield run
    run.finish()
    last = site.api.get(f"{path_of(stack)}/deployments?status=not-started")["deployments"]
    for d in last:
        site.api.post(f"{path_of(stack)}/deployments/{d['id']}/cancel")


def listing(site, operation, *tail):
    everything = good(200, site.api, operation, *tail, pageSize=100)
    mine = [d for d in everything["deployments"] if d["projectName"] == "history"]
    assert [(d["version"], d["status"]) for d in mine] == [(4, "not-started"), (3, "running"), (2, "skipped"), (1, "failed")]
    assert everything["itemsPerPage"] == 100 and everything["total"] == len(everything["deployments"]) >= 4
    assert [s["name"] for s in mine[1]["jobs"][0]["steps"]] == ["Setup"] and mine[0]["jobs"] == []
    assert mine[0]["requestedBy"]["githubLogin"] == "operator" and mine[0]["pulumiOperation"] == "destroy"
    one = good(200, site.api, operation, *tail, page=2, pageSize=1, asc="true", sort="created", status="failed")
    assert one["itemsPerPage"] == 1 and len(one["deployments"]) == max(0, min(1, one["total"] - 1))
    for wrong, names in (({"page": 0}, "page"), ({"page": "x"}, "page"), ({"pageSize": 101}, "pageSize"), ({"asc": "perhaps"}, "asc"),
                         ({"sort": "colour"}, "sort"), ({"status": "done"}, "status")):
        refused(400, f"query argument {names}", site.api, operation, *tail, **wrong)
    refused(404, "Not Found", site.stranger, operation, *tail)


def test_list_org_deployments(site, history):
    listing(site, "ListOrgDeployments", "acme")
    assert good(200, site.reader, "ListOrgDeployments", "acme")["total"] >= 4
    refused(404, "organization 'nowhere'", site.api, "ListOrgDeployments", "nowhere")


def test_list_stack_deployments_handler_v2(site, history):
    listing(site, "ListStackDeploymentsHandlerV2", "acme", "history", "dev")
    refused(404, "stack", site.api, "ListStackDeploymentsHandlerV2", "acme", "nowhere", "dev")


def test_org_deployments_metadata(site, history):
    before = good(200, site.api, "OrgDeploymentsMetadata", "acme")
    counts = before["deploymentCounts"]
    assert before["paused"] is False and before["concurrency"] >= 1 and counts["running"] >= 1 and counts["failed"] >= 1 and counts["skipped"] >= 1
    assert counts["total"] == sum(n for name, n in counts.items() if name != "total")
    refused(404, "organization", site.stranger, "OrgDeploymentsMetadata", "acme")


def test_pause_org_deployments(site, stack):
    good(200, site.api, "PauseOrgDeployments", "acme")
    try:
        assert good(200, site.api, "OrgDeploymentsMetadata", "acme")["paused"] is True
        site.api.deploy(stack, "preview")  # may be queued, and is not picked up
        assert site.server.api(site.pool["tokenValue"]).call("GET", "/api/deployments/poll").status_code == 204
        refused(403, "", site.reader, "PauseOrgDeployments", "acme")
        refused(404, "organization", site.stranger, "PauseOrgDeployments", "acme")
    finally:
        site.api.post("/api/orgs/acme/deployments/resume")
    Runner(site, stack).finish("failed")


def test_resume_org_deployments(site, stack):
    site.api.post("/api/orgs/acme/deployments/pause")
    site.api.deploy(stack, "preview")
    refused(403, "", site.reader, "ResumeOrgDeployments", "acme")
    good(200, site.api, "ResumeOrgDeployments", "acme")
    assert good(200, site.api, "OrgDeploymentsMetadata", "acme")["paused"] is False
    Runner(site, stack).finish("failed")


def test_get_usage_summary_deploy_compute(site, history, servers):
    for granularity, members in (("hourly", {"month", "day", "hour"}), ("daily", {"month", "day"}), ("weekly", {"weekNumber"}), ("monthly", {"month"}),
                                 ("yearly", set())):
        said = good(200, site.api, "GetUsageSummaryDeployCompute", "acme", granularity=granularity, lookbackDays=1)["summary"]
        assert said and all(members <= set(one) and one["resources"] >= 1 for one in said), said
    assert ask(site.stranger, "GetUsageSummaryDeployCompute", "acme2", granularity="daily", lookbackDays=1).status_code == 204  # nothing ran there
    for wrong in ({}, {"granularity": "minutely", "lookbackDays": 1}, {"granularity": "daily"}, {"granularity": "daily", "lookbackDays": 0},
                  {"granularity": "daily", "lookbackDays": "x"}, {"granularity": "daily", "lookbackDays": 1, "lookbackStart": 1}):
        refused(400, "", site.api, "GetUsageSummaryDeployCompute", "acme", **wrong)


def test_get_deploy_usage_report(site, history):
    records = good(200, site.api, "GetDeployUsageReport", "acme", lookbackDays=1)
    assert records and records[-1]["Count"] >= 1 and records[-1]["UsageRangeEnd"] - records[-1]["UsageRangeStart"] == 86400
    for wrong in (0, -1, "x", 100000):
        refused(400, "query argument lookbackDays", site.api, "GetDeployUsageReport", "acme", lookbackDays=wrong)


# ---- one deployment ------------------------------------------------------------------------------------------------
def test_create_api_deployment_handler_v2(site, stack, bare):
    names = stack.split("/")
    made = good(202, site.api, "CreateAPIDeploymentHandlerV2", *names, body={
        "operation": "preview", "inheritSettings": True, "executorContext": {"executorImage": "example.invalid/image:1"},
        "sourceContext": {"git": {"repoUrl": "https://example.com/y.git", "branch": "main"}}, "operationContext": {"preRunCommands": ["true"]}})
    assert made["version"] == 1 and made["consoleUrl"].startswith(site.server.url)
    for body, said in (({}, "Missing top level required field 'operation'"), ({"operation": ""}, "Missing top level required field 'operation'"),
                       ({"operation": "preview", "operationContext": {"operation": "update"}}, "operation must only be set at the top level"),
                       ({"operation": "preview", "agentPoolID": NO_ID}, "the agent pool specified in the deployment settings does not exist"),
                       ({"operation": "dance"}, "/operation"), ({"operation": 7}, "/operation")):
        refused(400, said, site.api, "CreateAPIDeploymentHandlerV2", *names, body=body)
    refused(404, "stack", site.api, "CreateAPIDeploymentHandlerV2", "acme", "nowhere", "dev", body={"operation": "preview"})
    refused(403, "", site.reader, "CreateAPIDeploymentHandlerV2", *names, body={"operation": "preview"})
    site.api.post(f"{path_of(stack)}/deployments/{made['id']}/cancel")


def one_deployment(site, history, operation, name):
    names = history.stack.split("/")
    said = good(200, site.api, operation, *names, name)
    assert (said["id"], said["version"], said["status"], said["latestVersion"], said["pulumiOperation"]) == (history.id, 3, "running", 4, "refresh")
    job, = said["jobs"]
    assert job["status"] == "running" and job["steps"][0]["name"] == "Setup" and "started" in job
    assert said["configuration"] == {"environmentVariables": [{"name": "PLAIN", "value": "value", "secret": False}, {"name": "HIDDEN", "secret": True}],
                                     "source": {"git": {"repoURL": "https://example.com/x.git", "branch": "main"}}}
    return names


def test_get_deployment(site, history):
    names = one_deployment(site, history, "GetDeployment", history.id)
    waiting = site.api.get(f"{path_of(history.stack)}/deployments?status=not-started")["deployments"][0]["id"]
    assert "jobs" not in good(200, site.api, "GetDeployment", *names, waiting)  # omitted before the start
    for unknown in (NO_ID, "no-such-id"):
        refused(404, f"deployment '{unknown}'", site.api, "GetDeployment", *names, unknown)
    refused(404, "stack", site.stranger, "GetDeployment", *names, history.id)


def test_get_deployment_version(site, history):
    names = one_deployment(site, history, "GetDeployment_version", "3")
    for unknown in ("99", "0", "-1", "x", "99999999999999999999"):
        refused(404, f"deployment '{unknown}'", site.api, "GetDeployment_version", *names, unknown)


def test_cancel_deployment(site, stack):
    names = stack.split("/")
    queued = site.api.deploy(stack, "preview")
    refused(403, "", site.reader, "CancelDeployment", *names, queued["id"])
    good(200, site.api, "CancelDeployment", *names, queued["id"])
    assert site.api.deployment(stack, queued["id"])["status"] == "skipped"
    run = site.run(stack)
    run.step(0)
    good(200, site.api, "CancelDeployment", *names, run.id)
    assert run.post("heartbeat")["cancel"] is True
    run.finish("failed", "cancelled")
    refused(404, f"deployment '{NO_ID}'", site.api, "CancelDeployment", *names, NO_ID)


def test_get_deployment_logs(site, history):
    names = history.stack.split("/")
    said = good(200, site.api, "GetDeploymentLogs", *names, history.id)
    assert [line.get("header") or line["line"] for line in said["lines"]] == ["Setup"] + [f"line {i}\n" for i in range(5)] and said["nextToken"]
    step = good(200, site.api, "GetDeploymentLogs", *names, history.id, job=0, step=0, offset=2, count=2)
    assert step["name"] == "Setup" and [line["line"] for line in step["lines"]] == ["line 2\n", "line 3\n"] and step["nextOffset"] == 4
    for count in (0, 500, -1, "x"):
        refused(400, "Count must be less than 500 and more than 0", site.api, "GetDeploymentLogs", *names, history.id, job=0, step=0, count=count)
    refused(404, f"deployment '{NO_ID}'", site.api, "GetDeploymentLogs", *names, NO_ID)
    refused(404, "step", site.api, "GetDeploymentLogs", *names, history.id, job=0, step=99)
    refused(404, "job", site.api, "GetDeploymentLogs", *names, history.id, job=1, step=0)


def test_get_deployment_updates(site, stack):
    names = stack.split("/")
    run = site.run(stack, "update")
    run.step(0, name="pulumi update")
    assert good(200, site.api, "GetDeploymentUpdates", *names, run.id) == []
    cli = site.server.api(run.order["runToken"])
    path = f"{path_of(stack)}/update"
    path += "/" + cli.post(path, {"name": names[1], "runtime": "yaml", "config": {}, "metadata": {"message": "hello", "environment": {"a": "b"}}})["updateID"]
    lease = site.api.with_token(cli.post(path, {"tags": {}})["token"], "update-token")
    lease.post(path + "/complete", {"status": "succeeded"})
    update, = good(200, site.api, "GetDeploymentUpdates", *names, run.id)
    assert (update["info"]["kind"], update["info"]["result"], update["info"]["message"]) == ("update", "succeeded", "hello")
    assert update["updateID"] == path.rsplit("/", 1)[-1] and update["version"] == update["latestVersion"] == 1
    run.finish()
    refused(404, f"deployment '{NO_ID}'", site.api, "GetDeploymentUpdates", *names, NO_ID)


# ---- the dependency cache ------------------------------------------------------------------------------------------
def test_get_presigned_cache_url(site, stack):
    names = stack.split("/")
    put = good(200, site.api, "GetPresignedCacheURL", *names, body={"method": "PUT", "key": "yarn-1"})["url"]
    nobody = site.server.api("")
    nobody.ok("PUT", put.removeprefix(site.server.url), data=b"an archive", headers={"Content-Type": "application/octet-stream"})
    got = good(200, site.api, "GetPresignedCacheURL", *names, body={"method": "GET", "key": "yarn-1"})["url"]
    assert nobody.call("GET", got.removeprefix(site.server.url)).content == b"an archive"
    for body in ({"method": "POST", "key": "k"}, {"key": "k"}):
        refused(400, "Invalid method. Must be PUT or GET.", site.api, "GetPresignedCacheURL", *names, body=body)
    for body in ({"method": "GET", "key": ""}, {"method": "GET"}):
        refused(400, "Invalid key. Must be non-empty.", site.api, "GetPresignedCacheURL", *names, body=body)
    refused(403, "", site.reader, "GetPresignedCacheURL", *names, body={"method": "GET", "key": "k"})
    refused(404, "stack", site.api, "GetPresignedCacheURL", "acme", "nowhere", "dev", body={"method": "GET", "key": "k"})


def test_clear_project_cache(site, stack):
    names = stack.split("/")
    url = {m: site.api.post(f"{path_of(stack)}/deployments/cache/url", {"method": m, "key": "k"})["url"].removeprefix(site.server.url) for m in ("PUT", "GET")}
    nobody = site.server.api("")
    nobody.ok("PUT", url["PUT"], data=b"x")
    refused(403, "", site.reader, "ClearProjectCache", *names)
    good(200, site.api, "ClearProjectCache", *names)
    assert nobody.call("GET", url["GET"]).status_code == 404
    good(200, site.api, "ClearProjectCache", *names)
    refused(404, "stack", site.api, "ClearProjectCache", "acme", "nowhere", "dev")


# ---- a stack's pauses ----------------------------------------------------------------------------------------------
def test_stack_deployments_metadata(site, stack):
    names = stack.split("/")
    assert good(200, site.api, "StackDeploymentsMetadata", *names)["hasSchedules"] is False
    site.api.post(f"{path_of(stack)}/deployments/schedules", {"scheduleCron": "0 0 1 1 *", "request": {"operation": "preview"}})
    site.api.post(f"{path_of(stack)}/deployments/pause")
    said = good(200, site.api, "StackDeploymentsMetadata", *names)
    assert (said["paused"], said["stackPaused"], said["organizationPaused"], said["hasSchedules"]) == (True, True, False, True)
    refused(404, "stack", site.stranger, "StackDeploymentsMetadata", *names)


def pausing(site, stack, bare, operation, paused):
    good(200, site.api, operation, *stack.split("/"))
    assert site.api.get(f"{path_of(stack)}/deployments/metadata")["stackPaused"] is paused
    refused(400, "Attempted to pause or resume deployments on stack before it has been configured for deployments", site.api, operation,
            *bare.split("/")[3:])
    refused(403, "", site.reader, operation, *stack.split("/"))


def test_pause_stack_deployments(site, stack, bare):
    pausing(site, stack, bare, "PauseStackDeployments", True)
    made = site.api.deploy(stack, "preview")
    assert site.server.api(site.pool["tokenValue"]).call("GET", "/api/deployments/poll").status_code == 204
    site.api.post(f"{path_of(stack)}/deployments/{made['id']}/cancel")


def test_resume_stack_deployments(site, stack, bare):
    site.api.post(f"{path_of(stack)}/deployments/pause")
    site.api.deploy(stack, "preview")
    pausing(site, stack, bare, "ResumeStackDeployments", False)
    Runner(site, stack).finish("failed")


# ---- settings ------------------------------------------------------------------------------------------------------
WHOLE = {
    "tag": "blue", "cacheOptions": {"enable": True},
    "executorContext": {"executorImage": {"reference": "example.invalid/i:1", "credentials": {"username": "u", "password": {"secret": "p"}}},
                        "executorRootPath": "/opt"},
    "sourceContext": {"git": {"branch": "main", "repoDir": "infra",
                              "gitAuth": {"basicAuth": {"userName": "u", "password": {"secret": "p"}}}}},
    "gitHub": {"repository": "o/r", "deployCommits": True, "previewPullRequests": False, "pullRequestTemplate": True, "deployPullRequest": 7,
               "paths": ["infra/**"], "installationId": "1"},
    "operationContext": {"preRunCommands": ["true"], "operation": "update", "environmentVariables": {"A": "plain", "B": {"secret": "hush"}},
                         "options": {"skipInstallDependencies": True, "skipIntermediateDeployments": True, "shell": "sh", "deleteAfterDestroy": False,
                                     "remediateIfDriftDetected": False},
                         "oidc": {"aws": {"roleArn": "a", "sessionName": "s", "duration": "1h0m0s", "policyArns": ["p"]},
                                  "azure": {"clientId": "c", "tenantId": "t", "subscriptionId": "s"},
                                  "gcp": {"projectId": "p", "workloadPoolId": "w", "providerId": "p", "serviceAccount": "s", "region": "r",
                                          "tokenLifetime": "30m0s"}}},
}
# The repository is named in one place.
OTHER_SOURCES = [{"sourceContext": {"git": {"repoUrl": "https://example.com/x.git", "commit": "0" * 40}}},
                 {"vcs": {"provider": "gitlab", "repository": "g/p", "deployCommits": True, "previewPullRequests": True, "pullRequestTemplate": False,
                          "deployPullRequest": 1, "installationId": "2", "paths": ["a"]}},
                 {"sourceContext": {"hg": {"repoUrl": "https://example.com/hg", "branch": "b", "repoDir": "d"}}},
                 {"sourceContext": {"template": {"sourceUrl": "https://example.com/t.tar.gz", "gitAuth": {"accessToken": {"secret": "t"}}}}},
                 {"executorContext": {"executorImage": "example.invalid/plain"}}]
WRONG = [({"agentPoolID": NO_ID}, "agentPoolID"), ({"operationContext": {"role": {"id": "no-such-role"}}}, "role"),
         ({"operationContext": {"oidc": {"aws": {"duration": "soon"}}}}, "duration"), ({"executorContext": 7}, "executorContext"),
         ({"sourceContext": {"template": {}}}, "sourceContext.template.sourceUrl is required when using a template"),
         ({"vcs": {"provider": "carrier pigeon"}}, "provider"), ({"operationContext": {"environmentVariables": {"A B": "x"}}}, "A B")]


def as_read(body):
    """What was written, as it is read: secrets hidden."""
    if isinstance(body, dict):
        return {"secret": "[secret]"} if set(body) == {"secret"} else {k: as_read(v) for k, v in body.items()}
    return body


def without_ciphertext(body):
    if isinstance(body, dict):
        return {k: without_ciphertext(v) for k, v in body.items() if k != "ciphertext"}
    return body


def settings_of(said):
    return {k: v for k, v in without_ciphertext(said).items() if k not in ("version", "source")}


def test_get_deployment_settings(site, bare):
    names = bare.split("/")[3:]
    refused(404, "no deployment settings", site.api, "GetDeploymentSettings", *names)
    site.api.ok("PUT", f"{bare}/deployments/settings", WHOLE)
    said = good(200, site.reader, "GetDeploymentSettings", *names)
    assert settings_of(said) == as_read(WHOLE) and said["version"] == 1 and said["source"] == "api"
    assert "hush" not in site.reader.call("GET", f"{bare}/deployments/settings").text
    refused(404, "stack", site.api, "GetDeploymentSettings", "acme", "nowhere", "dev")


def saving(site, bare, operation):
    names = bare.split("/")[3:]
    said = good(200, site.api, operation, *names, body={**WHOLE, "agentPoolID": site.pool["id"]})
    assert settings_of(said) == {**as_read(WHOLE), "agentPoolID": site.pool["id"]}
    before = site.api.get(f"{bare}/deployments/settings")
    for body, names_it in WRONG:
        refused(400, names_it, site.api, operation, *names, body=body)
    refused(403, "", site.reader, operation, *names, body={"tag": "green"})
    refused(404, "stack", site.api, operation, "acme", "nowhere", "dev", body={})
    assert site.api.get(f"{bare}/deployments/settings") == before
    return names


def test_patch_deployment_settings(site, bare):
    names = saving(site, bare, "PatchDeploymentSettings")
    said = good(200, site.api, "PatchDeploymentSettings", *names, body={"tag": None, "gitHub": {"deployCommits": None, "paths": ["a"]}})
    assert "tag" not in said and "deployCommits" not in said["gitHub"] and said["gitHub"]["paths"] == ["a"] and said["gitHub"]["repository"] == "o/r"
    assert said["version"] == 2


def test_replace_deployment_settings(site, bare):
    names = saving(site, bare, "ReplaceDeploymentSettings")
    said = good(200, site.api, "ReplaceDeploymentSettings", *names, body={"tag": "only this"})
    assert settings_of(said) == {"tag": "only this"}
    for body in OTHER_SOURCES:
        assert settings_of(good(200, site.api, "ReplaceDeploymentSettings", *names, body=body)) == as_read(body)


def test_delete_deployment_settings(site, stack):
    names = stack.split("/")
    refused(403, "", site.reader, "DeleteDeploymentSettings", *names)
    assert good(200, site.api, "DeleteDeploymentSettings", *names) is True
    refused(404, "no deployment settings", site.api, "GetDeploymentSettings", *names)
    refused(404, "", site.api, "DeleteDeploymentSettings", *names)
    refused(404, "stack", site.api, "DeleteDeploymentSettings", "acme", "nowhere", "dev")


def test_encrypt_deployment_settings_secret(site, stack):
    names = stack.split("/")
    said = good(200, site.api, "EncryptDeploymentSettingsSecret", *names, body={"secret": "hush"})
    assert said["ciphertext"] and "hush" not in str(said)
    saved = site.api.settings(stack, {"operationContext": {"environmentVariables": {"X": {"ciphertext": said["ciphertext"]}}}})
    assert saved["operationContext"]["environmentVariables"]["X"]["secret"] == "[secret]"
    run = site.run(stack)
    assert {"name": "X", "value": "hush", "secret": True} in run.order["environment"]
    run.finish("failed")
    for body in ({"secret": ""}, {}, ""):
        refused(400, "Invalid empty value", site.api, "EncryptDeploymentSettingsSecret", *names, body=body)
    refused(404, "stack", site.api, "EncryptDeploymentSettingsSecret", "acme", "nowhere", "dev", body={"secret": "x"})


# ---- drift ---------------------------------------------------------------------------------------------------------
def drifted(site, stack):
    """A preview of a refresh that finds one resource gone."""
    names = stack.split("/")
    path = f"{path_of(stack)}/refresh"
    path += "/" + site.api.post(path, {"name": names[1], "runtime": "yaml", "config": {}, "options": {"dryRun": True},
                                       "metadata": {"message": "", "environment": {}}})["updateID"]
    lease = site.api.with_token(site.api.post(path, {"tags": {}})["token"], "update-token")
    assert good(200, site.api, "GetStackDriftStatus", *names)["runInProgress"] is True
    urn = f"urn:pulumi:dev::{names[1]}::a:b:C::gone"
    state = {"type": "a:b:C", "urn": urn, "id": "1", "provider": "", "parent": "", "inputs": {}, "outputs": {}}
    lease.post(path + "/events/batch", {"events": [
        {"sequence": 1, "timestamp": 1, "resourcePreEvent": {"metadata": {"op": "refresh", "urn": urn, "type": "a:b:C", "old": state, "new": None,
                                                                          "detailedDiff": None, "provider": ""}, "planning": True}},
        {"sequence": 2, "timestamp": 2, "resOutputsEvent": {"metadata": {"op": "delete", "urn": urn, "type": "a:b:C", "old": state, "new": None,
                                                                         "detailedDiff": None, "provider": ""}, "planning": True}},
        {"sequence": 3, "timestamp": 3, "summaryEvent": {"maybeCorrupt": False, "durationSeconds": 1, "resourceChanges": {"delete": 1}, "PolicyPacks": {}}}]})
    lease.post(path + "/complete", {"status": "succeeded"})


def test_list_drift_runs(site, stack):
    names = stack.split("/")
    assert good(200, site.api, "ListDriftRuns", *names) == {"driftRuns": [], "itemsPerPage": 10, "total": 0}
    drifted(site, stack)
    said = good(200, site.api, "ListDriftRuns", *names, page=1, pageSize=5)
    run, = said["driftRuns"]
    assert said["total"] == 1 and said["itemsPerPage"] == 5 and run["driftDetected"] is True and run["status"] == "succeeded"
    assert run["detectUpdate"]["resourceChanges"] == {"delete": 1}
    for wrong in ({"page": 0}, {"pageSize": 0}, {"pageSize": 101}, {"page": "x"}):
        refused(400, f"query argument {next(iter(wrong))}", site.api, "ListDriftRuns", *names, **wrong)
    refused(404, "stack", site.stranger, "ListDriftRuns", *names)


def test_get_stack_drift_status(site, stack):
    names = stack.split("/")
    assert good(200, site.api, "GetStackDriftStatus", *names) ["latestDriftRun"] == ""
    drifted(site, stack)
    said = good(200, site.api, "GetStackDriftStatus", *names)
    assert (said["driftDetected"], said["runInProgress"]) == (True, False)
    assert said["latestDriftRun"] == site.api.get(f"{path_of(stack)}/drift/runs")["driftRuns"][0]["id"]
    assert site.api.get(f"{path_of(stack)}/deployments/metadata").get("drift", said) == said
    refused(404, "stack", site.stranger, "GetStackDriftStatus", *names)


# ---- all of them ---------------------------------------------------------------------------------------------------
def test_each_of_the_28_has_a_test_of_its_name():
    assert len(promises.PROMISES) == 28
    missing = [name for name in map(snake, promises.PROMISES) if name not in globals()]
    assert not missing, missing
