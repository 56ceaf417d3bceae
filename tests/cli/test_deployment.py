"""`pulumi deployment …` and `pulumi up --remote`, as against the hosted service."""
import json
import re

import pytest
from helpers import process, programs
from helpers.api import path_of
from helpers.waiting import wait_until


@pytest.fixture
def ready(cli, stack, repo, project):
    """A stack of the CLI, and a repository with its program."""
    repo.commit(programs.stash(project))
    cli.write(programs.stash(project))
    cli.run("stack", "init", stack)
    return cli


def test_settings_edit_and_get(ready, api, stack, repo):
    ready.run("deployment", "settings", "edit", "--git-url", repo.url, "--branch", "main", "--folder", "infra")
    git = api.get(f"{path_of(stack)}/deployments/settings")["sourceContext"]["git"]
    assert (git["repoUrl"], git["branch"], git["repoDir"]) == (repo.url, "main", "infra")
    ready.run("deployment", "settings", "edit", "--env", "PLAIN=visible", "--secret-env", "TOKEN=hidden-by-the-cli",
              "--pre-run-command", "echo one", "--pre-run-command", "echo two", "--skip-intermediate-deployments")
    shown = ready.run("deployment", "settings", "get")
    # Of variables, the CLI shows the names.
    assert repo.url in shown.stdout and "PLAIN" in shown.stdout and "TOKEN" in shown.stdout and "hidden-by-the-cli" not in shown.stdout
    variables = api.get(f"{path_of(stack)}/deployments/settings")["operationContext"]["environmentVariables"]
    assert variables["PLAIN"] == "visible" and "hidden-by-the-cli" not in json.dumps(variables)
    saved = api.get(f"{path_of(stack)}/deployments/settings")["operationContext"]
    assert saved["preRunCommands"] == ["echo one", "echo two"] and saved["options"]["skipIntermediateDeployments"] is True
    as_json = ready.json("deployment", "settings", "get", "--output", "json")
    assert as_json["source"] == {**as_json["source"], "repository": repo.url, "branch": "main", "folder": "infra"}
    assert as_json["preRunCommands"] == ["echo one", "echo two"] and as_json["advanced"]["skipIntermediateDeployments"] is True
    ready.run("deployment", "settings", "edit", "--remove-env", "PLAIN,TOKEN", "--executor-image", "", "--shell", "sh")
    saved = api.get(f"{path_of(stack)}/deployments/settings")["operationContext"]
    assert not saved.get("environmentVariables") and saved["options"]["shell"] == "sh"


def test_settings_get_when_there_are_none(ready):
    out = ready.run("deployment", "settings", "get", expect=None)
    assert out.returncode != 0 and "404" in out.stderr


def test_run_from_saved_settings(ready, api, stack, repo):
    api.settings(stack, {"sourceContext": {"git": {"repoUrl": repo.url, "branch": "main"}}})
    out = ready.run("deployment", "run", "update")
    assert f"View Live: {api.url}/" in out.stdout + out.stderr
    done = api.wait_status(stack, api.deployment(stack, 1)["id"])
    assert done["status"] == "succeeded" and done["initiator"] == "automation-api"
    assert ready.outputs() == {"value": "one", "plain": "one"}


def test_run_with_a_url(ready, api, stack, repo):
    ready.run("deployment", "run", "update", repo.url, "--git-branch", "main")
    assert api.wait_status(stack, api.deployment(stack, 1)["id"])["status"] == "succeeded"


def test_run_that_follows_the_engine_events(ready, api, stack, repo):
    out = ready.run("deployment", "run", "update", repo.url, "--git-branch", "main", "--suppress-stream-logs=false")
    text = out.stdout + out.stderr
    assert "Get source" in text and "created" in text and "kept" in text, text
    assert "Resources:" in text and "Duration:" in text, "the engine's events to their end"
    api.wait_status(stack, api.deployment(stack, 1)["id"], "succeeded", timeout=20)


def test_body_over_its_limit_is_told(ready, api, stack, repo):
    """The CLI is a client in Go: it sees the 413 and its message, not a connection that breaks."""
    large = [part for _ in range(12) for part in ("--pre-run-command", "x" * 120_000)]
    out = ready.run("deployment", "run", "update", repo.url, "--git-branch", "main", *large, expect=None)
    assert out.returncode != 0 and "[413]" in out.stderr, out.stdout + out.stderr
    assert api.get(f"{path_of(stack)}/deployments")["total"] == 0


