"""Drift runs, by the real CLI: every preview of a refresh leaves one; what differs; what a deployment does about it.

The cloud is a folder (programs.folder_things): a thing drifts when somebody writes to its file."""
import json

import pytest
from helpers import programs
from helpers.api import path_of
from helpers.pulumi import Pulumi
from helpers.waiting import wait_until


class Drifting:
    """A stack with two things, on a server whose runs see the folder that is their cloud."""

    def __init__(self, server, cli, stack, project, repo):
        self.server, self.cli, self.stack, self.api = server, cli, stack, server.api()
        self.path = path_of(stack)
        self.cloud = cli.with_folder_provider()
        self.program = programs.folder_things(project, cli, first="one", second="two")
        cli.write(self.program)
        repo.commit(self.program)
        self.repo = repo
        cli.run("stack", "init", stack)
        cli.up("--skip-preview")
        variables = {name: cli.environment[name] for name in ("FOLDER_CLOUD", "NODE_PATH")}
        self.api.settings(stack, {"sourceContext": {"git": {"repoUrl": repo.url, "branch": "main"}},
                                  "operationContext": {"environmentVariables": variables}})

    def drift(self):
        (self.cloud / "first").write_text("changed-by-hand")
        (self.cloud / "second").unlink()

    def runs(self):
        return self.api.get(f"{self.path}/drift/runs")["driftRuns"]

    def status(self):
        return self.api.get(f"{self.path}/drift/status")

    def events(self, kind):
        return [e["payload"] for e in self.server.api().get(f"/api/site/events?kind={kind}")["events"]]

    def things(self):
        return {r["id"]: r["outputs"]["value"] for r in self.cli.export()["deployment"]["resources"] if r["type"] == "folder:index:Thing"}


@pytest.fixture
def drifting(own, tmp_path, stack, project, repo):
    server = own("--isolation", "process")
    return Drifting(server, Pulumi(tmp_path, server.url, server.token), stack, project, repo)


def urn(drifting, name):
    _, project, stack = drifting.stack.split("/")
    return f"urn:pulumi:{stack}::{project}::folder:index:Thing::{name}"


def test_by_hand(drifting):
    """`pulumi refresh --preview-only` on a laptop, and the preview before a refresh."""
    cli, api = drifting.cli, drifting.api
    assert drifting.runs() == [] and drifting.status() == {"driftDetected": False, "latestDriftRun": "", "runInProgress": False, "remediated": False}
    assert "drift" not in api.get(f"{drifting.path}/deployments/metadata")
    cli.run("refresh", "--preview-only")
    clean, = drifting.runs()
    assert clean["status"] == "succeeded" and clean["driftDetected"] is False and clean["resourceCount"] == 0
    assert "deploymentId" not in clean and "remediateUpdate" not in clean
    assert clean["detectUpdate"]["status"] == "succeeded" and set(clean["detectUpdate"]["resourceChanges"]) == {"same"}
    assert drifting.status()["latestDriftRun"] == clean["id"] and drifting.status()["driftDetected"] is False

    drifting.drift()
    cli.refused("refresh", "--preview-only", "--expect-no-changes", names="no changes were expected")
    run = drifting.runs()[0]
    assert run["driftDetected"] is True and run["status"] == "succeeded" and run["resourceCount"] == 2 and not run["resourcesCut"]
    changes = run["detectUpdate"]["resourceChanges"]
    assert changes["update"] == 1 and changes["delete"] == 1, changes
    assert api.get(f"{drifting.path}/drift/runs/{run['id']}") == run
    assert drifting.status() == {"driftDetected": True, "latestDriftRun": run["id"], "runInProgress": False, "remediated": False}
    assert api.get(f"{drifting.path}/deployments/metadata")["drift"] == drifting.status()
    found = api.get(f"{drifting.path}/drift/runs/{run['id']}/resources")
    assert found["resourceCount"] == 2 and found["resourcesCut"] is False and found["driftRunId"] == run["id"]
    differ = {r["urn"]: r for r in found["resources"]}
    assert differ[urn(drifting, "first")] == {"urn": urn(drifting, "first"), "type": "folder:index:Thing", "id": "first", "kind": "update",
                                              "properties": [{"path": "value", "kind": "update", "old": "one", "new": "changed-by-hand"}]}
    assert differ[urn(drifting, "second")] == {"urn": urn(drifting, "second"), "type": "folder:index:Thing", "id": "second", "kind": "delete",
                                               "properties": []}
    # No preview is history; the other previews make no run.
    cli.run("preview")
    cli.up("--refresh")
    assert len(drifting.runs()) == 2 and [h["kind"] for h in cli.history()] == ["update", "update"]
    # One by hand is nobody's remediation.
    assert drifting.status()["remediated"] is False
    # The preview that comes before a refresh.
    cli.run("refresh", "--yes")
    assert len(drifting.runs()) == 3 and drifting.status()["driftDetected"] is False
    events = drifting.events("drift.")
    assert [(e["driftDetected"], e["status"], e["driftRunId"]) for e in reversed(events)] == \
        [(r["driftDetected"], r["status"], r["id"]) for r in reversed(drifting.runs())]
    assert events[1]["resourceChanges"] == changes and events[1]["user"]["githubLogin"]
    assert events[1]["referenceUrl"].endswith(f"/{drifting.stack}/previews/{run['detectUpdate']['updateId']}")


