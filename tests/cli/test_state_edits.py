"""`pulumi state`: the commands that change a state by hand. Each is an import of the changed state."""
import json
import os
import pty
import select
import subprocess
import time

import pytest
from helpers import programs, where
from helpers.pulumi import BROKEN, record

from test_operations import inputs, two, urn


@pytest.fixture
def made(cli, stack, project):
    cli.write(two(project, "a", "b"))
    cli.run("stack", "init", stack)
    cli.up("--skip-preview")
    return cli


def test_delete(made, project):
    made.refused("state", "delete", urn(project, "first"), "--yes", names="depend")
    made.run("state", "delete", urn(project, "first"), "--yes", "--target-dependents")
    assert inputs(made) == {}
    assert made.history()[0]["kind"] == "import"
    made.refused("state", "delete", urn(project, "first"), "--yes", names="No such resource")


def test_delete_all_by_force(made, project):
    made.run("state", "protect", urn(project, "first"), "--yes")
    made.run("state", "delete", "--all", "--force", "--yes", quiet=False)
    assert not made.export()["deployment"].get("resources")


def test_rename(made, project):
    made.run("state", "rename", urn(project, "first"), "renamed", "--yes")
    assert inputs(made) == {"renamed": "a", "second": "b"}
    second = next(r for r in made.export()["deployment"]["resources"] if r["urn"].endswith("second"))
    assert second["dependencies"] == [urn(project, "renamed")]


def test_taint_and_look(made, project):
    made.run("state", "taint", urn(project, "second"), "--yes")
    assert made.export()["version"] == 4 and "taint" in made.export()["features"]
    assert "second" in made.run("state", "get", urn(project, "second")).stdout
    assert "1 to replace" in made.run("preview").stdout
    made.run("state", "untaint", urn(project, "second"), "--yes")
    made.up("--skip-preview", "--expect-no-changes")
    made.run("state", "upgrade", "--yes")


def test_move(made, api, project):
    """Into another stack, secrets sealed anew for it."""
    made.write(programs.secrets(project))
    made.run("config", "set", "--secret", "password", "moves-house")
    made.up("--skip-preview")
    made.run("stack", "init", f"acme/{project}/dest", "--no-select")
    made.run("state", "move", "--source", f"acme/{project}/dev", "--dest", f"acme/{project}/dest", urn(project, "hidden"), "--yes", quiet=False)
    assert inputs(made).keys() == {"shown"}
    moved = made.json("stack", "export", "--stack", f"acme/{project}/dest", "--show-secrets")
    assert urn(project, "hidden", "dest") in json.dumps(moved) and "moves-house" in json.dumps(moved)


def test_repair(made, project):
    made.run("state", "repair", "--yes")
    state = made.export()
    # A dependency that is not there, and the dependent before what it needs.
    resources = state["deployment"]["resources"]
    resources[-1]["dependencies"] = [urn(project, "gone"), urn(project, "first")]
    resources.insert(len(resources) - 2, resources.pop())
    (made.project / "broken.json").write_text(json.dumps(state))
    made.run("stack", "import", "--force", "--file", "broken.json", quiet=False)
    kept = made.export()["deployment"]["resources"]
    assert [r["urn"].split("::")[-1] for r in kept][-2:] == ["second", "first"] and urn(project, "gone") in kept[-2]["dependencies"]
    made.run("state", "repair", "--yes", quiet=False)
    assert [r["urn"].split("::")[-1] for r in made.export()["deployment"]["resources"]][-2:] == ["first", "second"]
    made.up("--skip-preview", "--expect-no-changes")


def test_edit(made, project):
    """It asks on a terminal, so it gets one: the editor changes a value, and the first answer accepts that."""
    editor = made.home / "editor"
    editor.write_text('#!/bin/sh\nsed -i \'s/"input": "a"/"input": "edited"/\' "$1"\n')
    editor.chmod(0o755)
    arguments = ["state", "edit", "--stack", "dev"]
    main, other = pty.openpty()
    child = subprocess.Popen([str(where.tools() / "pulumi"), *arguments], cwd=made.project, stdin=other, stdout=other, stderr=other,
                             start_new_session=True, env={**made.environment, "EDITOR": str(editor), "PULUMI_EXPERIMENTAL": "true", "TERM": "xterm"})
    os.close(other)
    said, typed, end = b"", [], time.monotonic() + 60
    try:
        while time.monotonic() < end and child.poll() is None:
            if select.select([main], [], [], 0.3)[0]:
                try:
                    said += os.read(main, 65536)
                except OSError:
                    break  # the terminal closed: it ended
            elif len(typed) < 2 and b"Do you want to perform this edit?" in said:
                typed.append(b"accept" if not typed else b"\r")  # quiet, so it waits: the choice is typed, then taken
                os.write(main, typed[-1])
        child.wait(timeout=10)
    finally:
        child.kill()
        child.wait()
        os.close(main)
    text = said.decode(errors="replace")
    record(arguments, child)
    assert child.returncode == 0 and not BROKEN.search(text), text
    assert inputs(made)["first"] == "edited", text
