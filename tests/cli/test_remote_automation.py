"""Remote workspaces of the Automation API, of Node and of Python: the program lies in a git repository, and the server runs it
(cli-protocol §4.7, clients §2). Real git servers on the loopback, a real agent."""
import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import programs, where
from helpers.api import path_of
from helpers.git import Repository

HERE = Path(__file__).resolve().parent / "automation"
COMMANDS = {"node": ["node", HERE / "remote.js"], "python": [sys.executable, HERE / "remote.py"]}
both = pytest.mark.parametrize("language", COMMANDS)


def automation(cli, language, verb, **asked):
    """Runs one of the verbs of remote.js or remote.py in an empty folder; returns what it saw."""
    environment = {**cli.environment, "NODE_PATH": str(where.node_sdk() / "node_modules")}
    run = subprocess.run([*map(str, COMMANDS[language]), verb, json.dumps(asked)], cwd=cli.home, env=environment, stdin=subprocess.DEVNULL,
                         capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def program(project) -> dict:
    """Two outputs of Stash resources, one of them secret, in the folder infra/."""
    files = programs.yaml(project, "open:\n  type: pulumi:Stash\n  properties:\n    input: open\n"
                                   "hidden:\n  type: pulumi:Stash\n  properties:\n    input:\n      fn::secret: hidden-of-the-program",
                          "open: ${open.output}\nhidden: ${hidden.output}")
    return {f"infra/{name}": text for name, text in files.items()}


@both
def test_a_whole_life(cli, api, stack, project, repo, http_git, language):
    """createOrSelect, preview, up, outputs, refresh, export, import, history, cancel of nothing, destroy."""
    repo.commit(program(project))
    seen = automation(cli, language, "life", stack=stack, url=http_git.url(repo), branch="refs/heads/main", folder="infra",
                      auth={"username": http_git.user, "password": http_git.password}, variables={"COLOUR": "green"},
                      secrets={"TOKEN": "hidden-in-the-environment"}, commands=["echo it is $COLOUR; test -n \"$TOKEN\" && echo token $TOKEN"])
    assert seen["missing"].startswith("StackNotFoundError") and seen["again"].startswith("StackAlreadyExistsError"), seen
    assert seen["name"] == stack and seen["preview"] == {"create": 3}
    assert seen["up"] == {"kind": "update", "result": "succeeded", "version": 1, "changes": {"create": 3}} and seen["events"]
    outputs = {"open": {"value": "open", "secret": False}, "hidden": {"value": "hidden-of-the-program", "secret": True}}
    assert seen["upOutputs"] == seen["outputs"] == outputs
    # The CLI shows the log of the deployment, then the events of the update in it.
    assert "Get source" in seen["output"] and "it is green" in seen["output"] and "Resources:" in seen["output"], seen["output"]
    assert not any(hidden in seen["output"] for hidden in ("hidden-in-the-environment", "hidden-of-the-program", http_git.password))
    assert seen["refresh"]["kind"] == "refresh" and seen["refresh"]["result"] == "succeeded"
    assert seen["unchanged"] == {"kind": "update", "result": "succeeded", "version": 4, "changes": {"same": 3}}
    assert [(h["kind"], h["version"]) for h in seen["history"]] == [("update", 4), ("import", 3), ("refresh", 2), ("update", 1)]
    assert seen["page"] == ["refresh", "update"]
    assert seen["idle"] != "nothing", "there is nothing to cancel"
    assert seen["destroy"] == {"kind": "destroy", "result": "succeeded", "version": 5, "changes": {"delete": 3}} and seen["left"] == []
    # Each operation was a deployment of the server, asked for by this client; the clone asked for the password.
    deployments = api.get(path_of(stack) + "/deployments?asc=true")["deployments"]
    assert [(d["pulumiOperation"], d["status"], d["initiator"]) for d in deployments] == [
        (operation, "succeeded", "automation-api") for operation in ("preview", "update", "refresh", "update", "destroy")]
    assert any(header == http_git.basic for _, header in http_git.requests)


@both
def test_a_commit_by_ssh(cli, stack, project, repo, ssh_git, tmp_path, language):
    old = repo.commit(programs.stash(project, "old"))
    repo.commit(programs.stash(project, "new"))
    key = {"keyPath": str(ssh_git.folder / "client")} if language == "node" else {"key": ssh_git.key}
    done = automation(cli, language, "up", stack=stack, url=ssh_git.url(repo), commit=old, auth=key, skipInstall=True)
    assert done["result"] == "succeeded" and done["outputs"]["value"]["value"] == "old"


@both
def test_settings_of_the_stack_are_inherited(cli, api, stack, project, repo, language):
    """No url and no branch of its own; what is given counts before what is saved."""
    repo.commit(programs.stash(project, "saved"))
    repo.commit(programs.stash(project, "other"), branch="other")
    api.create_stack(stack)
    api.settings(stack, {"sourceContext": {"git": {"repoUrl": repo.url, "branch": "main"}},
                         "operationContext": {"environmentVariables": {"SAVED": "yes", "BOTH": "saved"}, "preRunCommands": ["echo $SAVED $BOTH"]}})
    done = automation(cli, language, "up", stack=stack, inherit=True, variables={"BOTH": "given"})
    assert done["outputs"]["value"]["value"] == "saved"
    assert "yes given\n" in api.log(stack, api.deployment(stack, 1)["id"])
    done = automation(cli, language, "up", stack=stack, inherit=True, branch="other")
    # A Stash keeps what it got first; the plain output is the program's.
    assert (done["version"], done["outputs"]["plain"]["value"]) == (2, "other")
    assert api.get(path_of(stack) + "/deployments/settings")["sourceContext"]["git"]["branch"] == "main"


@both
def test_what_fails_is_told(cli, api, stack, project, repo, tmp_path, language):
    """A program that fails, a source that is not there, arguments that the SDK refuses itself."""
    repo.commit(programs.failing(project))
    seen = automation(cli, language, "refused", stack=stack, url=repo.url, branch="main")
    # The SDKs call the same error by the words in the output: a CommandError or one that is made of it.
    assert "Error" in seen["up"].split(":")[0] and "deployment failed" in seen["up"] and "base64" in seen["up"].lower(), seen["up"]
    assert "Error" in seen["preview"].split(":")[0] and "deployment failed" in seen["preview"], seen["preview"]
    seen = automation(cli, language, "refused", stack=stack, url=(tmp_path / "nowhere.git").as_uri(), branch="main")
    assert seen["up"].startswith("CommandError") and "nowhere.git" in seen["up"], seen
    seen = automation(cli, language, "refused", stack=stack, url=repo.url, branch="main", image="ghcr.io/example/image:1")
    assert seen["up"].startswith("CommandError"), seen
    assert {d["status"] for d in api.get(path_of(stack) + "/deployments")["deployments"]} == {"failed"}
    seen = automation(cli, language, "arguments", stack=stack, url=repo.url, branch="main")
    assert "fully qualified" in seen["short"] and "url is required" in seen["nothing"], seen


@both
def test_cancel(own, tmp_path, stack, project, language):
    """The update that a deployment runs is cancelled by the workspace: what it saves afterwards is refused."""
    from helpers.pulumi import Pulumi
    server = own("--isolation", "process")
    api, repo = server.api(), Repository(tmp_path)
    started, proceed = tmp_path / "started", tmp_path / "proceed"
    repo.commit(programs.node(project, f"""
const fs = require("fs");
const kept = new pulumi.Stash("kept", {{ input: "kept" }});
kept.output.apply(async () => {{
    fs.writeFileSync("{started}", "");
    while (!fs.existsSync("{proceed}")) {{ await new Promise(resolve => setTimeout(resolve, 100)); }}
    new pulumi.Stash("late", {{ input: "late" }});
}});
""", head=programs.NODE_HEAD))
    cli = Pulumi(tmp_path, server.url, server.token)
    seen = automation(cli, language, "cancel", stack=stack, url=repo.url, branch="main", skipInstall=True, started=str(started), proceed=str(proceed),
                      commands=[f"ln -s {where.node_sdk()}/node_modules node_modules"])
    assert "409" in seen["busy"] and "Another update is currently in progress" in seen["busy"], "the run holds the stack"
    assert seen["up"].startswith("CommandError") and "the update was cancelled" in seen["up"], seen
    assert [(h["kind"], h["result"]) for h in seen["history"]] == [("update", "failed")]
    assert api.wait_status(stack, api.deployment(stack, 1)["id"])["status"] == "failed"
    names = [r["urn"].split("::")[-1] for r in api.get(path_of(stack) + "/export")["deployment"]["resources"]]
    assert "kept" in names and "late" not in names, names
