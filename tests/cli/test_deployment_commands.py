"""Every subcommand and option of `pulumi deployment`, of `pulumi stack schedule`, and of `up|preview|refresh|destroy --remote`.

Each row of ROWS is a test of its own. test_every_option_has_a_row compares them with what the CLI says that it has: a newer CLI with a
further subcommand or option fails it.
"""
import json
import re
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from typing import Callable

import pytest
from helpers import programs, where
from helpers.api import path_of
from helpers.pulumi import Pulumi
from helpers.waiting import wait_until

ROWS = []
VERBS = {"up": "update", "preview": "preview", "refresh": "refresh", "destroy": "destroy"}
EXPERIMENTAL = {"PULUMI_EXPERIMENTAL": "true"}
# Of `--remote` these are the options; the others of those commands belong to runs on one's own machine.
REMOTE = re.compile(r"remote|suppress-(permalink|stream-logs)")


@dataclass
class Row:
    name: str
    command: str
    arguments: list
    check: Callable
    setup: Callable = None
    refused: str = None  # what the CLI says, when the command must fail
    env: dict = None


def row(name, command, *arguments, setup=None, refused=None, env=None):
    """Decorates the check: check(context, what the command printed)."""
    def add(check):
        ROWS.append(Row(f"{command} {name}", command, list(arguments), check, setup, refused, env))
        return check
    return add


class Context:
    """A stack that was never updated, a repository with its program, and git servers when a row asks for one."""

    def __init__(self, api, cli, stack, project, repo, request):
        self.api, self.cli, self.stack, self.project, self.repo, self.request = api, cli, stack, project, repo, request
        self.path = path_of(stack)
        self.commit = repo.commit({**programs.stash(project), **{f"infra/{k}": v for k, v in programs.stash(project, "infra").items()}})
        repo.commit(programs.stash(project, "two"), message="on another branch", branch="other")
        api.create_stack(stack)
        self.names = {"stack": stack, "url": repo.url, "commit": self.commit}

    def saved(self):
        return self.api.settings(self.stack, {"sourceContext": {"git": {"repoUrl": self.repo.url, "branch": "main"}}})

    def http(self, token=None):
        git = self.request.getfixturevalue("http_git")
        if token:
            git.accepts = lambda header: bool(header)
        self.names |= {"http": git.url(self.repo), "user": git.user, "password": git.password}

    def ssh(self):
        git = self.request.getfixturevalue("ssh_git")
        self.names |= {"ssh": git.url(self.repo), "key": git.key, "keyfile": str(git.folder / "client")}

    def pool(self):
        self.saved()
        made = self.api.post("/api/orgs/acme/agent-pools", {"name": f"idle-{self.project}"})
        self.names["pool"] = made["id"]

    def paused(self):
        self.saved()
        self.api.post(f"{self.path}/deployments/pause")
        for _ in range(3):
            self.names["id"] = self.api.deploy(self.stack, "preview")["id"]

    def ran(self):
        """A preview that has run: #1."""
        self.saved()
        self.names["id"] = self.api.deploy(self.stack, "preview", operationContext={"preRunCommands": ["seq 1 30"]})["id"]
        self.api.wait_status(self.stack, self.names["id"], "succeeded")

    def updated(self):
        self.api.run(self.stack, "update", sourceContext={"git": {"repoUrl": self.repo.url, "branch": "main"}})

    def schedule(self, kind):
        self.saved()
        body = {"raw": {"scheduleCron": "0 1 * * *", "request": {"operation": "update", "inheritSettings": True}}, "once": {
            "scheduleOnce": "2040-01-01T00:00:00Z", "request": {"operation": "update", "inheritSettings": True}},
            "drift": {"scheduleCron": "0 1 * * *", "autoRemediate": False}, "ttl": {"timestamp": "2040-01-01T00:00:00Z", "deleteAfterDestroy": False}}[kind]
        place = {"drift": "drift/", "ttl": "ttl/"}.get(kind, "")
        self.names["schedule"] = self.api.post(f"{self.path}/deployments/{place}schedules", body)["id"]

    # What checks look at.
    def settings(self):
        return self.api.get(f"{self.path}/deployments/settings")

    def newest(self, status="succeeded"):
        """The newest deployment once it has that status; None: as it is."""
        made = self.api.get(f"{self.path}/deployments")["deployments"][0]
        return self.api.wait_status(self.stack, made["id"], status) if status else self.api.deployment(self.stack, made["id"])

    def log(self):
        return self.api.log(self.stack, self.newest(None)["id"])

    def plain(self):
        return self.api.outputs(self.stack)["plain"]

    def schedules(self):
        return self.api.get(f"{self.path}/deployments/schedules")["schedules"]