def test_the_commands(drifting):
    cli = drifting.cli
    assert "No drift detection runs" in cli.run("stack", "drift", "list").stdout
    cli.run("stack", "drift", "status")
    drifting.drift()
    for _ in range(3):
        cli.run("refresh", "--preview-only")
    listed = cli.json("stack", "drift", "list", "--output", "json", "--count", "2")
    assert listed["count"] == 2 and listed["total"] == 3
    assert [r["id"] for r in listed["driftRuns"]] == [r["id"] for r in drifting.runs()[:2]]
    table = cli.run("stack", "drift", "list", "--all").stdout
    assert "Showing 3 of 3" in table and "yes" in table and "update" in table
    status = cli.json("stack", "drift", "status", "--output", "json")
    assert status["driftDetected"] is True and status["latestDriftRun"] == drifting.runs()[0]["id"]
    assert "yes" in cli.run("stack", "drift", "status").stdout.lower()


def test_detect_drift_by_a_deployment(drifting):
    api, stack = drifting.api, drifting.stack
    done, _ = api.run(stack, "detect-drift")
    clean, = drifting.runs()
    assert (clean["driftDetected"], clean["deploymentId"], clean["deploymentVersion"]) == (False, done["id"], 1)
    drifting.drift()
    done, log = api.run(stack, "detect-drift")
    assert "== pulumi refresh --preview-only\n" in log and "pulumi up" not in log
    run = drifting.runs()[0]
    assert run["driftDetected"] is True and run["status"] == "succeeded" and run["deploymentId"] == done["id"] and "remediateUpdate" not in run
    update, = api.get(f"{drifting.path}/deployments/{done['id']}/updates")
    assert update["updateID"] == run["detectUpdate"]["updateId"] and update["kind"] == "Prefresh" and update["result"] == "succeeded"
    assert drifting.things() == {"first": "one", "second": "two"}, "a detection changes nothing"
    event = drifting.events("drift.detection")[0]
    assert event["driftDetected"] is True and event["deploymentId"] == done["id"] and event["driftRunId"] == run["id"]


def test_remediate_if_drift_detected(drifting):
    """Two updates of one deployment when there is drift, one when there is none."""
    api, stack = drifting.api, drifting.stack
    options = {"operationContext": {"options": {"remediateIfDriftDetected": True}}}
    done, log = api.run(stack, "detect-drift", **options)
    assert "pulumi up --refresh" not in log and len(api.get(f"{drifting.path}/deployments/{done['id']}/updates")) == 1
    assert "remediateUpdate" not in drifting.runs()[0] and drifting.events("drift.remediation") == []

    drifting.drift()
    done, log = api.run(stack, "detect-drift", **options)
    assert "== pulumi up --refresh\n" in log
    detection, remediation = api.get(f"{drifting.path}/deployments/{done['id']}/updates")
    assert (detection["kind"], remediation["kind"]) == ("Prefresh", "update")
    run = drifting.runs()[0]
    assert len(drifting.runs()) == 2 and run["status"] == "succeeded" and run["driftDetected"] is True
    assert run["detectUpdate"]["updateId"] == detection["updateID"] and run["remediateUpdate"]["updateId"] == remediation["updateID"]
    assert run["remediateUpdate"]["status"] == "succeeded"
    assert drifting.status()["remediated"] is True
    assert drifting.things() == {"first": "one", "second": "two"}
    assert {f.name: f.read_text() for f in drifting.cloud.iterdir()} == {"first": "one", "second": "two"}
    event, = drifting.events("drift.remediation")
    assert (event["status"], event["driftRunId"], event["deploymentId"]) == ("succeeded", run["id"], done["id"])
    assert event["resourceChanges"] == run["remediateUpdate"]["resourceChanges"]
    assert event["referenceUrl"].endswith(f"/updates/{remediation['version']}")
    assert [h["version"] for h in drifting.cli.history()] == [2, 1], "the remediation is history, the detection is not"