def test_run_that_fails_is_told(ready, api, stack, repo, project):
    repo.commit(programs.failing(project))
    out = ready.run("deployment", "run", "update", repo.url, "--git-branch", "main", "--suppress-stream-logs=false", expect=None)
    assert out.returncode != 0, out.stdout + out.stderr
    assert api.wait_status(stack, api.deployment(stack, 1)["id"])["status"] == "failed"


def test_run_whose_source_fails_is_told(ready, tmp_path):
    out = ready.run("deployment", "run", "update", (tmp_path / "nowhere.git").as_uri(), "--git-branch", "main",
                    "--suppress-stream-logs=false", expect=None)
    text = out.stdout + out.stderr
    assert out.returncode != 0 and "nowhere.git" in text, text


@pytest.mark.parametrize("operation", ["detect-drift", "remediate-drift", "preview", "refresh", "destroy"])
def test_the_other_operations_followed(ready, api, stack, repo, operation):
    ready.up("--skip-preview")
    out = ready.run("deployment", "run", operation, repo.url, "--git-branch", "main", "--suppress-stream-logs=false", expect=None)
    assert out.returncode == 0 and "panic" not in out.stderr, out.stdout + out.stderr
    assert api.wait_status(stack, api.deployment(stack, 1)["id"])["status"] == "succeeded"


def test_environment_and_prerun_flags(ready, api, stack, repo):
    ready.run("deployment", "run", "preview", repo.url, "--git-branch", "main", "--env", "COLOUR=green", "--env-secret", "TOKEN=hidden-flag",
              "--pre-run-command", "echo it is $COLOUR; test -n $TOKEN && echo $TOKEN")
    id = api.deployment(stack, 1)["id"]
    api.wait_status(stack, id)
    log = api.log(stack, id)
    assert "it is green\n" in log and "hidden-flag" not in log


def test_list_get_log(ready, api, stack, repo):
    ready.run("deployment", "run", "preview", repo.url, "--git-branch", "main")
    id = api.deployment(stack, 1)["id"]
    api.wait_status(stack, id)
    listed = ready.run("deployment", "list").stdout
    assert "preview" in listed and "succeeded" in listed.lower()
    for name in (id, "1", "#1"):
        assert "preview" in ready.run("deployment", "get", name).stdout
    assert id in json.dumps(ready.json("deployment", "list", "--output", "json"))
    assert id in json.dumps(ready.json("deployment", "get", "1", "--output", "json"))
    log = ready.run("deployment", "log", "1", "--all").stdout
    assert "Get source" in log or "Cloning" in log or "pulumi" in log, log
    assert ready.run("deployment", "log", id, "--all").stdout == log


def test_cancel(ready, api, stack, repo):
    ready.run("deployment", "run", "preview", repo.url, "--git-branch", "main", "--pre-run-command", "echo here-we-are; sleep 120")
    id = api.deployment(stack, 1)["id"]
    wait_until(lambda: "here-we-are\n" in api.log(stack, id), 60, "the command")
    ready.run("deployment", "cancel", id, "--yes")
    assert api.wait_status(stack, id, timeout=60)["status"] == "failed"
    ready.up("--skip-preview")


def test_up_remote(ready, api, stack, repo):
    out = ready.run("up", "--remote", repo.url, "--remote-git-branch", "main", "--stack", stack, "--yes", "--skip-preview",
                    env={"PULUMI_EXPERIMENTAL": "true"})
    text = out.stdout + out.stderr
    assert "created" in text and "kept" in text and "Resources:" in text and "Duration:" in text, text
    assert ready.outputs() == {"value": "one", "plain": "one"}


@pytest.mark.parametrize("verb", ["preview", "refresh", "destroy"])
def test_the_others_remote(ready, stack, repo, verb):
    ready.up("--skip-preview")
    more = [] if verb == "preview" else ["--yes", "--skip-preview"]
    out = ready.run(verb, "--remote", repo.url, "--remote-git-branch", "main", "--stack", stack, *more, env={"PULUMI_EXPERIMENTAL": "true"})
    assert "Resources:" in out.stdout + out.stderr


def test_up_remote_with_inherited_settings(ready, api, stack, repo):
    api.settings(stack, {"sourceContext": {"git": {"repoUrl": repo.url, "branch": "main"}}})
    out = ready.run("up", "--remote", "--remote-inherit-settings", "--stack", stack, "--yes", "--skip-preview", env={"PULUMI_EXPERIMENTAL": "true"})
    assert "created" in out.stdout + out.stderr


