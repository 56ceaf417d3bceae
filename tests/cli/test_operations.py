"""Operations by the CLI: what each option of up, preview, refresh and destroy makes of the state, import, watch, cancel;
the history of it all."""
import json

from helpers import programs
from helpers.api import path_of
from helpers.pulumi import BROKEN
from helpers.waiting import wait_until


def urn(project, name, stack="dev", kind="pulumi:index:Stash"):
    return f"urn:pulumi:{stack}::{project}::{kind}::{name}"


def inputs(cli):
    """name -> what a Stash holds, of the state."""
    return {r["urn"].split("::")[-1]: r["inputs"].get("input") for r in cli.export()["deployment"].get("resources") or []
            if r["type"] == "pulumi:index:Stash"}


def two(project, one, other):
    """Two Stash resources, the second of which needs the first."""
    return programs.yaml(project, f"first:\n  type: pulumi:Stash\n  properties:\n    input: {one}\n"
                                  f"second:\n  type: pulumi:Stash\n  properties:\n    input: {other}\n  options:\n    dependsOn:\n      - ${{first}}",
                         "value: ${first.output}")


def changes(cli):
    return cli.history()[0]["resourceChanges"]


def test_target_replace_and_refresh(cli, stack, project):
    cli.write(two(project, "a", "b"))
    cli.run("stack", "init", stack)
    cli.up()
    assert inputs(cli) == {"first": "a", "second": "b"}
    cli.write(two(project, "a2", "b2"))
    assert "2 to update" in cli.run("preview").stdout
    cli.up("--skip-preview", "--target", urn(project, "first"))
    assert inputs(cli) == {"first": "a2", "second": "b"}
    cli.up("--skip-preview", "--target", urn(project, "first"), "--target-dependents", "--diff")
    assert inputs(cli) == {"first": "a2", "second": "b2"}
    before = cli.history()[0]["version"]
    cli.up("--skip-preview", "--replace", urn(project, "first"))
    assert cli.history()[0]["version"] == before + 1
    assert any(op in changes(cli) for op in ("replace", "create-replacement")), changes(cli)
    assert cli.outputs()["value"] == "a2", "a replaced Stash has the new value as its output"
    cli.up("--skip-preview", "--refresh", "--expect-no-changes", "-m", "nothing to do")
    assert cli.history()[0]["message"] == "nothing to do"
    cli.run("refresh", "--yes", "--skip-preview", "--target", urn(project, "first"))
    assert cli.history()[0]["kind"] == "refresh"
    cli.up("--skip-preview", "--exclude", urn(project, "second"), "--json", quiet=False)
    cli.run("refresh", "--preview-only")
    assert cli.history()[0]["kind"] == "update", "a preview leaves no history"


def test_expect_no_changes(cli, stack, project):
    cli.write(programs.stash(project, "one"))
    cli.run("stack", "init", stack)
    cli.up("--skip-preview")
    cli.run("preview", "--expect-no-changes")
    cli.write(programs.yaml(project, "more:\n  type: pulumi:Stash\n  properties:\n    input: two"))
    # Exit 7 is its own (cli-protocol §7); the update is made all the same.
    for command in (("preview",), ("up", "--yes", "--skip-preview")):
        done = cli.run(*command, "--expect-no-changes", expect=None)
        assert done.returncode != 0 and "no changes were expected" in done.stderr + done.stdout, (done.returncode, done.stderr)
    assert inputs(cli) == {"more": "two"}
    plan = cli.json("preview", "--json", quiet=False)
    assert {s["op"] for s in plan["steps"]} == {"same"}


def test_continue_on_error(cli, stack, project):
    cli.write(programs.node(project, """
const bad = new Thing("bad", { value: "bad", fail: "not-this-one" });
const good = new Thing("good", { value: "good" });
const after = new Thing("after", { value: "after" }, { dependsOn: bad });
""")).with_node_modules()
    cli.run("stack", "init", stack)
    cli.refused("up", "--yes", "--skip-preview", "--continue-on-error", names="not-this-one")
    names = [r["urn"].split("::")[-1] for r in cli.export()["deployment"]["resources"]]
    assert "good" in names and "bad" not in names and "after" not in names
    assert cli.history()[0]["result"] == "failed"
    cli.run("destroy", "--yes", "--skip-preview", "--continue-on-error")


