"""`pulumi stack schedule …`, as against the hosted service."""
import pytest
from helpers import programs
from helpers.api import path_of


@pytest.fixture
def ready(cli, api, stack, project):
    cli.write(programs.stash(project))
    cli.run("stack", "init", stack)
    api.settings(stack, {"sourceContext": {"git": {"repoUrl": "https://example.invalid/shop.git", "branch": "main"}}})
    return cli


def schedule(ready, *arguments, **more):
    return ready.run("stack", "schedule", *arguments, **more)


def one(api, stack):
    schedules = api.get(path_of(stack) + "/deployments/schedules")["schedules"]
    assert len(schedules) == 1
    return schedules[0]


@pytest.mark.parametrize("new, edit, shown, edited", [
    (["--kind", "raw", "--operation", "refresh", "--cron", "0 */4 * * *"], ["--cron", "0 */6 * * *"], "refresh", "0 */6 * * *"),
    (["--kind", "raw", "--operation", "update", "--once", "2040-01-01T00:00:00Z"], ["--once", "2041-01-01T00:00:00Z"], "2040-01-01", "2041-01-01"),
    (["--kind", "drift", "--cron", "0 1 * * *"], ["--auto-remediate"], "drift", "drift"),
    (["--kind", "ttl", "--once", "2040-02-03T04:05:06Z", "--delete-after-destroy"], ["--once", "2040-02-03T05:05:06Z"], "ttl", "05:05:06"),
], ids=["raw", "once", "drift", "ttl"])
def test_new_list_get_edit_remove(ready, api, stack, new, edit, shown, edited):
    schedule(ready, "new", "--yes", *new)
    made = one(api, stack)
    assert made["id"] in schedule(ready, "list").stdout
    assert shown in schedule(ready, "get", made["id"]).stdout
    assert ready.json("stack", "schedule", "get", made["id"], "--output", "json")["id"] == made["id"]
    assert schedule(ready, "edit", made["id"], *edit).returncode == 0
    changed = one(api, stack)
    assert changed["id"] == made["id"] and edited in schedule(ready, "get", made["id"]).stdout
    # What was not named in the edit is as it was.
    assert changed["definition"]["request"]["operation"] == made["definition"]["request"]["operation"]
    if "--delete-after-destroy" in new:
        assert changed["definition"]["request"]["operationContext"]["options"]["deleteAfterDestroy"] is True
    if "--auto-remediate" in edit:
        assert changed["definition"]["request"]["operationContext"]["options"]["remediateIfDriftDetected"] is True
    schedule(ready, "remove", made["id"], "--yes")
    assert api.get(path_of(stack) + "/deployments/schedules") == {"schedules": []}
    assert "[400]" in schedule(ready, "new", "--yes", "--kind", "drift", "--cron", "0 99 * * *", expect=None).stderr
