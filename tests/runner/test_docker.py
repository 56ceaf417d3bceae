"""Containers: a real engine, images made of this machine's programs, real Pulumi programs in them."""
import json
import os
import re
import shutil
import signal
import socket

import pytest
from helpers import programs, where
from helpers.api import path_of
from helpers.engine import LABEL, PASSWD, SMALL, root_file_system
from helpers.registry import Registry
from helpers.waiting import wait_until


def git(repo):
    return {"git": {"repoUrl": repo.url, "branch": "main"}}


@pytest.fixture
def runner(docker, repo, project):
    """runner("--option", …) gives a function that runs commands in a container, before a program that is not there."""
    repo.commit({"README": "no program\n"})

    def start(*options, **more):
        server = docker(*options, **more)
        api = server.api()
        name = f"admin/{project}/dev"
        api.create_stack(name)

        def run(*commands, expect="failed", **context):
            body = {"sourceContext": git(repo), **context}
            body["operationContext"] = {"preRunCommands": list(commands), **context.get("operationContext", {})}
            return api.run(name, "preview", expect=expect, **body)[1]

        run.api, run.stack, run.server, run.source = api, name, server, git(repo)
        return run

    return start


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
    mine = f"{LABEL}={(server.data / 'agent/instance').read_text().strip()}"  # others use the engine, too
    assert engine.networks(mine)
    server.stop()
    assert engine.containers(mine) == [] and engine.networks(mine) == []


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


def test_an_image_of_a_user_who_is_not_root(runner, engine):
    """Named in the settings as a string; its environment, user, home and folder; a root of the executor that it may write to."""
    run = runner()
    log = run("id", "echo $FROM_IMAGE $HOME $USER $PATH", "echo A=written >> $PULUMI_ENV", "echo $A in $PULUMI_ENV_FILE", "touch /no || echo not there",
              executorContext={"executorImage": engine.plain(), "executorRootPath": "/tmp"})
    assert "uid=1234(worker) gid=1235(worker) groups=1235(worker)" in log
    assert "yes /home/worker worker /usr/bin:/opt/own:/slipway/tools" in log
    assert "written in /tmp/PULUMI_ENV" in log and "not there" in log
    # Without a source the program is in the image, at its folder.
    done, log = run.api.run(run.stack, "preview", expect="failed", sourceContext=None, inheritSettings=False,
                            executorContext={"executorImage": {"reference": engine.plain()}}, operationContext={"preRunCommands": ["echo in $PWD"]})
    assert "in /opt\n" in log and "Get source" not in log


def test_what_a_container_cannot_do(runner, engine):
    image = engine.make("slipway-test/bash:1", programs={"bin/bash": "/bin/bash"})
    with socket.create_server(("127.0.0.1", 0)) as neighbour:
        run = runner(image=image)
        log = run("cat /proc/self/status; cat /proc/1/status", "ls /var/run/docker.sock /run/docker.sock $HOME/.docker; env; cat /proc/1/environ; true",
                  "(exec 3<>/dev/tcp/169.254.169.254/80) && echo metadata reached; (exec 3<>/dev/tcp/169.254.170.2/80) && echo metadata reached; true",
                  f"(exec 3<>/dev/tcp/127.0.0.1/{neighbour.getsockname()[1]}) && echo neighbour reached; true",
                  f"(exec 3<>/dev/tcp/127.0.0.1/{run.server.port}) && echo server reached",
                  "echo x > /slipway/tools/pulumi && echo tools changed; echo x > /slipway/executor/x && echo tools changed; true")
    for set_ in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert re.findall(rf"{set_}:\s+(\d+)", log) == ["0" * 16] * 2, log
    assert "NoNewPrivs:\t1" in log and log.count("docker.sock': No such file") == 2 and "/proc/1/environ: Permission denied" in log
    assert log.count("80: No route to host") == 2, log
    assert "server reached" in log
    for words in ("metadata reached", "neighbour reached", "tools changed", "slipway-pool"):
        assert f"\n{words}" not in log, log
    assert run.server.data.joinpath("agent-token").read_text().strip() not in log


def test_limits_hold(runner, engine):
    image = engine.make("slipway-test/tail:1", programs={"bin/tail": "/usr/bin/tail", "bin/head": "/usr/bin/head"})
    run = runner("--memory-limit", "300", "--pids-limit", "40", image=image)
    log = run("i=0; while [ $i -lt 100 ]; do sleep 5 & i=$((i+1)); done; echo all forked")
    assert "Cannot fork" in log and "all forked" not in log.split("$ i=0")[1].split("\n", 1)[1]
    log = run("head -c 900000000 /dev/zero | tail -c 899999999 > /dev/null; echo tail ended with $?")
    assert "tail ended with 137" in log, log
    assert "memory 300 MiB" in log and "processes 40" in log