@pytest.fixture
def context(api, cli, stack, project, repo, request):
    return Context(api, cli.write(programs.stash(project)), stack, project, repo, request)


def run_row(context, row):
    if row.setup:
        row.setup(context)
    arguments = [a.format(**context.names) for a in row.arguments]
    command = [*row.command.split(), *arguments]
    if row.refused:
        out = context.cli.refused(*command, names=row.refused, env=row.env)
    else:
        done = context.cli.run(*command, env=row.env)
        out = done.stdout if "json" in arguments else done.stdout + done.stderr
    row.check(context, out)


# ---- deployment run ---------------------------------------------------------------------------------------------------
for operation in ("update", "preview", "refresh", "destroy", "detect-drift", "remediate-drift"):
    @row(operation, "deployment run", operation, "--stack", "{stack}", setup=Context.saved)
    def check(context, out, operation=operation):
        assert "View Live" in out
        done = context.newest()
        assert (done["pulumiOperation"], done["initiator"], done["inheritSettings"]) == (operation, "automation-api", True)


@row("followed", "deployment run", "update", "{url}", "--git-branch", "main", "--stack", "{stack}", "--suppress-stream-logs=false", "--suppress-permalink")
def check(context, out):
    assert "Get source" in out and "Resources:" in out and "View Live" not in out, out


@row("without what is saved", "deployment run", "update", "{url}", "--git-branch", "other", "--inherit-settings=false", "--stack", "{stack}",
     setup=lambda context: context.api.settings(context.stack, {"operationContext": {"preRunCommands": ["exit 1"]}}))
def check(context, out):
    assert context.newest()["inheritSettings"] is False and context.plain() == "two"


@row("a commit", "deployment run", "update", "{url}", "--git-commit", "{commit}", "--git-repo-dir", "infra", "--stack", "{stack}")
def check(context, out):
    context.newest()
    assert context.plain() == "infra" and context.commit in context.log()


@row("a password", "deployment run", "update", "{http}", "--git-branch", "main", "--git-auth-username", "{user}", "--git-auth-password", "{password}",
     "--stack", "{stack}", setup=Context.http)
def check(context, out):
    done = context.newest()
    assert context.plain() == "one" and context.names["password"] not in json.dumps(done) + context.log() + out


@row("an access token", "deployment run", "update", "{http}", "--git-branch", "main", "--git-auth-access-token", "token-of-a-robot", "--stack", "{stack}",
     setup=lambda context: context.http(token=True))
def check(context, out):
    assert "token-of-a-robot" not in json.dumps(context.newest()) + context.log() and context.plain() == "one"


for option, value in (("--git-auth-ssh-private-key", "{key}"), ("--git-auth-ssh-private-key-path", "{keyfile}")):
    @row(option, "deployment run", "update", "{ssh}", "--git-branch", "main", option, value, "--stack", "{stack}", setup=Context.ssh)
    def check(context, out):
        assert "PRIVATE KEY" not in json.dumps(context.newest()) + context.log() and context.plain() == "one"


@row("environment and commands", "deployment run", "preview", "{url}", "--git-branch", "main", "--stack", "{stack}", "--env", "A=one", "--env", "B=two=2",
     "--env-secret", "S=hidden-flag", "--pre-run-command", "echo $A and $B", "--pre-run-command", "test $S = hidden-flag && echo $S is seen",
     "--skip-install-dependencies")
def check(context, out):
    done = context.newest()
    assert "one and two=2\n" in context.log() and " is seen" in context.log() and "hidden-flag" not in context.log() + json.dumps(done)
    assert "Download dependencies" not in [s["name"] for s in done["jobs"][0]["steps"] if s["status"] == "succeeded"]


