"""What clients of the Deployments API rely on, written down from Pulumi's REST reference: the 28 operations of its page, the
statuses that it documents, and the members of each answer with their types. Only what the reference says stands here, and
this server may answer more; so this is a second opinion on api/, not a copy of it.

Three documented errors cannot occur: 402, since nothing is sold here; the 400 about Terraform stacks, which do not exist here; and the
403 of the poll, since a token of another kind is a 401 on every route: it says who asks nowhere.
"""
import re

RFC3339 = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")


class Text:
    """A string of a certain form."""

    def __init__(self, name, pattern):
        self.name, self.pattern = name, re.compile(pattern)

    def __repr__(self):
        return self.name


class Either:
    def __init__(self, *shapes):
        self.shapes = shapes


def one_of(*words):
    return Text(f"one of {', '.join(words)}", "^(" + "|".join(map(re.escape, words)) + ")$")


TIME = Text("a time of RFC 3339", RFC3339.pattern)
STATUS = one_of("not-started", "accepted", "running", "failed", "succeeded", "skipped")
OPERATION = one_of("update", "preview", "destroy", "refresh", "detect-drift", "remediate-drift")
SOURCE = one_of("console", "api", "provider", "github-review-stack", "azure-devops-review-stack", "gitlab-review-stack",
                "bitbucket-review-stack", "github-gitops")
UPDATE_KIND = one_of("update", "preview", "refresh", "rename", "destroy", "import", "Pupdate", "Prefresh", "Pdestroy", "Pimport", "Prename")
UPDATE_RESULT = one_of("not-started", "in-progress", "succeeded", "failed")

# A member whose name ends in ? may be absent. [shape]: an array; {str: shape}: an object with any names.
USER = {"name": str, "githubLogin": str, "avatarUrl": str, "email?": str}
STEP = {"name": str, "status": one_of("not-started", "running", "failed", "succeeded"), "started?": TIME, "lastUpdated?": TIME}
JOB = {"status": STATUS, "started?": TIME, "lastUpdated?": TIME, "steps": [STEP]}
UPDATE = {"kind": UPDATE_KIND, "result": UPDATE_RESULT, "version": int, "startTime": int, "endTime": int, "message": str, "environment": {str: str}}
LISTED = {"id": str, "created": str, "modified": str, "status": STATUS, "version": int, "requestedBy": USER, "projectName?": str, "stackName?": str,
          "paused?": bool, "pulumiOperation": OPERATION, "updates": [{"id": str, "updateID": str, **UPDATE}], "jobs": [JOB], "initiator?": str,
          "agentPool?": {"id": str, "name": str}}
LIST = {"deployments": [LISTED], "itemsPerPage": int, "total": int}
DEPLOYMENT = {"id": str, "created": str, "modified": str, "status": STATUS, "version": int, "requestedBy": USER, "jobs?": [JOB], "latestVersion": int,
              "initiator?": str, "pulumiOperation?": OPERATION,
              "configuration?": {"environmentVariables": [{"name": str, "value?": str, "secret": bool}],
                                 "source?": {"git?": {"repoURL": str, "branch?": str, "commit?": str, "repoDir?": str}, "template?": {"sourceUrl": str}}}}