def test_a_cancel_and_what_the_engine_may_know(runner, engine):
    """The plan is in nothing that the engine keeps, and the container is gone when the run is."""
    run = runner()
    secret = "a-secret-of-the-run-8f3c"
    run.api.settings(run.stack, {"operationContext": {"environmentVariables": {"TOKEN": {"secret": secret}}}})
    made = run.api.deploy(run.stack, "preview", sourceContext=run.source, operationContext={"preRunCommands": ["echo it be''gan; sleep 1000"]})
    wait_until(lambda: "it began" in run.api.log(run.stack, made["id"]), 60, "the command")
    container, = engine.containers(f"slipway.deployment={made['id']}")
    seen = engine.call("GET", f"/containers/{container['Id']}/json")[1]
    assert secret not in json.dumps(seen) and "pul-run-" not in json.dumps(seen)
    host = seen["HostConfig"]
    assert host["CapDrop"] == ["ALL"] and "no-new-privileges" in host["SecurityOpt"] and not host["Privileged"] and not host["Binds"]
    assert host["LogConfig"]["Type"] == "none" and all(mount["Type"] == "volume" and not mount["RW"] for mount in seen["Mounts"])
    assert [network for network in seen["NetworkSettings"]["Networks"]] == [host["NetworkMode"]] and host["NetworkMode"].startswith("slipway-")
    assert container["Labels"][LABEL]
    run.api.ok("POST", f"{path_of(run.stack)}/deployments/{made['id']}/cancel")
    assert run.api.wait_status(run.stack, made["id"])["status"] == "failed"
    wait_until(lambda: not engine.containers(f"slipway.deployment={made['id']}"), 20, "the end of the container")


def test_an_agent_that_was_killed_leaves_nothing(runner, engine):
    run = runner()
    made = run.api.deploy(run.stack, "preview", sourceContext=run.source, operationContext={"preRunCommands": ["echo it be''gan; sleep 1000"]})
    wait_until(lambda: "it began" in run.api.log(run.stack, made["id"]), 60, "the command")
    container, = engine.containers(f"slipway.deployment={made['id']}")
    for pid in run.server.children():
        os.kill(pid, signal.SIGKILL)
    assert run.api.wait_status(run.stack, made["id"])["status"] == "failed"
    wait_until(lambda: not engine.containers(f"slipway.deployment={made['id']}"), 60, "the end of the container")
    assert container["Labels"][LABEL]


def test_a_registry_with_a_password(runner, engine):
    """Pulled by name and by digest; used as it is there when the registry is away; not when the registry refuses."""
    registry = Registry(root_file_system(SMALL, {"etc/passwd": (PASSWD, 0, 0o644)}), "puller", "pass-of-the-registry")
    credentials = {"username": "puller", "password": {"secret": "pass-of-the-registry"}}
    try:
        run = runner(pull="always")
        log = run("echo $FROM_REGISTRY", executorContext={"executorImage": {"reference": f"{registry.name}:1"}})
        assert "cannot pull the image" in log and "no basic auth credentials" in log
        log = run("echo from $FROM_REGISTRY; env", executorContext={"executorImage": {"reference": f"{registry.name}:1", "credentials": credentials}})
        assert "from yes" in log and f"Using {registry.name}@{registry.digest}" in log and "Status: Downloaded newer image" in log
        assert "pass-of-the-registry" not in log
        log = run("echo from $FROM_REGISTRY", executorContext={"executorImage": {"reference": f"{registry.name}:1"}})
        assert "cannot pull the image" in log, "credentials of somebody else were enough"
        asked = len(registry.asked)
        log = run("echo from $FROM_REGISTRY", executorContext={"executorImage": f"{registry.name}@{registry.digest}"})
        assert "from yes" in log and len(registry.asked) == asked
        log = run("true", executorContext={"executorImage": {"reference": f"{registry.name}:2", "credentials": credentials}})
        assert "manifest unknown" in log, log
    finally:
        registry.stop()
    log = run("echo from $FROM_REGISTRY", executorContext={"executorImage": {"reference": f"{registry.name}:1", "credentials": credentials}})
    assert "warning: cannot pull the image" in log and "from yes" in log


def test_a_root_that_is_read_only(runner):
    run = runner("--read-only-containers")
    log = run("touch /bin/x || echo closed", "touch here $HOME/there /tmp/everywhere && echo open; echo B=kept >> $PULUMI_ENV", "echo $B")
    assert "closed" in log and "\nopen" in log and "\nkept" in log


@pytest.mark.parametrize("name", ["Not An Image", "http://x/y", "../x", "x@md5:1"])
def test_names_of_images_that_are_none(runner, name):
    run = runner()
    assert "Error: " in run("true", executorContext={"executorImage": name}).split("== Setup")[1]


def test_runners_that_cannot(own, repo, tmp_path):
    """Without an engine a runner does not start; one without containers fails what needs an image, before anything runs."""
    server = own("--isolation", "docker", "--docker-host", f"unix://{tmp_path}/none")
    server.wait_stderr("start a container engine, or say where it listens with --docker-host")
    server = own("--isolation", "process")
    api = server.api()
    repo.commit(programs.stash("imaged"))
    api.create_stack("admin/imaged/dev")
    _, log = api.run("admin/imaged/dev", "preview", expect="failed", sourceContext=git(repo), executorContext={"executorImage": "some/image"})
    assert "asks for the image some/image" in log and "--isolation docker" in log and "Get source" not in log


def test_runs_that_fill_the_same_volume_at_once(docker, repo, tmp_path):
    """An executor that the engine does not have yet, and two runs that bring it: one fills the volume, the other waits."""
    executor = tmp_path / "slipway-executor"
    shutil.copy(where.build() / "slipway-executor", executor)
    repo.commit({"README": "no program\n"})
    api = docker("--executor", executor).api()
    stacks = [f"admin/fill/{i}" for i in range(2)]
    for stack in stacks:
        api.create_stack(stack)
    made = [api.deploy(stack, "preview", sourceContext=git(repo), operationContext={"preRunCommands": ["echo it runs"]})["id"] for stack in stacks]
    for stack, id in zip(stacks, made):
        api.wait_status(stack, id, "failed")
        assert "\nit runs\n" in api.log(stack, id), api.log(stack, id)