def test_cancelled_update_is_closed_by_the_cli(api, cli, stack, repo, project, tmp_path, own):
    """A slow resource in a run: cancel gives the CLI the time to close its update."""
    from helpers import where
    from helpers.pulumi import Pulumi
    server = own("--isolation", "process")
    api = server.api()
    started = tmp_path / "started"
    repo.commit(programs.slow(project, 8, started))
    api.create_stack(stack)
    made = api.deploy(stack, "update", sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}},
                      operationContext={"preRunCommands": [f"ln -s {where.node_sdk()}/node_modules node_modules"],
                                        "options": {"skipInstallDependencies": True}})
    wait_until(started.exists, 90, "the slow resource", interval=0.2)
    api.ok("POST", f"{path_of(stack)}/deployments/{made['id']}/cancel")
    assert api.wait_status(stack, made["id"], timeout=90)["status"] == "failed"
    update, = api.get(f"{path_of(stack)}/deployments/{made['id']}/updates")
    assert update["result"] == "failed"
    state = api.get(f"{path_of(stack)}/export")["deployment"]
    names = [r["urn"].split("::")[-1] for r in state["resources"]]
    assert "quick" in names and "slow" in names and not state.get("pending_operations"), "what had begun was brought to its end"
    reader = Pulumi(tmp_path, server.url, server.token, name="after")
    reader.write(programs.node(project, 'new Thing("quick", { value: "quick" });')).with_node_modules()
    reader.run("stack", "select", stack)
    reader.up("--skip-preview")


def test_secret_configuration_in_a_run(ready, api, stack, repo, project):
    """Config of the repository, its secret encrypted by the service, read by the run."""
    ready.write(programs.secrets(project))
    ready.run("config", "set", "--secret", "password", "hunter2-in-a-run")
    repo.commit({**programs.secrets(project), "Pulumi.dev.yaml": (ready.project / "Pulumi.dev.yaml").read_text()})
    done, log = api.run(stack, "update", sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}})
    assert "hunter2" not in log
    assert ready.outputs("--show-secrets")["hidden"] == "hunter2-in-a-run"
    assert json.dumps(ready.history()[0]["environment"]).find("Pulumi Deployments") > 0


def test_two_addresses_of_one_server(dev, tmp_path, stack, repo, project):
    """Signed in to localhost, deployed by a run that knows 127.0.0.1, and back: the state's secrets open for both."""
    from helpers.pulumi import Pulumi
    user = Pulumi(tmp_path, f"http://localhost:{dev.port}", dev.token)
    user.write(programs.secrets(project))
    user.run("stack", "init", stack)
    user.run("config", "set", "--secret", "password", "hunter2-of-two")
    user.up("--skip-preview")
    repo.commit({**programs.secrets(project), "Pulumi.dev.yaml": (user.project / "Pulumi.dev.yaml").read_text()})
    dev.api().run(stack, "update", sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}})
    assert user.outputs("--show-secrets")["hidden"] == "hunter2-of-two"
    user.up("--skip-preview")


@pytest.mark.parametrize("what", ["the runner dies", "the deployment is cancelled", "the update is cancelled"])
def test_whoever_follows_hears_how_it_ended(own, repo, project, stack, tmp_path, what):
    """`up --remote` decides by the summary event of the update: without one it would end with 0."""
    from helpers import where
    from helpers.pulumi import Pulumi
    server = own("--isolation", "process")
    api, started = server.api(), tmp_path / "started"
    repo.commit(programs.slow(project, 60 if what == "the runner dies" else 6, started))
    api.create_stack(stack)
    cli = Pulumi(tmp_path, server.url, server.token)
    following = cli.start("up", "--remote", repo.url, "--remote-git-branch", "main", "--remote-pre-run-command", f"ln -s {where.node_sdk()}/node_modules node_modules",
                          "--remote-skip-install-dependencies", "--stack", stack, "--yes", "--skip-preview", env={"PULUMI_EXPERIMENTAL": "true"})
    wait_until(started.exists, 90, "the slow resource", interval=0.2)
    if what == "the runner dies":
        process.kill_all(server.descendants())  # `dev` starts an agent anew, which knows that its former life is over
    elif what == "the deployment is cancelled":
        api.ok("POST", f"{path_of(stack)}/deployments/{api.deployment(stack, 1)['id']}/cancel")
    else:
        api.ok("POST", f"{path_of(stack)}/update/{api.get(path_of(stack))['activeUpdate']}/cancel")
    out, err = following.communicate(timeout=120)
    assert following.returncode != 0, out + err
    assert {"the runner dies": "the deployment ended before the update did", "the update is cancelled": "the update was cancelled"}.get(what, "") in out, out
    assert api.wait_status(stack, api.deployment(stack, 1)["id"])["status"] == "failed"
