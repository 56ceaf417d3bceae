"""What each operation does, by a real agent: the commands that it runs, what becomes of cloud and state, and the options that
go with one operation alone. Drift: test_drift.py."""
import datetime
import re

import pytest
from helpers import programs
from helpers.api import path_of
from helpers.pulumi import Pulumi
from helpers.waiting import wait_until

# operation: the command after `pulumi`, as the log echoes it; the kind of its update in the list of the deployment
COMMANDS = {
    "update": ("up --yes --skip-preview", "update"),
    "preview": ("preview", "preview"),
    "refresh": ("refresh --yes --skip-preview", "refresh"),
    "destroy": ("destroy --yes --skip-preview", "destroy"),
    "detect-drift": ("refresh --preview-only", "Prefresh"),
    "remediate-drift": ("up --refresh --yes --skip-preview", "update"),
}


class Deployed:
    """A stack with two things in a folder that is their cloud, and a repository that wants the first of them otherwise."""

    def __init__(self, server, tmp_path, stack, project, repo):
        self.server, self.stack, self.path, self.api = server, stack, path_of(stack), server.api()
        self.cli = Pulumi(tmp_path, server.url, server.token)
        self.cloud = self.cli.with_folder_provider()
        self.cli.write(programs.folder_things(project, self.cli, first="one", second="two"))
        self.cli.run("stack", "init", stack)
        self.cli.up("--skip-preview")
        repo.commit(programs.folder_things(project, self.cli, first="wanted", second="two"))
        (self.cloud / "second").write_text("drifted")
        variables = {name: self.cli.environment[name] for name in ("FOLDER_CLOUD", "NODE_PATH")}
        self.settings = {"sourceContext": {"git": {"repoUrl": repo.url, "branch": "main"}}, "operationContext": {"environmentVariables": variables}}
        self.api.settings(stack, self.settings)

    def files(self):
        return {f.name: f.read_text() for f in self.cloud.iterdir()}

    def state(self):
        return {r["id"]: r["outputs"]["value"] for r in self.cli.export()["deployment"].get("resources", []) if r["type"] == "folder:index:Thing"}

    def commands(self, log):
        """The echoed commands of the CLI, without what each of them has."""
        found = re.findall(r"^\$ pulumi (.*)$", log, re.MULTILINE)
        return [c.replace(f" --stack {self.stack} --non-interactive --color=always", "") for c in found]


@pytest.fixture
def deployed(own, tmp_path, stack, project, repo):
    return Deployed(own("--isolation", "process"), tmp_path, stack, project, repo)


@pytest.mark.parametrize("operation,files,state", [
    ("update", {"first": "wanted", "second": "drifted"}, {"first": "wanted", "second": "two"}),
    ("preview", {"first": "one", "second": "drifted"}, {"first": "one", "second": "two"}),
    ("refresh", {"first": "one", "second": "drifted"}, {"first": "one", "second": "drifted"}),
    ("destroy", {}, {}),
    ("detect-drift", {"first": "one", "second": "drifted"}, {"first": "one", "second": "two"}),
    ("remediate-drift", {"first": "wanted", "second": "two"}, {"first": "wanted", "second": "two"}),
], ids=list(COMMANDS))
def test_an_operation(deployed, operation, files, state):
    """With every option that belongs to other operations: they change nothing."""
    others = {"deleteAfterDestroy": operation != "destroy", "remediateIfDriftDetected": operation != "detect-drift"}
    done, log = deployed.api.run(deployed.stack, operation, operationContext={"options": others})
    command, kind = COMMANDS[operation]
    assert deployed.commands(log) == [command], log
    assert (deployed.files(), deployed.state()) == (files, state)
    update, = deployed.api.get(f"{deployed.path}/deployments/{done['id']}/updates")
    assert (update["kind"], update["result"]) == (kind, "succeeded")
    assert done["pulumiOperation"] == operation and done["jobs"][0]["steps"][-1]["status"] == "succeeded"
    header = {"detect-drift": "pulumi refresh --preview-only", "remediate-drift": "pulumi up --refresh"}.get(operation, f"pulumi {operation}")
    assert done["jobs"][0]["steps"][-1]["name"] == header and f"== {header}\n" in log
    previewed = operation in ("preview", "detect-drift")
    assert [h["kind"] for h in deployed.cli.history()] == (["update"] if previewed else [kind, "update"])
    assert deployed.api.get(deployed.path)["version"] == (1 if previewed else 2)