def test_protect(cli, stack, project):
    cli.write(two(project, "a", "b"))
    cli.run("stack", "init", stack)
    cli.up("--skip-preview")
    cli.run("state", "protect", urn(project, "first"), "--yes")
    cli.refused("destroy", "--yes", "--skip-preview", names="protect")
    assert inputs(cli)["first"] == "a", "what is protected stays"
    cli.refused("state", "delete", urn(project, "first"), "--yes", names="protect")
    cli.run("destroy", "--yes", "--skip-preview", "--exclude-protected")
    assert inputs(cli) == {"first": "a"}
    cli.run("state", "unprotect", urn(project, "first"), "--yes")
    cli.run("state", "protect", "--all", "--yes")
    cli.run("state", "unprotect", "--all", "--yes")
    cli.run("destroy", "--yes", "--skip-preview")
    assert inputs(cli) == {}
    assert [h["kind"] for h in cli.history()][:3] == ["destroy", "import", "import"]


def test_destroy_of_a_target(cli, stack, project):
    cli.write(two(project, "a", "b"))
    cli.run("stack", "init", stack)
    cli.up("--skip-preview")
    cli.run("destroy", "--yes", "--target", urn(project, "second"))
    assert inputs(cli) == {"first": "a"}
    cli.run("destroy", "--preview-only")
    assert inputs(cli) == {"first": "a"}


def test_import_and_drift(cli, stack, project):
    """With a provider whose cloud is a folder: what exists there is imported, protected; what changes there is refreshed."""
    cloud = cli.with_folder_provider()
    (cloud / "found").write_text("by-hand")
    cli.write(programs.folder_things(project, cli, made="by-pulumi"))
    cli.run("stack", "init", stack)
    cli.up("--skip-preview")
    cli.run("import", "folder:index:Thing", "taken", "found", "--yes", "--generate-code=false", "-m", "taken over")
    cli.write(programs.folder_things(project, cli, made="by-pulumi", taken="by-hand"))

    def things():
        return {r["id"]: (r["outputs"]["value"], r.get("protect", False)) for r in cli.export()["deployment"]["resources"]
                if r["type"] == "folder:index:Thing"}

    assert things() == {"made": ("by-pulumi", False), "found": ("by-hand", True)}
    assert cli.history()[0]["message"] == "taken over"
    # The CLI makes it by the route of an update; the name of its command tells.
    assert [h["kind"] for h in cli.history()] == ["resource-import", "update"]
    (cli.project / "import.json").write_text(json.dumps({"resources": [{"type": "folder:index:Thing", "name": "none", "id": "not-there"}]}))
    cli.refused("import", "--yes", "--file", "import.json", "--generate-code=false", "--skip-preview", names="does not support importing")
    assert things().keys() == {"made", "found"} and cli.history()[0]["result"] == "failed"
    cli.run("state", "unprotect", "--all", "--yes")

    (cloud / "made").write_text("changed-by-hand")
    (cloud / "found").unlink()
    cli.refused("refresh", "--yes", "--skip-preview", "--expect-no-changes", names="no changes were expected")
    assert things() == {"made": ("changed-by-hand", False)}
    assert changes(cli)["delete"] == 1 and changes(cli)["update"] == 1, changes(cli)
    cli.up("--skip-preview", "--refresh")
    assert things() == {"made": ("by-pulumi", False), "taken": ("by-hand", False)}
    cli.run("destroy", "--yes", "--skip-preview", "--refresh")
    assert list(cloud.iterdir()) == []


# `pulumi watch` is told of changes by a program of its release archives that is not in its Go modules.
PULUMI_WATCH = """#!/usr/bin/env python3
import os, sys, time
seen = None
while True:
    now = os.stat("Pulumi.yaml").st_mtime_ns
    if seen is not None and now != seen:
        print(os.path.abspath("Pulumi.yaml"), flush=True)
    elif seen is None:
        open(__file__ + ".ready", "w")
    seen = now
    time.sleep(0.1)
"""