@row("an image", "deployment run", "preview", "{url}", "--git-branch", "main", "--stack", "{stack}", "--executor-image", "example.com/image:1",
     "--executor-image-username", "robot", "--executor-image-password", "hidden-of-the-image")
def check(context, out):
    """There are no containers yet: it says so, rather than to run without."""
    done = context.newest("failed")
    assert "example.com/image:1" in context.log() and "hidden-of-the-image" not in json.dumps(done) + context.log()


@row("a pool", "deployment run", "preview", "--agent-pool-id", "{pool}", "--stack", "{stack}", setup=Context.pool)
def check(context, out):
    waiting = context.newest(None)
    assert waiting["agentPool"]["id"] == context.names["pool"] and waiting["status"] == "not-started"
    context.api.ok("POST", f"{context.path}/deployments/{waiting['id']}/cancel")


@row("of nothing", "deployment run", "preview", "--stack", "{stack}", refused="[400]")
def check(context, out):
    assert context.api.get(f"{context.path}/deployments")["total"] == 0


# ---- deployment list, get, log, cancel ---------------------------------------------------------------------------------
@row("", "deployment list", "--stack", "{stack}", "--count", "2", setup=Context.paused)
def check(context, out):
    assert "Showing 2 of 3" in out and "not-started" in out


@row("as JSON", "deployment list", "--stack", "{stack}", "--all", "--output", "json", setup=Context.paused)
def check(context, out):
    listed = json.loads(out)
    assert (listed["count"], listed["total"]) == (3, 3) and [d["version"] for d in listed["deployments"]] == [3, 2, 1]


@row("sorted", "deployment list", "--stack", "{stack}", "--sort", "version", "--asc", "--output", "json", setup=Context.paused)
def check(context, out):
    assert [d["version"] for d in json.loads(out)["deployments"]] == [1, 2, 3]


@row("sorted by nothing", "deployment list", "--stack", "{stack}", "--sort", "colour", setup=Context.paused, refused="[400]")
def check(context, out):
    assert "sort" in out


for name in ("{id}", "1", "#1"):
    @row(name, "deployment get", name, "--stack", "{stack}", setup=Context.ran)
    def check(context, out):
        assert context.names["id"] in out and "preview" in out and "succeeded" in out.lower()


@row("as JSON", "deployment get", "1", "--stack", "{stack}", "--output", "json", setup=Context.ran)
def check(context, out):
    shown = json.loads(out)
    assert (shown["id"], shown["status"], shown["version"]) == (context.names["id"], "succeeded", 1)
    assert [s["name"] for s in shown["jobs"][0]["steps"]][:3] == ["Setup", "Download deployment executor", "Get source"]


@row("whole", "deployment log", "1", "--stack", "{stack}", "--all", setup=Context.ran)
def check(context, out):
    assert [line for line in out.splitlines() if line.isdigit()] == [str(n) for n in range(1, 31)]


@row("the first lines", "deployment log", "{id}", "--stack", "{stack}", "--count", "2", setup=Context.ran)
def check(context, out):
    assert out.strip()


@row("of a step", "deployment log", "1", "--stack", "{stack}", "--job", "0", "--step", "0", "--offset", "1", "--count", "3", "--output", "json", setup=Context.ran)
def check(context, out):
    lines = json.loads(out)["lines"]
    step = context.api.get(f"{context.path}/deployments/{context.names['id']}/logs?job=0&step=0&offset=0&count=4")["lines"]
    assert [entry["line"] for entry in lines] == [entry["line"] for entry in step[1:4]] and lines


@row("of a step that is not there", "deployment log", "1", "--stack", "{stack}", "--job", "0", "--step", "77", setup=Context.ran, refused="[4")
def check(context, out):
    assert "step" in out


@row("", "deployment cancel", "{id}", "--yes", "--stack", "{stack}", setup=Context.paused)
def check(context, out):
    assert "Cancellation requested" in out and context.newest(None)["status"] == "skipped"


@row("as JSON", "deployment cancel", "{id}", "--yes", "--stack", "{stack}", "--output", "json", setup=Context.paused)
def check(context, out):
    assert json.loads(out) == {"deploymentId": context.names["id"], "stack": "dev", "canceled": True}


# ---- deployment settings ------------------------------------------------------------------------------------------------
@row("text", "deployment settings get", "--stack", "{stack}", setup=Context.saved)
def check(context, out):
    assert context.repo.url in out and "main" in out


