"""A user's day with their own CLI, in YAML: no warning, no error, exit 0."""
import json

from helpers import programs
from helpers.api import path_of
from helpers.pulumi import Pulumi


def test_login(dev, tmp_path):
    user = Pulumi(tmp_path)
    user.environment["PULUMI_ACCESS_TOKEN"] = dev.token
    out = user.run("login", dev.url)
    assert f"Logged in to" in out.stdout + out.stderr
    del user.environment["PULUMI_ACCESS_TOKEN"]
    # The CLI knows a console beside the server only when it is told; without one it has no address of the user.
    who = user.json("whoami", "--json", env={"PULUMI_CONSOLE_DOMAIN": f"127.0.0.1:{dev.port}"})
    assert who["user"] == "admin" and who["url"].startswith(dev.url) and "acme" in who["organizations"]
    assert dev.url in (user.home / ".pulumi" / "credentials.json").read_text()
    user.run("logout")


def test_login_with_a_wrong_token(dev, tmp_path):
    user = Pulumi(tmp_path)
    out = user.run("login", dev.url, expect=None, env={"PULUMI_ACCESS_TOKEN": "pul-wrong"})
    # Exit 1 with these words is what this CLI makes of a 401 during `login`.
    assert out.returncode == 1 and "Unauthorized: No credentials provided or are invalid." in out.stderr
    assert "pul-wrong" not in "".join(f.read_text() for f in (user.home / ".pulumi").glob("credentials.json"))


def test_the_whole_life_of_a_stack(cli, api, stack, project):
    cli.write(programs.secrets(project))
    # Signed in by the command, as a user would: no token in the environment of what follows.
    token = cli.environment.pop("PULUMI_ACCESS_TOKEN")
    url = cli.environment.pop("PULUMI_BACKEND_URL")
    cli.run("login", url, env={"PULUMI_ACCESS_TOKEN": token})
    cli.run("stack", "init", stack)
    cli.run("config", "set", "plain", "visible")
    cli.run("config", "set", "--secret", "password", "hunter2-of-the-test")
    assert "hunter2" not in (cli.project / "Pulumi.dev.yaml").read_text()
    assert cli.run("config", "get", "password").stdout.strip() == "hunter2-of-the-test"

    shown = cli.run("preview").stdout
    assert "+ 3 to create" in shown or "3 to create" in shown
    assert cli.history() == []

    up = cli.up().stdout
    assert "created" in up and "hunter2" not in up
    assert cli.outputs() == {"hidden": "[secret]", "shown": "visible"}
    assert cli.outputs("--show-secrets") == {"hidden": "hunter2-of-the-test", "shown": "visible"}

    assert "unchanged" in cli.up("--expect-no-changes").stdout
    cli.run("refresh", "--yes", "--expect-no-changes")

    exported, shown_state = cli.export(), cli.export("--show-secrets")
    assert "hunter2" in json.dumps(shown_state)
    assert "hunter2" not in json.dumps(exported)
    kinds = sorted(r["type"] for r in exported["deployment"]["resources"])
    assert kinds.count("pulumi:index:Stash") == 2 and not exported["deployment"].get("pending_operations")
    (cli.project / "state.json").write_text(json.dumps(exported))
    cli.run("stack", "import", "--file", "state.json")
    # The CLI seals secrets anew on its way through an import; all else, and what they say, stays.
    assert cli.export("--show-secrets")["deployment"]["resources"] == shown_state["deployment"]["resources"]
    assert cli.outputs("--show-secrets")["hidden"] == "hunter2-of-the-test"

    history = cli.history()
    assert [h["kind"] for h in history] == ["import", "refresh", "update", "update"], history
    assert all(h["result"] == "succeeded" for h in history)
    assert history[-1]["resourceChanges"] == {"create": 3}

    refused = cli.run("stack", "rm", "--yes", expect=None)
    assert refused.returncode != 0 and "still has resources" in refused.stderr
    cli.run("destroy", "--yes")
    assert not cli.export()["deployment"].get("resources")
    cli.run("stack", "rm", "--yes")
    api.refused(404, "GET", path_of(stack))
    gone = cli.run("stack", "select", stack, expect=None)
    assert gone.returncode == 6 or "no stack named" in gone.stderr


