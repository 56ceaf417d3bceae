"""The Automation API of Node and of Python: it drives the CLI, and decides by its words (cli-protocol §1.4)."""
import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import programs, where

HERE = Path(__file__).resolve().parent / "automation"
# What each language calls its errors.
ERRORS = {"node": ("StackAlreadyExistsError", "StackNotFoundError", "ConcurrentUpdateError"),
          "python": ("StackAlreadyExistsError", "StackNotFoundError", "ConcurrentUpdateError")}


def automation(cli, language, script, *arguments):
    """Runs automation/SCRIPT.js or .py; returns what it saw."""
    command = {"node": ["node", HERE / f"{script}.js"], "python": [sys.executable, HERE / f"{script}.py"]}[language]
    cli.environment["NODE_PATH"] = str(where.node_sdk() / "node_modules")
    run = subprocess.run([*map(str, command), *map(str, arguments)], cwd=cli.home, env=cli.environment, stdin=subprocess.DEVNULL,
                         capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("language", ["node", "python"])
def test_a_whole_life(cli, api, project, stack, language):
    cli.write(programs.stash(f"{project}-local", "from-a-folder"))
    seen = automation(cli, language, "run", stack, cli.project)
    assert (seen["again"], seen["missing"], seen["conflict"]) == ERRORS[language], seen
    assert seen["who"] == "admin" and seen["config"] == {"value": "of-the-automation", "secret": True}
    assert seen["tags"]["made"] == "by-automation" and seen["preview"] == {"create": 2}
    assert seen["up"] == {"result": "succeeded", "kind": "update", "version": 1, "changes": {"create": 2}}
    assert seen["outputs"] == {"hidden": {"value": "of-the-automation", "secret": True}, "shown": {"value": "open", "secret": False}}
    assert seen["events"] and seen["refresh"] == "refresh" and seen["history"] == ["refresh", "update"]
    assert any(name.endswith("dev") for name in seen["stacks"]) and seen["unchanged"] == {"same": 2}
    assert seen["destroy"] == "destroy" and seen["local"] == "from-a-folder"
    assert api.get(f"/api/user/stacks?project={project}")["stacks"] == []


@pytest.mark.parametrize("language", ["node", "python"])
def test_operations_and_stacks(cli, api, project, stack, language):
    """Targets, replacements, expected changes, tags, configuration, rename, history, removal, another secrets provider."""
    seen = automation(cli, language, "operations", stack)
    assert seen["org"] == "acme" and seen["created"] == {"create": 4}
    assert seen["previewOfOne"] == seen["upOfOne"] == {"update": 1, "same": 3}, seen
    # Without a preview it is done first; then the CLI ends with 7.
    assert "code: 7" in seen["unexpected"] or "exit code 7" in seen["unexpected"], seen["unexpected"]
    assert seen["rest"] == {"kind": "update", "message": "with flags", "resourceChanges": {"update": 3, "same": 1}}
    assert seen["expected"] == "succeeded" and seen["replaced"] == {"replace": 1, "same": 3}
    assert seen["previewOfRefresh"] == {"same": 4} and seen["refreshed"] == "succeeded"
    assert seen["tag"].strip() == "blue" and seen["tags"] is False
    assert seen["config"] == [f"{project}:other", f"{project}:secret"]
    assert seen["refreshedConfig"] == {"value": "3", "secret": True}, "as the last update had it"
    assert "still has resources" in seen["holds"]
    assert seen["afterRename"] == {"same": 4} and seen["newest"] == "update"
    assert seen["kinds"][:2] == ["update", "rename"] and seen["kinds"][-1] == "update"
    count = len(seen["kinds"])
    assert seen["pages"] == [[count, count - 1, count - 2], [count - 3, count - 4, count - 5]] and seen["all"]
    assert seen["previewOfDestroy"] == {"delete": 4} and seen["destroyedOne"]["delete"] == 1
    assert seen["locked"] == {"hidden": {"value": "under-a-passphrase", "secret": True}} and seen["provider"] == "passphrase"
    assert api.get(f"/api/user/stacks?project={project}")["stacks"] == []