@row("as JSON", "deployment settings get", "--stack", "{stack}", "--output", "json", setup=Context.saved)
def check(context, out):
    assert json.loads(out)["source"]["repository"] == context.repo.url


@row("of git", "deployment settings edit", "--stack", "{stack}", "--git-url", "https://example.com/x.git", "--commit", "{commit}", "--folder", "infra",
     "--output", "json")
def check(context, out):
    assert json.loads(out)["source"]["repository"] == "https://example.com/x.git"
    assert context.settings()["sourceContext"]["git"] == {"repoUrl": "https://example.com/x.git", "commit": context.commit, "repoDir": "infra"}


@row("of GitHub", "deployment settings edit", "--stack", "{stack}", "--github-repo", "acme/infra", "--branch", "main", "--folder", "prod", "--preview-prs",
     "--push-to-deploy", "--pr-template", "--path-filter", "a/**,b/**", "--path-filter", "c")
def check(context, out):
    saved = context.settings()
    assert saved["gitHub"] == {**saved["gitHub"], "repository": "acme/infra", "previewPullRequests": True, "deployCommits": True, "pullRequestTemplate": True,
                               "paths": ["a/**", "b/**", "c"]}
    git = saved["sourceContext"]["git"]
    assert (git["branch"], git["repoDir"]) == ("main", "prod")


@row("of the runner", "deployment settings edit", "--stack", "{stack}", "--runner-pool", "{pool}", "--executor-image", "example.com/image:2",
     "--executor-root-path", "/work", setup=Context.pool)
def check(context, out):
    saved = context.settings()
    assert saved["agentPoolID"] == context.names["pool"]
    assert saved["executorContext"] == {"executorImage": "example.com/image:2", "executorRootPath": "/work"}
    context.cli.run("deployment", "settings", "edit", "--stack", context.stack, "--runner-pool", "", "--executor-image", "", "--executor-root-path", "")
    saved = context.settings()
    assert not saved.get("agentPoolID") and not saved.get("executorContext")
    assert saved["sourceContext"]["git"]["branch"] == "main", "the rest is as it was"


@row("of the operation", "deployment settings edit", "--stack", "{stack}", "--pre-run-command", "echo one", "--pre-run-command", "echo two", "--env", "PLAIN=v=1",
     "--secret-env", "TOKEN=hidden-setting", "--skip-install-deps", "--skip-intermediate-deployments", "--shell", "bash", "--delete-after-destroy")
def check(context, out):
    operation = context.settings()["operationContext"]
    assert operation["preRunCommands"] == ["echo one", "echo two"] and operation["environmentVariables"]["PLAIN"] == "v=1"
    assert operation["environmentVariables"]["TOKEN"]["secret"] == "[secret]" and "hidden-setting" not in json.dumps(operation) + out
    assert operation["options"] == {**operation["options"], "skipInstallDependencies": True, "skipIntermediateDeployments": True, "shell": "bash",
                                    "deleteAfterDestroy": True}
    context.cli.run("deployment", "settings", "edit", "--stack", context.stack, "--remove-env", "PLAIN", "--skip-install-deps=false", "--delete-after-destroy=false")
    operation = context.settings()["operationContext"]
    assert list(operation["environmentVariables"]) == ["TOKEN"] and operation["options"]["shell"] == "bash"
    assert not operation["options"].get("skipInstallDependencies") and not operation["options"].get("deleteAfterDestroy")


@row("variables", "deployment settings edit", "--stack", "{stack}", "--remove-env", "A,B",
     setup=lambda context: context.api.settings(context.stack, {"operationContext": {"environmentVariables": {"A": "1", "B": {"secret": "2"}, "C": "3"}}}))
def check(context, out):
    assert context.settings()["operationContext"]["environmentVariables"] == {"C": "3"}


def cleared(context, provider):
    context.cli.run("deployment", "settings", "edit", "--stack", context.stack, f"--oidc-{provider}-clear", "--shell", "sh")
    return provider not in (context.settings()["operationContext"].get("oidc") or {})


