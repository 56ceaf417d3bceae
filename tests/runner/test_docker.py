"""Containers: a real engine, images made of this machine's programs, real Pulumi programs in them."""
import json
import re

from helpers import programs
from helpers.engine import LABEL


def git(repo):
    return {"git": {"repoUrl": repo.url, "branch": "main"}}


def test_a_program_runs_in_an_image_that_has_only_a_shell(docker, engine, repo):
    """No git, no pulumi, no curl in it, and a server that listens on the host's loopback."""
    server = docker()
    api = server.api()
    repo.commit(programs.stash("boxed"))
    api.create_stack("admin/boxed/dev")
    run, log = api.run("admin/boxed/dev", "update", sourceContext=git(repo), operationContext={
        "preRunCommands": ["echo shell of $USER at $HOME in $PWD", "ls /", "echo MORE=fine >> $PULUMI_ENV", "echo found $MORE"]})
    assert api.outputs("admin/boxed/dev")["plain"] == "one"
    assert "bash is not installed where this deployment runs: sh is used." in log
    assert "shell of root at /root in /deployment" in log and "found fine" in log
    assert "slipway-test/small:1 (of this runner)" in log and "Container created" in log
    assert re.search(r"Isolation: docker \(Docker \d", log)
    server.stop()
    assert engine.containers(LABEL) == [] and engine.networks(LABEL) == []


def test_dependencies_are_kept_over_containers(docker, repo):
    """The archive passes through the stream to the engine, in both directions; tree and home are the container's."""
    api = docker().api()
    files = programs.stash("kept")
    repo.commit({**files, "Pulumi.yaml": files["Pulumi.yaml"].replace("runtime: yaml", "runtime: nodejs"), "package.json": "{}", "package-lock.json": "{}"})
    api.create_stack("admin/kept/dev")
    command = ("if [ -d node_modules ]; then cat node_modules/a/found; ls node_modules/a ~/.npm/_cacache; else mkdir -p node_modules/a ~/.npm/_cacache; "
               "echo it was found >node_modules/a/found; i=0; while [ $i -lt 300 ]; do echo $i >~/.npm/_cacache/$i; i=$((i+1)); done; fi")
    for expected in ("Uploaded as npm-", "Already cached"):
        _, log = api.run("admin/kept/dev", "preview", expect="failed", sourceContext=git(repo), cacheOptions={"enable": True},
                         operationContext={"preRunCommands": [command], "options": {"skipInstallDependencies": True}})
        assert expected in log, log
    assert "Restored tree/node_modules, home/.npm/_cacache: 301 files" in log and "it was found\n" in log and "\n299\n" in log, log
