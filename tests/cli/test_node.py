"""The same in Node: Stash, secrets, StackReference, dynamic resources that are slow or fail."""
import json
import signal
import time

import pytest
from helpers import programs
from helpers.waiting import wait_until


@pytest.fixture
def node(cli, stack):
    def write(files):
        cli.write(files).with_node_modules()
        return cli
    return write


def test_the_whole_life_of_a_stack(node, stack, project):
    cli = node(programs.node(project, """
const password = config.requireSecret("password");
const kept = new pulumi.Stash("kept", { input: password });
const thing = new Thing("thing", { value: "v", secret: password });
exports.kept = kept.output;
exports.thing = thing.id;
"""))
    # Signed in by the command, as a user would: no token in the environment of what follows.
    token = cli.environment.pop("PULUMI_ACCESS_TOKEN")
    url = cli.environment.pop("PULUMI_BACKEND_URL")
    cli.run("login", url, env={"PULUMI_ACCESS_TOKEN": token})
    cli.run("stack", "init", stack)
    cli.run("config", "set", "--secret", "password", "hunter2-of-node")
    cli.run("preview")
    up = cli.up().stdout
    assert "hunter2" not in up
    assert cli.outputs() == {"kept": "[secret]", "thing": "id-v"}
    assert cli.outputs("--show-secrets")["kept"] == "hunter2-of-node"
    cli.run("refresh", "--yes")
    exported = cli.export()
    assert "hunter2" not in json.dumps(exported)
    (cli.project / "state.json").write_text(json.dumps(exported))
    cli.run("stack", "import", "--file", "state.json")
    cli.up("--skip-preview", "--expect-no-changes")
    assert [h["kind"] for h in cli.history()] == ["update", "import", "refresh", "update"]
    cli.run("destroy", "--yes")
    cli.run("stack", "rm", "--yes")


def test_stack_reference(node, dev, stack, project, tmp_path):
    from helpers.pulumi import Pulumi
    cli = node(programs.node(project, 'exports.hidden = pulumi.secret("crossing"); exports.shown = "open";'))
    cli.run("stack", "init", stack)
    cli.up("--skip-preview")
    reader = Pulumi(tmp_path, dev.url, dev.token, name="reader")
    reader.write(programs.node(f"{project}-reader", f"""
const other = new pulumi.StackReference("{stack}");
exports.hidden = other.getOutput("hidden");
exports.shown = other.requireOutput("shown");
""")).with_node_modules()
    reader.run("stack", "init", f"acme/{project}-reader/dev")
    reader.up("--skip-preview")
    assert reader.outputs("--show-secrets") == {"hidden": "crossing", "shown": "open"} and reader.outputs()["hidden"] == "[secret]"


def test_a_resource_that_fails(node, stack, project):
    cli = node(programs.node(project, """
const good = new Thing("good", { value: "good" });
const bad = new Thing("bad", { value: "bad", fail: "the-cloud-said-no" }, { dependsOn: good });
"""))
    cli.run("stack", "init", stack)
    out = cli.run("up", "--yes", "--skip-preview", expect=None)
    assert out.returncode != 0 and "the-cloud-said-no" in out.stdout + out.stderr
    names = [r["urn"].split("::")[-1] for r in cli.export()["deployment"]["resources"]]
    assert "good" in names and "bad" not in names
    assert cli.history()[0]["result"] == "failed"
    node(programs.node(project, 'new Thing("good", { value: "good" }); new Thing("bad", { value: "fine" });'))
    cli.up()
    cli.run("destroy", "--yes")


def test_interrupted_in_the_middle(node, stack, project, tmp_path):
    """SIGINT: the CLI closes its update; what was made is kept, the stack is free."""
    started = tmp_path / "started"
    cli = node(programs.slow(project, 8, started))
    cli.run("stack", "init", stack)
    process = cli.start("up", "--yes", "--skip-preview")
    wait_until(started.exists, 60, "the slow resource", interval=0.2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=90)
    assert process.returncode != 0
    assert cli.history()[0]["result"] == "failed"
    assert "quick" in [r["urn"].split("::")[-1] for r in cli.export()["deployment"]["resources"]]
    node(programs.node(project, 'new Thing("quick", { value: "quick" });'))
    cli.up("--skip-preview")