@row("of AWS", "deployment settings edit", "--stack", "{stack}", "--oidc-aws-role-arn", "arn:aws:iam::1:role/r", "--oidc-aws-session-name", "s",
     "--oidc-aws-duration", "1h30m", "--oidc-aws-policy-arn", "arn:p1,arn:p2")
def check(context, out):
    assert context.settings()["operationContext"]["oidc"]["aws"] == {"roleArn": "arn:aws:iam::1:role/r", "sessionName": "s", "duration": "1h30m",
                                                                    "policyArns": ["arn:p1", "arn:p2"]}
    assert cleared(context, "aws")


@row("of Azure", "deployment settings edit", "--stack", "{stack}", "--oidc-azure-client-id", "c", "--oidc-azure-tenant-id", "t", "--oidc-azure-subscription-id", "s")
def check(context, out):
    assert context.settings()["operationContext"]["oidc"]["azure"] == {"clientId": "c", "tenantId": "t", "subscriptionId": "s"}
    assert cleared(context, "azure")


@row("of GCP", "deployment settings edit", "--stack", "{stack}", "--oidc-gcp-project-number", "1", "--oidc-gcp-workload-pool-id", "w", "--oidc-gcp-provider-id", "p",
     "--oidc-gcp-service-account", "a@example.com", "--oidc-gcp-region", "r", "--oidc-gcp-token-lifetime", "30m")
def check(context, out):
    assert context.settings()["operationContext"]["oidc"]["gcp"] == {"projectId": "1", "workloadPoolId": "w", "providerId": "p", "serviceAccount": "a@example.com",
                                                                    "region": "r", "tokenLifetime": "30m"}
    assert cleared(context, "gcp")


for provider in ("aws", "azure", "gcp"):
    @row(f"without {provider}", "deployment settings edit", "--stack", "{stack}", f"--oidc-{provider}-clear", setup=lambda context: context.api.settings(
        context.stack, {"operationContext": {"oidc": {"aws": {"roleArn": "arn:aws:iam::1:role/r", "sessionName": "s"}, "azure": {
            "clientId": "c", "tenantId": "t", "subscriptionId": "s"}, "gcp": {"projectId": "1", "workloadPoolId": "w", "providerId": "p", "serviceAccount": "a"}}}}))
    def check(context, out, provider=provider):
        assert set(context.settings()["operationContext"]["oidc"]) == {"aws", "azure", "gcp"} - {provider}


@row("", "deployment settings destroy", "--yes", "--stack", "{stack}", setup=Context.saved)
def check(context, out):
    context.api.refused(404, "GET", f"{context.path}/deployments/settings")


# ---- stack schedule -----------------------------------------------------------------------------------------------------
for operation in ("update", "preview", "refresh", "destroy"):
    @row(f"raw {operation}", "stack schedule new", "--yes", "--kind", "raw", "--operation", operation, "--cron", "*/15 2-4 * JAN,jul 1-5", "--stack", "{stack}",
         "--output", "json", setup=Context.saved)
    def check(context, out, operation=operation):
        made, = context.schedules()
        assert json.loads(out)["id"] == made["id"] and made["scheduleCron"] == "*/15 2-4 * JAN,jul 1-5"
        assert made["definition"]["request"]["operation"] == operation


@row("raw once", "stack schedule new", "--yes", "--kind", "raw", "--operation", "update", "--once", "2040-01-01T00:00:00+02:00", "--stack", "{stack}", setup=Context.saved)
def check(context, out):
    made, = context.schedules()
    assert made["scheduleOnce"].startswith("2039-12-31 22:00:00") and made["id"] in out


@row("drift", "stack schedule new", "--yes", "--kind", "drift", "--cron", "0 1 * * *", "--auto-remediate", "--stack", "{stack}", setup=Context.saved)
def check(context, out):
    request = context.schedules()[0]["definition"]["request"]
    assert request["operation"] == "detect-drift" and request["operationContext"]["options"]["remediateIfDriftDetected"] is True


@row("ttl", "stack schedule new", "--yes", "--kind", "ttl", "--once", "2040-01-01T00:00:00Z", "--delete-after-destroy", "--stack", "{stack}", setup=Context.saved)
def check(context, out):
    request = context.schedules()[0]["definition"]["request"]
    assert request["operation"] == "destroy" and request["operationContext"]["options"]["deleteAfterDestroy"] is True