def test_an_operation_that_there_is_not(deployed):
    for operation in ("apply", "import", "Update", "", None, 7):
        deployed.api.refused(400, "POST", f"{deployed.path}/deployments", {"operation": operation}, names="operation")
    assert deployed.api.get(f"{deployed.path}/deployments")["total"] == 0


@pytest.mark.parametrize("operation", ["update", "refresh", "destroy"])
def test_an_operation_that_fails(deployed, operation):
    """The CLI's failure is the deployment's; the update in the history has failed, too."""
    (deployed.cloud / "first").unlink()
    (deployed.cloud / "first").mkdir()  # neither written nor read nor removed
    done, log = deployed.api.run(deployed.stack, operation, expect="failed", operationContext={"options": {"deleteAfterDestroy": True}})
    steps = {s["name"]: s["status"] for s in done["jobs"][0]["steps"]}
    assert steps[f"pulumi {operation}"] == "failed" and "EISDIR" in log or "ERR_FS" in log, log
    update, = deployed.api.get(f"{deployed.path}/deployments/{done['id']}/updates")
    assert update["result"] == "failed" and deployed.cli.history()[0]["result"] == "failed"
    if operation == "destroy":
        assert steps["pulumi stack rm"] == "not-started", "a stack that still has resources stays"
        assert deployed.state().keys() == {"first"}


def test_delete_after_destroy(deployed, project):
    """The stack goes with its settings, schedules and queue; its deployments can still be read as long as their logs are kept."""
    api, stack, path, org = deployed.api, deployed.stack, deployed.path, f"/api/orgs/{deployed.stack.split('/')[0]}/deployments"
    before, log_before = api.run(stack, "preview")
    api.post(f"{path}/deployments/schedules", {"scheduleCron": "0 0 1 1 *", "request": {"operation": "preview"}})
    made = api.deploy(stack, "destroy", operationContext={"options": {"deleteAfterDestroy": True}})
    waiting = api.deploy(stack, "update")
    wait_until(lambda: api.call("GET", path).status_code == 404, 60, "the stack to be gone")
    done = wait_until(lambda: (d := api.deployment(stack, made["id"]))["status"] == "succeeded" and d, 60, "the end of it")
    assert [s["name"] for s in done["jobs"][0]["steps"]][-2:] == ["pulumi destroy", "pulumi stack rm"]
    assert {s["status"] for s in done["jobs"][0]["steps"]} == {"succeeded"}
    log = api.log(stack, made["id"])
    assert deployed.commands(log) == ["destroy --yes --skip-preview", "stack rm --yes"] and "has been removed" in log
    assert deployed.files() == {}
    update, = api.get(f"{path}/deployments/{made['id']}/updates")
    assert (update["kind"], update["result"]) == ("destroy", "succeeded")
    events = api.get(f"{path}/update/{update['updateID']}/events")
    assert any("summaryEvent" in e for e in events["events"])
    # What still waited runs no more.
    skipped = api.deployment(stack, waiting["id"])
    assert skipped["status"] == "skipped" and skipped["message"] == "the stack has been removed"
    assert api.log(stack, before["id"]) == log_before
    listed = api.get(org)
    assert [(d["id"], d["status"]) for d in listed["deployments"]] == [(waiting["id"], "skipped"), (made["id"], "succeeded"), (before["id"], "succeeded")]
    assert listed["total"] == 3 and listed["deployments"][1]["stackName"] == "dev"
    # Nothing else of it is there.
    for method, tail in (("GET", ""), ("GET", "/export"), ("GET", "/deployments"), ("GET", "/deployments/settings"), ("GET", "/deployments/schedules"),
                         ("GET", "/updates"), ("GET", "/drift/runs"), ("GET", f"/deployments/version/{made['version']}"), ("POST", "/deployments"),
                         ("POST", f"/deployments/{made['id']}/cancel"), ("GET", "/deployments/0199d2a0-0000-7000-8000-000000000000")):
        api.refused(404, method, path + tail, {"operation": "update"} if method == "POST" else ..., names=f"stack '{stack}'")
    assert deployed.server.admin("verify").returncode == 0
    # The name is free: another stack has nothing of the first.
    api.create_stack(stack)
    assert api.get(f"{path}/deployments")["total"] == 0
    api.refused(404, "GET", f"{path}/deployments/settings")
    api.refused(404, "GET", f"{path}/deployments/settings/history/1")
    assert api.get(f"{path}/deployments/schedules") == {"schedules": []}
    api.refused(404, "GET", f"{path}/deployments/{made['id']}")


