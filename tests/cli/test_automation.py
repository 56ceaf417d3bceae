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


@pytest.mark.parametrize("language", ["node", "python"])
def test_a_whole_life(cli, api, project, stack, language):
    cli.write(programs.stash(f"{project}-local", "from-a-folder"))
    command = {"node": ["node", HERE / "run.js"], "python": [sys.executable, HERE / "run.py"]}[language]
    cli.environment["NODE_PATH"] = str(where.node_sdk() / "node_modules")
    run = subprocess.run([*map(str, command), stack, str(cli.project)], cwd=cli.home, env=cli.environment, stdin=subprocess.DEVNULL,
                         capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stdout + run.stderr
    seen = json.loads(run.stdout.splitlines()[-1])
    assert (seen["again"], seen["missing"], seen["conflict"]) == ERRORS[language], seen
    assert seen["who"] == "admin" and seen["config"] == {"value": "of-the-automation", "secret": True}
    assert seen["tags"]["made"] == "by-automation" and seen["preview"] == {"create": 2}
    assert seen["up"] == {"result": "succeeded", "kind": "update", "version": 1, "changes": {"create": 2}}
    assert seen["outputs"] == {"hidden": {"value": "of-the-automation", "secret": True}, "shown": {"value": "open", "secret": False}}
    assert seen["events"] and seen["refresh"] == "refresh" and seen["history"] == ["refresh", "update"]
    assert any(name.endswith("dev") for name in seen["stacks"]) and seen["unchanged"] == {"same": 2}
    assert seen["destroy"] == "destroy" and seen["local"] == "from-a-folder"
    assert api.get(f"/api/user/stacks?project={project}")["stacks"] == []