SECRET = {"secret": str, "ciphertext?": str}
VALUE = Either(str, SECRET)
AUTH = {"accessToken?": VALUE, "sshAuth?": {"sshPrivateKey": VALUE, "password?": VALUE}, "basicAuth?": {"userName": VALUE, "password": VALUE}}
SETTINGS = {
    "version?": int, "tag?": str, "source?": SOURCE, "agentPoolID?": str, "cacheOptions?": {"enable": bool},
    "executorContext?": {"executorImage?": Either(str, {"reference": str, "credentials?": {"username": str, "password": VALUE}}), "executorRootPath?": str},
    "sourceContext?": {"git?": {"repoUrl?": str, "branch?": str, "commit?": str, "repoDir?": str, "gitAuth?": AUTH},
                       "hg?": {"repoUrl?": str, "branch?": str, "revision?": str, "repoDir?": str, "hgAuth?": AUTH},
                       "template?": {"sourceUrl?": str, "gitAuth?": {"accessToken": VALUE}}},
    "gitHub?": {"repository?": str, "pullRequestTemplate?": bool, "deployCommits?": bool, "previewPullRequests?": bool, "deployPullRequest?": int,
                "paths?": [str], "installationId?": str},
    "vcs?": {"provider": str, "repository?": str, "deployCommits?": bool, "paths?": [str], "installationId?": str, "pullRequestTemplate?": bool,
             "previewPullRequests?": bool, "deployPullRequest?": int},
    "operationContext?": {"preRunCommands?": [str], "operation?": OPERATION, "environmentVariables?": {str: VALUE}, "role?": {"id": str},
                          "options?": {"skipInstallDependencies?": bool, "skipIntermediateDeployments?": bool, "shell?": str,
                                       "deleteAfterDestroy?": bool, "remediateIfDriftDetected?": bool},
                          "oidc?": {"aws?": {"roleArn": str, "sessionName": str, "duration?": str, "policyArns?": [str]},
                                    "azure?": {"clientId?": str, "tenantId?": str, "subscriptionId?": str},
                                    "gcp?": {"projectId": str, "workloadPoolId": str, "providerId": str, "serviceAccount": str, "region?": str,
                                             "tokenLifetime?": str}}},
}
LINE = {"header?": str, "timestamp?": TIME, "line?": str}
LOGS = Either({"lines?": [LINE], "nextToken?": str}, {"name": str, "lines?": [LINE], "nextOffset?": int})
DRIFT_UPDATE = {"modified": str, "status": STATUS, "updateId": str, "resourceChanges?": {str: int}}
DRIFT_RUN = {"id": str, "driftDetected": bool, "created": str, "status": STATUS, "deploymentId?": str, "deploymentVersion?": int,
             "detectUpdate?": DRIFT_UPDATE, "remediateUpdate?": DRIFT_UPDATE}
DRIFT = {"driftDetected": bool, "latestDriftRun": str, "runInProgress": bool}
COUNT = {"year": int, "month?": int, "day?": int, "weekNumber?": int, "hour?": int, "resources": int, "resourceHours": int}
RECORD = {"OrgID": str, "Timestamp": int, "UsageRangeStart": int, "UsageRangeEnd": int, "Value": int, "Count": int, "Tags?": {str: str}}
COUNTS = {name: int for name in ("notStarted", "accepted", "running", "failed", "succeeded", "skipped", "total")}

S = "/api/stacks/{orgName}/{projectName}/{stackName}"
D = S + "/deployments"
O = "/api/orgs/{orgName}/deployments"  # noqa: E741
NOTHING = None  # an empty body
BYTES = object()