def test_remediate_drift(drifting):
    """As an operation of its own: of the run that found the drift, or, where nobody has looked, of a run of its own."""
    api, stack = drifting.api, drifting.stack
    drifting.drift()
    done, log = api.run(stack, "remediate-drift")
    assert "== pulumi up --refresh\n" in log and "preview-only" not in log
    alone, = drifting.runs()
    assert "detectUpdate" not in alone and alone["driftDetected"] is False and alone["deploymentId"] == done["id"]
    assert alone["remediateUpdate"]["status"] == "succeeded" and drifting.things() == {"first": "one", "second": "two"}
    drifting.drift()
    drifting.cli.run("refresh", "--preview-only")
    done, _ = api.run(stack, "remediate-drift")
    run = drifting.runs()[0]
    assert len(drifting.runs()) == 2 and run["driftDetected"] is True and "deploymentId" not in run
    assert run["remediateUpdate"]["status"] == "succeeded" and drifting.status()["remediated"] is True
    assert [e["driftRunId"] for e in drifting.events("drift.remediation")] == [run["id"], alone["id"]]


def test_a_detection_that_fails(drifting, tmp_path):
    """While it runs, and before there is anything to run."""
    api, stack = drifting.api, drifting.stack
    (drifting.cloud / "second").unlink()
    (drifting.cloud / "second").mkdir()  # cannot be read
    drifting.cli.refused("refresh", "--preview-only", names="EISDIR")
    by_hand, = drifting.runs()
    assert by_hand["status"] == "failed" and by_hand["driftDetected"] is False and by_hand["detectUpdate"]["status"] == "failed"
    api.run(stack, "detect-drift", expect="failed")
    assert [r["status"] for r in drifting.runs()] == ["failed", "failed"] and drifting.runs()[0]["detectUpdate"]["status"] == "failed"
    done, _ = api.run(stack, "detect-drift", expect="failed", sourceContext={"git": {"repoUrl": (tmp_path / "nowhere.git").as_uri()}})
    run = drifting.runs()[0]
    assert len(drifting.runs()) == 3 and run["status"] == "failed" and "detectUpdate" not in run and run["deploymentId"] == done["id"]
    events = drifting.events("drift.detection")
    assert [(e["status"], e["driftDetected"]) for e in events] == [("failed", False)] * 3
    assert events[0]["driftRunId"] == run["id"] and events[0]["referenceUrl"].endswith("/deployments/2")
    assert drifting.status()["driftDetected"] is False
    done, _ = api.run(stack, "remediate-drift", expect="failed", sourceContext={"git": {"repoUrl": (tmp_path / "nowhere.git").as_uri()}})
    event, = drifting.events("drift.remediation")
    assert event["status"] == "failed" and event["deploymentId"] == done["id"] and len(drifting.runs()) == 3


def test_while_it_runs(drifting):
    api, stack = drifting.api, drifting.stack
    made = api.deploy(stack, "detect-drift", operationContext={"preRunCommands": ["echo here-we-are; sleep 3"]})
    wait_until(lambda: "here-we-are\n" in api.log(stack, made["id"]), 60, "the command")
    assert drifting.status()["runInProgress"] is True and drifting.runs() == []
    api.wait_status(stack, made["id"], "succeeded")
    assert drifting.status()["runInProgress"] is False and len(drifting.runs()) == 1


def test_a_schedule_finds_drift(own, tmp_path, stack, project, repo, clock):
    server = own("--isolation", "process", clock=clock)
    drifting = Drifting(server, Pulumi(tmp_path, server.url, server.token), stack, project, repo)
    api = drifting.api
    drifting.drift()
    api.post(f"{drifting.path}/deployments/drift/schedules", {"scheduleCron": "0 * * * *", "autoRemediate": True})
    clock.advance(3600)
    wait_until(lambda: api.get(f"{drifting.path}/deployments")["total"] == 1, 30, "the deployment")
    done = api.wait_status(stack, api.deployment(stack, 1)["id"])
    assert done["status"] == "succeeded" and done["pulumiOperation"] == "detect-drift"
    run, = drifting.runs()
    assert run["driftDetected"] is True and run["deploymentId"] == done["id"] and run["remediateUpdate"]["status"] == "succeeded"
    assert drifting.things() == {"first": "one", "second": "two"}


def test_secrets_stay_closed(drifting, project):
    """The provider gives back in the open what the program told to be secret: neither what it was nor what it is now is shown."""
    cli = drifting.cli
    files = programs.folder_things(project, cli, first="${password}", second="two")
    files["Pulumi.yaml"] += "config:\n  password:\n    type: string\n    secret: true\n"
    cli.write(files)
    cli.run("config", "set", "--secret", "password", "hunter2-of-drift")
    cli.up("--skip-preview")
    (drifting.cloud / "first").write_text("written-by-hand")
    for more in ((), ("--run-program",)):
        cli.run("refresh", "--preview-only", *more)
        run = drifting.runs()[0]
        assert run["driftDetected"] is True and run["resourceCount"] == 1
        found = drifting.api.get(f"{drifting.path}/drift/runs/{run['id']}/resources")
        assert found["resources"][0]["properties"] == [{"path": "value", "kind": "update", "old": "[secret]", "new": "[secret]"}]
    said = json.dumps(found) + json.dumps(drifting.server.api().get("/api/site/events?maxResults=1000"))
    assert "hunter2" not in said and "written-by-hand" not in said