def test_watch(cli, api, stack, project):
    """It updates whenever a file changes, until it is told to stop."""
    cli.write(programs.stash(project, "one"))
    cli.run("stack", "init", stack)
    cli.up("--skip-preview")
    cli.with_tool("pulumi-watch", PULUMI_WATCH)
    watching = cli.start("watch")
    told = watching.stdout.readline()
    assert "Watch mode enabled" in told, told + watching.stderr.read()
    wait_until((cli.home / "tools" / "pulumi-watch.ready").exists, 30, "pulumi-watch")
    for number, value in enumerate(("two", "three"), 2):
        cli.write(programs.yaml(project, f"kept:\n  type: pulumi:Stash\n  properties:\n    input: {value}"))
        wait_until(lambda: [u["result"] for u in api.get(f"{path_of(stack)}/updates?pageSize=10&page=1")["updates"]] == ["succeeded"] * number,
                   60, f"update {number}")
        assert inputs(cli) == {"kept": value}
    watching.terminate()
    out, err = watching.communicate(timeout=60)
    assert not BROKEN.search(told + out + err), out + err


def test_cancel(cli, api, stack, project, tmp_path):
    """From another terminal: the update is told at its next call, and ends; what it had made stays."""
    started = tmp_path / "started"
    cli.write(programs.slow(project, 6, started)).with_node_modules()
    cli.run("stack", "init", stack)
    cli.refused("cancel", "--yes", names="never been updated")
    running = cli.start("up", "--yes", "--skip-preview")
    wait_until(started.exists, 60, "the slow resource", interval=0.2)
    assert api.get(path_of(stack))["currentOperation"]["kind"] == "update"
    cli.run("cancel", "--yes")
    out, err = running.communicate(timeout=90)
    assert running.returncode != 0, out + err
    assert "currentOperation" not in api.get(path_of(stack))
    assert cli.history()[0]["result"] == "failed"
    assert "quick" in [r["urn"].split("::")[-1] for r in cli.export()["deployment"]["resources"]]
    said = cli.run("refresh", "--yes", "--skip-preview", "--clear-pending-creates", expect=None)
    assert said.returncode == 0, said
    assert not cli.export()["deployment"].get("pending_operations")
    cli.refused("cancel", "--yes", names="[409]")


# ---- history -------------------------------------------------------------------------------------------------------
def test_history(cli, api, stack, project):
    """Pages of it, its messages, the configuration at that time with its secrets, and each update's events."""
    cli.write(programs.secrets(project))
    cli.run("stack", "init", stack)
    cli.run("config", "set", "--secret", "password", "of-the-history")
    cli.run("config", "set", "--path", "nested.list[0]", "plain-part")
    cli.run("config", "set", "--path", "--secret", "nested.deep", "secret-part")
    for i in range(3):
        cli.run("config", "set", "plain", f"value-{i}")
        cli.up("--skip-preview", "--message", f"message {i}")
    whole = cli.history()
    assert [h["version"] for h in whole] == [3, 2, 1] and [h["message"] for h in whole] == [f"message {i}" for i in (2, 1, 0)]
    pages = [cli.json("stack", "history", "--json", "--page-size", "2", "--page", str(n)) for n in (1, 2)]
    assert [h["version"] for page in pages for h in page] == [3, 2, 1]
    assert "Version: 3" in cli.run("stack", "history", "--full-dates", "--page-size", "1").stdout
    config = whole[0]["config"]
    assert config[f"{project}:plain"] == {"value": "value-2", "secret": False}
    assert "of-the-history" not in json.dumps(whole) and "secret-part" not in json.dumps(whole)
    opened = cli.json("stack", "history", "--json", "--show-secrets")
    assert opened[0]["config"][f"{project}:password"]["value"] == "of-the-history"
    assert "secret-part" in json.dumps(opened[0]["config"][f"{project}:nested"])
    assert opened[2]["config"][f"{project}:plain"]["value"] == "value-0"
    update = api.get(path_of(stack))["activeUpdate"]
    shown = cli.run("stack", "history", "events", update).stdout
    assert "Stash" in shown or "resource" in shown.lower(), shown
    assert "of-the-history" not in shown


def test_config_refresh(cli, stack, project):
    """What the last update was given comes back into the file."""
    cli.write(programs.secrets(project))
    cli.run("stack", "init", stack)
    cli.run("config", "set-all", "--plaintext", "plain=kept", "--secret", "password=kept-secret")
    cli.up("--skip-preview")
    (cli.project / "Pulumi.dev.yaml").unlink()
    cli.run("config", "refresh", "--force")
    assert cli.run("config", "get", "plain").stdout.strip() == "kept"
    assert cli.run("config", "get", "password").stdout.strip() == "kept-secret"
    cli.run("config", "rm", "plain")
    cli.run("config", "rm-all", "password")
    assert cli.json("config", "--json") == {f"{project}:plain": {"value": "nothing", "secret": False}}, "the program's own default"
