"""The three ways in which the real CLI saves state, each forced: journal, deltas, whole checkpoints (cli-protocol §3.6.1)."""
import re

import pytest
from helpers import programs
from helpers.pulumi import Pulumi
from helpers.waiting import wait_until

MODES = {
    "journal": {},
    "deltas": {"PULUMI_DISABLE_JOURNALING": "true"},
    "checkpoints": {"PULUMI_DISABLE_JOURNALING": "true", "PULUMI_OPTIMIZED_CHECKPOINT_PATCH": "0"},
}
CALLS = {"journal": {"journalentries"}, "deltas": {"checkpointverbatim", "checkpointdelta"}, "checkpoints": {"checkpoint"}}
COUNT = 14  # of 8 KB: above the size from which changes are sent alone


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


@pytest.fixture
def saving(own, tmp_path, mode):
    """A CLI that saves in that way, and its server, which tells of every request."""
    server = own("--access-log", command="serve")
    server.admin("org", "add", "acme")
    cli = Pulumi(tmp_path, server.url, server.user("operator").token)
    cli.environment.update(MODES[mode])
    return cli, server


def calls(server):
    """By which routes state was saved, as the server saw it."""
    return set(re.findall(r"PATCH \S+/(journalentries|checkpointverbatim|checkpointdelta|checkpoint)\b", server.log.read_text(errors="replace")))


def names(cli):
    return sorted(r["urn"].split("::")[-1] for r in cli.export()["deployment"].get("resources", []) if r["type"] == "pulumi:index:Stash")


def test_a_whole_life(saving, mode, stack, project):
    cli, server = saving
    cli.write(programs.many(project, COUNT))
    cli.run("stack", "init", stack)
    cli.up()
    assert names(cli) == sorted(f"r{i}" for i in range(COUNT))
    assert calls(server) == CALLS[mode]
    assert "unchanged" in cli.up("--expect-no-changes").stdout
    cli.write(programs.many(project, COUNT - 2, bytes_each=8000))
    out = cli.up().stdout
    assert "2 deleted" in out and len(names(cli)) == COUNT - 2
    cli.run("refresh", "--yes")
    assert len(names(cli)) == COUNT - 2
    cli.run("destroy", "--yes")
    assert names(cli) == []
    assert [h["result"] for h in cli.history()] == ["succeeded"] * 5
    assert calls(server) == CALLS[mode]


def test_secrets(saving, mode, stack, project):
    cli, server = saving
    cli.write(programs.secrets(project))
    cli.run("stack", "init", stack)
    cli.run("config", "set", "plain", "p" * 90_000)
    for password in ("hunter2-of-the-test", "hunter3-of-the-test"):
        cli.run("config", "set", "--secret", "password", password)
        cli.up("--replace", "**hidden")  # a Stash keeps its first value
        assert password not in str(cli.export())
        assert cli.outputs("--show-secrets")["hidden"] == password
    assert calls(server) == CALLS[mode]
    cli.run("destroy", "--yes")
    assert names(cli) == []


def test_a_program_that_fails(saving, stack, project):
    cli, _ = saving
    cli.write(programs.many(project, COUNT))
    cli.run("stack", "init", stack)
    cli.up()
    cli.write(programs.failing(project))
    assert cli.run("up", "--yes", "--skip-preview", expect=None).returncode != 0
    assert cli.history()[0]["result"] == "failed"
    assert "kept" in names(cli) and len(names(cli)) == COUNT + 1, "what it made is there, what it did not come to is kept"
    cli.write(programs.stash(project))
    cli.up()
    assert names(cli) == ["kept"]


def test_killed_and_cancelled(saving, mode, stack, project, tmp_path):
    """kill -9 in the middle, then `pulumi cancel`: everything that the server acknowledged is the state."""
    cli, _ = saving
    started = tmp_path / "started"
    big = "\n".join(f'new Thing("big{i}", {{ value: "{i}", filler: "x".repeat(9000) }});' for i in range(COUNT))
    cli.write(programs.node(project, big)).with_node_modules()
    cli.run("stack", "init", stack)
    cli.up("--skip-preview")
    cli.write(programs.node(project, big + f"""
const quick = new Thing("quick", {{ value: "quick" }});
new Thing("slow", {{ value: "slow", delay: 120, started: "{started}" }}, {{ dependsOn: quick }});
"""))
    process = cli.start("up", "--yes", "--skip-preview")
    wait_until(started.exists, 60, "the slow resource", interval=0.2)
    process.kill()
    process.communicate()
    cli.run("cancel", "--yes")
    state = cli.export()["deployment"]
    kept = [r["urn"].split("::")[-1] for r in state["resources"]]
    assert "quick" in kept and "slow" not in kept and sum(name.startswith("big") for name in kept) == COUNT
    if mode != "deltas":  # whose serializer drops what is pending (cli-protocol §3.6.3)
        assert [p["resource"]["urn"].split("::")[-1] for p in state["pending_operations"]] == ["slow"]
    assert cli.history()[0]["result"] == "failed"
    cli.write(programs.node(project, big))
    out = cli.run("up", "--yes", "--skip-preview", quiet=False, expect=None)
    if mode != "deltas":
        assert "pending" in out.stdout + out.stderr, "the next run tells of what was being made"
        cli.run("refresh", "--yes", "--clear-pending-creates", "--skip-preview")
    cli.up("--skip-preview", "--expect-no-changes" if mode != "deltas" else "--skip-preview")
    assert "quick" not in [r["urn"].split("::")[-1] for r in cli.export()["deployment"]["resources"]]