@row("without settings", "stack schedule new", "--yes", "--kind", "drift", "--cron", "0 1 * * *", "--stack", "{stack}", refused="[400]")
def check(context, out):
    assert context.schedules() == []


@row("text", "stack schedule list", "--stack", "{stack}", "--count", "1", setup=lambda context: (context.schedule("raw"), context.schedule("ttl")))
def check(context, out):
    assert sum(s["id"] in out for s in context.schedules()) == 1


@row("as JSON", "stack schedule list", "--stack", "{stack}", "--output", "json", setup=lambda context: [context.schedule(k) for k in ("raw", "once", "drift", "ttl")])
def check(context, out):
    listed = json.loads(out)["schedules"]
    assert {s["id"] for s in listed} == {s["id"] for s in context.schedules()} and len(listed) == 4


for kind in ("raw", "once", "drift", "ttl"):
    @row(kind, "stack schedule get", "{schedule}", "--stack", "{stack}", setup=lambda context, kind=kind: context.schedule(kind))
    def check(context, out, kind=kind):
        assert context.names["schedule"] in out and {"once": "2040", "raw": "update"}.get(kind, kind) in out.lower()

    @row(f"{kind} as JSON", "stack schedule get", "{schedule}", "--stack", "{stack}", "--output", "json", setup=lambda context, kind=kind: context.schedule(kind))
    def check(context, out):
        assert json.loads(out)["id"] == context.names["schedule"]

    @row(kind, "stack schedule remove", "{schedule}", "--yes", "--stack", "{stack}", setup=lambda context, kind=kind: context.schedule(kind))
    def check(context, out):
        assert context.schedules() == []

EDITS = [
    ("raw", ["--cron", "0 6 * * *", "--operation", "refresh"], lambda s: (s["scheduleCron"], s["definition"]["request"]["operation"]) == ("0 6 * * *", "refresh")),
    ("raw", ["--once", "2041-01-01T00:00:00Z"], lambda s: s["scheduleOnce"].startswith("2041-01-01 ") and not s.get("scheduleCron")),
    ("once", ["--cron", "0 6 * * *"], lambda s: s["scheduleCron"] == "0 6 * * *" and not s.get("scheduleOnce")),
    ("drift", ["--cron", "0 6 * * *", "--auto-remediate"], lambda s: s["scheduleCron"] == "0 6 * * *" and options(s)["remediateIfDriftDetected"] is True),
    ("ttl", ["--once", "2041-01-01T00:00:00Z", "--delete-after-destroy"], lambda s: s["scheduleOnce"].startswith("2041-01-01 ") and options(s)["deleteAfterDestroy"] is True),
]


def options(schedule):
    return schedule["definition"]["request"]["operationContext"]["options"]


for kind, arguments, holds in EDITS:
    @row(f"{kind} {' '.join(arguments[::2])}", "stack schedule edit", "{schedule}", *arguments, "--stack", "{stack}", "--output", "json",
         setup=lambda context, kind=kind: context.schedule(kind))
    def check(context, out, holds=holds):
        changed, = context.schedules()
        assert json.loads(out)["id"] == changed["id"] == context.names["schedule"] and holds(changed), changed