def test_cancelled_from_elsewhere(node, api, dev, stack, project, tmp_path):
    """`pulumi cancel` takes the stack from a CLI that runs: what that one saves afterwards is refused, and it says so."""
    from helpers.pulumi import Pulumi
    started = tmp_path / "started"
    cli = node(programs.slow(project, 6, started))
    cli.run("stack", "init", stack)
    running = cli.start("up", "--yes", "--skip-preview")
    wait_until(started.exists, 60, "the slow resource", interval=0.2)
    other = Pulumi(tmp_path, dev.url, dev.token, name="elsewhere").write(programs.node(project, ""))
    other.run("cancel", "--yes", "--stack", stack)
    out, err = running.communicate(timeout=120)
    assert running.returncode != 0 and "409" in out + err, out + err
    assert cli.history()[0]["result"] == "failed"
    state = cli.export()["deployment"]
    assert [r["urn"].split("::")[-1] for r in state["resources"]][-1] == "quick"
    assert [p["resource"]["urn"].split("::")[-1] for p in state["pending_operations"]] == ["slow"]


def test_killed_in_the_middle(node, own, clock, tmp_path, stack, project):
    """kill -9 of the CLI: the stack stays taken until the lease ends, then what was acknowledged is its state."""
    from helpers.pulumi import Pulumi
    server = own("--lease", "5m", clock=clock)
    started = tmp_path / "started"
    cli = Pulumi(tmp_path, server.url, server.token, name="killed")
    cli.write(programs.slow(project, 120, started)).with_node_modules()
    cli.run("stack", "init", stack)
    process = cli.start("up", "--yes", "--skip-preview")
    wait_until(started.exists, 60, "the slow resource", interval=0.2)
    process.kill()
    process.communicate()
    out = cli.run("up", "--yes", "--skip-preview", expect=None)
    assert "Another update is currently in progress" in out.stderr + out.stdout
    clock.advance(400)
    wait_until(lambda: cli.history()[0]["result"] == "failed", 20, "the update's end", interval=0.5)
    state = cli.export()["deployment"]
    assert "quick" in [r["urn"].split("::")[-1] for r in state["resources"]]
    assert [p["resource"]["urn"].split("::")[-1] for p in state["pending_operations"]] == ["slow"]
    # The next run is told of what was left open, as the CLI tells it: it cannot know whether the creation went through.
    cli.write(programs.node(project, 'new Thing("quick", { value: "quick" });'))
    out = cli.run("up", "--yes", "--skip-preview", quiet=False).stdout
    assert "1 pending operations from previous deployment" in out and "Resource::slow, interrupted while creating" in out
    assert len(cli.export()["deployment"]["pending_operations"]) == 1, "an update does not settle it"
    cli.run("refresh", "--yes", "--clear-pending-creates", quiet=False)
    assert not cli.export()["deployment"].get("pending_operations")
    cli.up("--skip-preview", "--expect-no-changes")


def test_a_server_killed_in_the_middle(node, own, tmp_path, stack, project):
    """The CLI retries; the server comes back on the same port; nothing acknowledged is lost and the update ends well."""
    from helpers.pulumi import Pulumi
    server = own(command="serve")
    server.admin("org", "add", "acme")
    user = server.user("operator")
    started = tmp_path / "started"
    cli = Pulumi(tmp_path, server.url, user.token, name="through")
    cli.write(programs.slow(project, 8, started)).with_node_modules()
    cli.run("stack", "init", stack)
    process = cli.start("up", "--yes", "--skip-preview")
    wait_until(started.exists, 60, "the slow resource", interval=0.1)
    server.kill()
    time.sleep(0.5)
    own(command="serve", folder=server.folder, listen=f"127.0.0.1:{server.port}")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert cli.outputs() == {"slow": "id-slow"}
    assert cli.history()[0]["result"] == "succeeded"


@pytest.mark.long
def test_lease_renewal(node, own, clock, tmp_path, stack, project):
    """An update that outlives its lease renews it. The CLI asks for that when half of its five minutes are over, at the
    next thing it has to say; before and after, the server's clock jumps, by more than a lease in all."""
    from helpers.pulumi import Pulumi
    server = own("--lease", "5m", clock=clock)
    first, second = tmp_path / "first", tmp_path / "second"
    cli = Pulumi(tmp_path, server.url, server.token, name="long")
    cli.write(programs.node(project, f"""
const one = new Thing("one", {{ value: "one", delay: 155, started: "{first}" }});
const two = new Thing("two", {{ value: "two", delay: 8, started: "{second}" }}, {{ dependsOn: one }});
exports.two = two.id;
""")).with_node_modules()
    cli.run("stack", "init", stack)
    process = cli.start("up", "--yes", "--skip-preview")
    wait_until(first.exists, 60, "the first resource", interval=0.2)
    clock.advance(100)
    wait_until(second.exists, 180, "the second resource", interval=0.2)
    clock.advance(250)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    assert cli.outputs() == {"two": "id-two"} and cli.history()[0]["result"] == "succeeded"