def test_without_journaling(cli, stack, project):
    """Older clients upload whole checkpoints."""
    env = {"PULUMI_DISABLE_JOURNALING": "true"}
    cli.write(programs.secrets(project))
    cli.run("stack", "init", stack)
    cli.run("config", "set", "--secret", "password", "p")
    cli.up(env=env)
    assert cli.outputs("--show-secrets")["hidden"] == "p"
    cli.run("destroy", "--yes", env=env)


def test_stack_reference(cli, dev, stack, project, tmp_path):
    cli.write(programs.secrets(project))
    cli.run("stack", "init", stack)
    cli.run("config", "set", "--secret", "password", "crossing")
    cli.run("config", "set", "plain", "open")
    cli.up()
    reader = Pulumi(tmp_path, dev.url, dev.token, name="reader")
    reader.write(programs.reference(f"{project}-reader", stack))
    reader.run("stack", "init", f"acme/{project}-reader/dev")
    reader.up()
    assert reader.outputs() == {"hidden": "[secret]", "shown": "open"}
    assert reader.outputs("--show-secrets")["hidden"] == "crossing"


def test_changes(cli, stack, project):
    cli.write(programs.stash(project, value="one"))
    cli.run("stack", "init", stack)
    cli.up()
    cli.write(programs.yaml(project, "other:\n  type: pulumi:Stash\n  properties:\n    input: two", "value: ${other.output}"))
    out = cli.up().stdout
    assert "1 created" in out and "1 deleted" in out
    assert cli.outputs() == {"value": "two"}
    assert len(cli.export("--version", "1")["deployment"]["resources"]) >= 2
    assert cli.history()[0]["version"] == 2


def test_a_program_that_fails_keeps_what_it_made(cli, stack, project):
    cli.write(programs.failing(project))
    cli.run("stack", "init", stack)
    out = cli.run("up", "--yes", "--skip-preview", expect=None)
    assert out.returncode != 0
    assert cli.history()[0]["result"] == "failed"
    cli.write(programs.stash(project))
    cli.up()
    cli.run("destroy", "--yes")


def test_listing_tags_and_rename(cli, stack, project):
    cli.write(programs.stash(project))
    cli.run("stack", "init", stack)
    cli.run("stack", "tag", "set", "team", "blue")
    assert "blue" in cli.run("stack", "tag", "ls").stdout
    listed = cli.json("stack", "ls", "--json")
    assert any(s["name"].endswith("dev") for s in listed)
    cli.run("config", "set", "--secret", "later", "kept")
    cli.up()
    cli.run("stack", "rename", "prod")
    assert cli.run("config", "get", "later").stdout.strip() == "kept"
    cli.up()
    assert "prod" in cli.run("stack", "ls").stdout


def test_many_resources(cli, stack, project):
    cli.write(programs.many(project, 120, 2048))
    cli.run("stack", "init", stack)
    cli.up("--skip-preview")
    assert sum(r["type"] == "pulumi:index:Stash" for r in cli.export()["deployment"]["resources"]) == 120
    cli.run("destroy", "--yes", "--skip-preview")


def test_a_second_update_meets_the_conflict(cli, api, dev, stack, project):
    cli.write(programs.stash(project))
    cli.run("stack", "init", stack)
    made = api.post(f"{path_of(stack)}/update", {"name": "p", "runtime": "yaml", "options": {}, "metadata": {}, "config": {}})
    api.post(f"{path_of(stack)}/update/{made['updateID']}", {"journalVersion": 1})
    out = cli.run("up", "--yes", "--skip-preview", expect=None)
    assert out.returncode != 0 and "[409] Conflict: Another update is currently in progress." in out.stderr + out.stdout
    cli.run("cancel", "--yes")
    cli.up()


def test_member_of_another_organization_sees_nothing(cli, dev, stack, project, tmp_path):
    cli.write(programs.stash(project))
    cli.run("stack", "init", stack)
    dev.admin("org", "add", f"org-{project}")
    other = dev.user(f"other-{project}", org=f"org-{project}")
    stranger = Pulumi(tmp_path, dev.url, other.token, name="stranger")
    stranger.write(programs.stash(project))
    out = stranger.run("stack", "select", stack, expect=None)
    assert out.returncode != 0 and "no stack named" in out.stderr
    assert stranger.json("stack", "ls", "--all", "--json") == []