# ---- up, preview, refresh, destroy --remote -----------------------------------------------------------------------------
for verb, operation in VERBS.items():
    yes = [] if verb == "preview" else ["--yes", "--skip-preview"]

    @row("--remote, followed", verb, "--remote", "{http}", "--remote-git-branch", "main", "--remote-git-repo-dir", "infra", "--remote-git-auth-username", "{user}",
         "--remote-git-auth-password", "{password}", "--remote-env", "A=one", "--remote-env-secret", "S=hidden-flag", "--remote-pre-run-command", "echo it is $A, $S",
         "--remote-skip-install-dependencies", "--suppress-permalink=true", "--stack", "{stack}", *yes, setup=lambda context: (context.updated(), context.http()), env=EXPERIMENTAL)
    def check(context, out, operation=operation):
        assert "Get source" in out and "it is one" in out and "Resources:" in out and "hidden-flag" not in out, out
        done = context.newest()
        assert (done["pulumiOperation"], done["inheritSettings"], done["initiator"]) == (operation, False, "automation-api")

    @row("--remote, a commit by ssh", verb, "--remote", "{ssh}", "--remote-git-commit", "{commit}", "--remote-git-auth-ssh-private-key-path", "{keyfile}",
         "--suppress-stream-logs", "--stack", "{stack}", *yes, setup=Context.ssh, env=EXPERIMENTAL)
    def check(context, out):
        assert "View Live" in out and "Get source" not in out
        context.newest()
        assert context.commit in context.log()

    @row("--remote, a key", verb, "--remote", "{ssh}", "--remote-git-branch", "main", "--remote-git-auth-ssh-private-key", "{key}", "--suppress-stream-logs",
         "--stack", "{stack}", *yes, setup=Context.ssh, env=EXPERIMENTAL)
    def check(context, out):
        context.newest()
        assert "PRIVATE KEY" not in context.log()

    @row("--remote, a token", verb, "--remote", "{http}", "--remote-git-branch", "main", "--remote-git-auth-access-token", "token-of-a-robot", "--suppress-stream-logs",
         "--stack", "{stack}", *yes, setup=lambda context: context.http(token=True), env=EXPERIMENTAL)
    def check(context, out):
        assert "token-of-a-robot" not in json.dumps(context.newest()) + context.log()

    @row("--remote, inherited", verb, "--remote", "--remote-inherit-settings", "--remote-agent-pool-id", "{pool}", "--remote-executor-image", "example.com/image:3",
         "--remote-executor-image-username", "robot", "--remote-executor-image-password", "hidden-of-the-image", "--suppress-stream-logs", "--stack", "{stack}", *yes,
         setup=Context.pool, env=EXPERIMENTAL)
    def check(context, out):
        waiting = context.newest(None)
        assert (waiting["status"], waiting["inheritSettings"], waiting["agentPool"]["id"]) == ("not-started", True, context.names["pool"])
        assert "hidden-of-the-image" not in json.dumps(waiting)
        context.api.ok("POST", f"{context.path}/deployments/{waiting['id']}/cancel")

    @row("--remote --json", verb, "--remote", "{url}", "--remote-git-branch", "main", "--json", "--stack", "{stack}", *yes, refused="--json is not supported with --remote",
         env=EXPERIMENTAL)
    def check(context, out):
        assert context.api.get(f"{context.path}/deployments")["total"] == 0, "the CLI itself refuses it"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: re.sub(r"[^\w.-]+", " ", row.name).strip())
def test_row(context, row):
    run_row(context, row)


# ---- is that all? -------------------------------------------------------------------------------------------------------
@lru_cache
def spec():
    out = subprocess.run([where.tools() / "pulumi", "generate-cli-spec"], capture_output=True, text=True, check=True,
                         env=where.clean_environment(where.ROOT, **EXPERIMENTAL)).stdout
    return json.loads(out)


def below(node, words):
    """Every command below, with its options."""
    if node.get("flags") is not None and (not node.get("commands") or node.get("executable")):
        yield " ".join(words), set(node["flags"])
    for name, sub in (node.get("commands") or {}).items():
        yield from below(sub, (*words, name))


def wanted():
    tree = spec()["commands"]
    found = {**dict(below(tree["deployment"], ("deployment",))), **dict(below(tree["stack"]["commands"]["schedule"], ("stack", "schedule")))}
    for verb in VERBS:
        found[verb] = {name for name in tree[verb]["flags"] if REMOTE.search(name)}
    return found


def covered():
    found = {}
    for row in ROWS:
        found.setdefault(row.command, set()).update(re.match(r"--([a-z-]+)", a).group(1) for a in row.arguments if re.match(r"--[a-z]", a))
    return found


def test_every_option_has_a_row():
    has, rows = wanted(), covered()
    assert {"deployment run", "deployment settings destroy", "stack schedule edit", "up"} <= set(has)
    assert set(has) == set(rows), "subcommands without a row, or rows without a subcommand"
    missing = {command: options - rows[command] for command, options in has.items() if options - rows[command]}
    assert not missing, f"options without a row: {missing}"


def test_the_commands_alone(cli):
    """`deployment`, `deployment settings` and `stack schedule` by themselves print their help."""
    for command in (("deployment",), ("deployment", "settings"), ("stack", "schedule")):
        assert "Available Commands" in cli.run(*command).stdout