def test_destroy_followed_by_the_cli(deployed):
    """`pulumi destroy --remote` of a stack that goes away under it: followed to its end."""
    deployed.api.settings(deployed.stack, {"operationContext": {"options": {"deleteAfterDestroy": True}}})
    out = deployed.cli.run("deployment", "run", "destroy", "--suppress-stream-logs=false")
    assert "deleted" in out.stdout and "Resources:" in out.stdout, out.stdout
    wait_until(lambda: deployed.api.call("GET", deployed.path).status_code == 404, 60, "the stack to be gone")


def test_a_tombstone_goes_with_its_last_log(own, tmp_path, stack, project, repo, clock):
    deployed = Deployed(own("--isolation", "process", "--log-retention", "10d", clock=clock), tmp_path, stack, project, repo)
    api, path = deployed.api, deployed.path
    first, _ = api.run(stack, "preview")
    clock.advance(5 * 86400)
    made = api.deploy(stack, "destroy", operationContext={"options": {"deleteAfterDestroy": True}})
    wait_until(lambda: api.call("GET", path).status_code == 404, 60, "the stack to be gone")
    wait_until(lambda: api.deployment(stack, made["id"])["status"] == "succeeded", 60, "the end")
    clock.advance(4 * 86400)
    assert "$ pulumi preview" in api.log(stack, first["id"])
    clock.advance(2 * 86400)
    wait_until(lambda: "$ pulumi preview" not in api.log(stack, first["id"]), 30, "the first log to go")
    assert api.deployment(stack, made["id"])["status"] == "succeeded" and "stack rm" in api.log(stack, made["id"])
    clock.advance(5 * 86400)
    wait_until(lambda: api.call("GET", f"{path}/deployments/{made['id']}").status_code == 404, 30, "the tombstone to go")
    assert api.get(f"/api/orgs/{stack.split('/')[0]}/deployments")["total"] == 0
    assert deployed.server.admin("verify").returncode == 0


def test_who_may_look_at_a_tombstone(deployed):
    """Whoever might look at the stack."""
    api, stack, server = deployed.api, deployed.stack, deployed.server
    reader, stranger = server.user("reader"), server.user("stranger")
    api.ok("PATCH", "/api/orgs/acme", {"setDefaultStackPermission": 0})
    api.ok("PUT", f"{deployed.path}/collaborators/reader", {"permission": 101})
    made = api.deploy(stack, "destroy", operationContext={"options": {"deleteAfterDestroy": True}})
    wait_until(lambda: api.call("GET", deployed.path).status_code == 404, 60, "the stack to be gone")
    wait_until(lambda: api.deployment(stack, made["id"])["status"] == "succeeded", 60, "the end")
    assert reader.deployment(stack, made["id"])["status"] == "succeeded"
    assert "configuration" in api.deployment(stack, made["id"])
    stranger.refused(404, "GET", f"{deployed.path}/deployments/{made['id']}", names=f"stack '{stack}'")
    assert reader.get("/api/orgs/acme/deployments")["total"] == 1 and stranger.get("/api/orgs/acme/deployments")["total"] == 0


def test_a_time_to_live(own, tmp_path, stack, project, repo, clock):
    """Its end destroys and removes the stack, by the saved settings."""
    deployed = Deployed(own("--isolation", "process", clock=clock), tmp_path, stack, project, repo)
    api = deployed.api
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    api.post(f"{deployed.path}/deployments/ttl/schedules", {"timestamp": when.strftime("%Y-%m-%dT%H:%M:%SZ"), "deleteAfterDestroy": True})
    assert deployed.files() != {}
    clock.advance(3601)
    wait_until(lambda: api.call("GET", deployed.path).status_code == 404, 90, "the stack to be gone")
    ended = wait_until(lambda: [d for d in api.get("/api/orgs/acme/deployments")["deployments"] if d["status"] == "succeeded"], 60, "the deployment")[0]
    assert ended["pulumiOperation"] == "destroy" and ended["initiator"] == "scheduled" and deployed.files() == {}