# operation: method, path, {status: shape}, errors that the reference documents (and can occur here)
PROMISES = {
    "GetDeploymentsStatus": ("GET", "/api/deployments/{deploymentId}/status", {200: STATUS}, []),
    "GetPulumiDeployExecutor": ("GET", "/api/deployments/executor", {200: BYTES}, []),
    "PollDeploymentsQueue": ("GET", "/api/deployments/poll", {
        200: {"jobToken": str, "oidcToken": str, "typeSpecificID": str, "deploymentID?": str, "jobID": str, "runID": str}, 204: NOTHING}, []),
    "ListOrgDeployments": ("GET", O, {200: LIST}, [400, 404]),
    "OrgDeploymentsMetadata": ("GET", O + "/metadata", {200: {"paused": bool, "concurrency": int, "deploymentCounts": COUNTS}}, []),
    "PauseOrgDeployments": ("POST", O + "/pause", {200: NOTHING}, []),
    "ResumeOrgDeployments": ("POST", O + "/resume", {200: NOTHING}, []),
    "GetUsageSummaryDeployCompute": ("GET", O + "/summary", {200: {"summary": [COUNT]}, 204: NOTHING}, [400]),
    "GetDeployUsageReport": ("GET", O + "/usagereport", {200: [RECORD]}, [400]),
    "ListStackDeploymentsHandlerV2": ("GET", D, {200: LIST}, [400, 404]),
    "CreateAPIDeploymentHandlerV2": ("POST", D, {202: {"id": str, "consoleUrl": str, "version": int}}, [400, 404]),
    "GetDeployment": ("GET", D + "/{deploymentId}", {200: DEPLOYMENT}, [404]),
    "CancelDeployment": ("POST", D + "/{deploymentId}/cancel", {200: NOTHING}, [404]),
    "GetDeploymentLogs": ("GET", D + "/{deploymentId}/logs", {200: LOGS}, [400, 404]),
    "GetDeploymentUpdates": ("GET", D + "/{deploymentId}/updates", {
        200: [{"info": {**UPDATE, "config": {str: object}}, "updateID": str, "version": int, "latestVersion": int, "requestedBy": USER}]}, [404]),
    "ClearProjectCache": ("DELETE", D + "/cache", {200: NOTHING}, [403, 404]),
    "GetPresignedCacheURL": ("POST", D + "/cache/url", {200: {"url": str}}, [400, 403, 404]),
    "StackDeploymentsMetadata": ("GET", D + "/metadata", {
        200: {"paused": bool, "stackPaused": bool, "organizationPaused": bool, "hasSchedules": bool, "drift?": DRIFT}}, []),
    "PauseStackDeployments": ("POST", D + "/pause", {200: NOTHING}, [400]),
    "ResumeStackDeployments": ("POST", D + "/resume", {200: NOTHING}, [400]),
    "GetDeploymentSettings": ("GET", D + "/settings", {200: SETTINGS}, [404]),
    "PatchDeploymentSettings": ("POST", D + "/settings", {200: SETTINGS}, [400, 404]),
    "ReplaceDeploymentSettings": ("PUT", D + "/settings", {200: SETTINGS}, [400, 404]),
    "DeleteDeploymentSettings": ("DELETE", D + "/settings", {200: bool}, [404]),
    "EncryptDeploymentSettingsSecret": ("POST", D + "/settings/encrypt", {200: SECRET}, [400, 404]),
    "GetDeployment_version": ("GET", D + "/version/{version}", {200: DEPLOYMENT}, [404]),
    "ListDriftRuns": ("GET", S + "/drift/runs", {200: {"driftRuns": [DRIFT_RUN], "itemsPerPage": int, "total": int}}, [400]),
    "GetStackDriftStatus": ("GET", S + "/drift/status", {200: DRIFT}, []),
}


def faults(value, shape, at=""):
    """Sentences about what is not as promised."""
    if isinstance(shape, Either):
        tried = [list(faults(value, one, at)) for one in shape.shapes]
        yield from min(tried, key=len)
    elif isinstance(shape, Text):
        if not isinstance(value, str) or not shape.pattern.match(value):
            yield f"{at or '/'}: {value!r} is not {shape!r}"
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{at or '/'}: {value!r} is not an array"
            return
        for i, one in enumerate(value):
            yield from faults(one, shape[0], f"{at}/{i}")
    elif isinstance(shape, dict):
        yield from members(value, shape, at)
    elif not isinstance(value, shape) or (shape is int and isinstance(value, bool)):
        yield f"{at or '/'}: {value!r} is not of type {shape.__name__}"


def members(value, shape, at):
    if not isinstance(value, dict):
        yield f"{at or '/'}: {value!r} is not an object"
    elif str in shape:
        for name, one in value.items():
            yield from faults(one, shape[str], f"{at}/{name}")
    else:
        for name, one in shape.items():
            known = name.removesuffix("?")
            if known in value:
                yield from faults(value[known], one, f"{at}/{known}")
            elif known == name:
                yield f"{at}/{known}: is missing"


def check(operation, answer):
    """That an answer is one of those that the operation promises."""
    method, _, shapes, errors = PROMISES[operation]
    status = answer.status_code
    assert status in shapes or status in errors or status in (401, 403, 404), f"{operation} answered {status}: {answer.text[:1000]}"
    if status not in shapes:
        said = answer.json()
        assert said["code"] == status and isinstance(said["message"], str) and said["message"], said
        return
    shape = shapes[status]
    if shape is NOTHING:
        assert not answer.content, answer.text
    elif shape is not BYTES:
        found = list(faults(answer.json(), shape))
        assert not found, f"{operation} answered {status}:\n" + "\n".join(found) + f"\n{answer.text[:3000]}"
