"""Moving in and out with the real CLI: from its own file backend, from another service, to files, and from a backup."""
import json
import shutil
import subprocess
import threading

import pytest
from helpers import process, programs, where
from helpers.api import path_of
from helpers.pulumi import Pulumi


@pytest.fixture
def here(own):
    """The server that takes over: (server, api)."""
    server = own(command="serve")
    server.admin("org", "add", "acme")
    return server, server.user("operator", role="admin")


def take(server, url, *options, expect=0, token=None):
    """`slipway admin import` with its lines."""
    done = subprocess.run([where.slipway(), "admin", "import", "--from", url, "--data", str(server.data), *map(str, options)],
                          capture_output=True, text=True, timeout=120, env=process.environment(server.folder / "home", PULUMI_ACCESS_TOKEN=token))
    assert done.returncode == expect, (done.returncode, done.stdout, done.stderr)
    return done


def file_user(tmp_path, **env):
    """A CLI that is signed in to a folder, with a passphrase."""
    backend = tmp_path / "backend"
    backend.mkdir(exist_ok=True)
    user = Pulumi(tmp_path, f"file://{backend}", name="before")
    user.environment.update({"PULUMI_CONFIG_PASSPHRASE": "a phrase of the test", **env})
    return user, backend


def signed_in(user, server, token):
    """The same project, home and passphrase, on the new server."""
    user.environment.update(PULUMI_BACKEND_URL=server.url, PULUMI_ACCESS_TOKEN=token)
    return user


def short(history):
    return [(h["version"], h["kind"], h["result"], h.get("resourceChanges")) for h in history]


@pytest.mark.parametrize("env", [{}, {"PULUMI_DIY_BACKEND_GZIP": "true"}, {"PULUMI_DIY_BACKEND_LEGACY_LAYOUT": "true", "PULUMI_DIY_BACKEND_IGNORE_DEPRECATION_ERROR": "true"}], ids=["plain", "gzip", "legacy"])
def test_from_a_folder(here, tmp_path, project, env):
    server, api = here
    user, backend = file_user(tmp_path, **env)
    user.write(programs.secrets(project))
    user.run("stack", "init", "dev")
    user.run("config", "set", "--secret", "password", "hunter2-of-the-test")
    user.run("config", "set", "--path", "deep.list[0]", "a")
    user.run("config", "set", "--path", "deep.hidden", "--secret", "very")
    user.up("--message", "the first")
    first = user.export()
    user.run("config", "set", "plain", "visible")
    user.up()
    before, shown, history = user.export(), user.export("--show-secrets"), short(user.history())
    done = take(server, f"file://{backend}", "--org", "acme")
    assert f"acme/{project}/dev: 2 versions taken\n  its secrets are sealed by the provider 'passphrase', and stay so\n" in done.stdout
    user = signed_in(user, server, api.token)
    user.run("stack", "select", f"acme/{project}/dev")
    assert user.export() == before and user.export("--show-secrets") == shown
    assert user.export("--version", "1") == first
    # The CLI counts no versions in a folder.
    assert [h[1:] for h in short(user.history())] == [h[1:] for h in history] and [h["version"] for h in user.history()] == [2, 1]
    assert user.history()[-1]["message"] == "the first"
    told = user.json("stack", "history", "--json", "--show-secrets")[0]["config"]
    assert told[f"{project}:password"]["value"] == "hunter2-of-the-test" and told[f"{project}:deep"]["objectValue"] == {"hidden": "very", "list": ["a"]}
    # Once more takes nothing; what is done here from now on is left alone.
    assert f"acme/{project}/dev: 0 versions taken, 2 here before" in take(server, f"file://{backend}", "--org", "acme").stdout
    user.up("--expect-no-changes")
    assert user.outputs("--show-secrets") == {"hidden": "hunter2-of-the-test", "shown": "nothing"}
    assert "0 versions taken, 2 here before" in take(server, f"file://{backend}", "--org", "acme").stdout
    assert len(user.history()) == 3
    assert server.admin("verify").stdout == ""
    user.run("destroy", "--yes")
    user.run("stack", "rm", "--yes")


def test_a_folder_that_goes_on(here, tmp_path, project):
    """Taken again and again while people still work there: each time what is new; then somebody works here, too."""
    server, api = here
    user, backend = file_user(tmp_path)
    user.write(programs.stash(project, "one"))
    user.run("stack", "init", "dev")
    user.run("stack", "tag", "set", "team", "one of ours")
    take(server, f"file://{backend}", "--org", "acme")
    path = path_of(f"acme/{project}/dev")
    assert api.get(path)["tags"]["team"] == "one of ours" and api.get(path)["version"] == 0
    user.up()
    assert "1 version taken" in take(server, f"file://{backend}", "--org", "acme").stdout
    user.write(programs.stash(project, "two"))
    user.up()
    # An import leaves no history there: the state alone has changed.
    (tmp_path / "state.json").write_text(json.dumps(user.export()).replace('"two"', '"three"'))
    user.run("stack", "import", "--file", tmp_path / "state.json")
    assert "2 versions taken, 1 here before" in take(server, f"file://{backend}", "--org", "acme").stdout
    assert [(v["version"], v["kind"]) for v in api.get(f"{path}/versions")["versions"]] == [(3, "import"), (2, "update"), (1, "update")]
    assert api.get(f"{path}/export") == user.export()
    assert "0 versions taken, 2 here before" in take(server, f"file://{backend}", "--org", "acme").stdout
    user.write(programs.stash(project, "four"))
    user.up()
    assert "1 version taken, 2 here before" in take(server, f"file://{backend}", "--org", "acme").stdout
    assert api.get(path)["version"] == 4 and api.get(f"{path}/export") == user.export()
    # Both sides have gone on: what is here stays.
    mine = api.get(f"{path}/export")
    api.post(f"{path}/import", mine)
    user.write(programs.stash(project, "five"))
    user.up()
    done = take(server, f"file://{backend}", "--org", "acme", expect=1)
    assert "NOT TAKEN: Conflict: the stack has been used here" in done.stdout and "1 with a problem" in done.stderr
    assert api.get(f"{path}/export") == mine and api.get(path)["version"] == 5


def test_what_cannot_be_taken_is_said(here, tmp_path, project):
    server, api = here
    user, backend = file_user(tmp_path)
    user.write(programs.stash(project))
    for name in ("good", "broken", "old", "old-history", "locked"):
        user.run("stack", "init", name)
        user.up()
    folder = backend / ".pulumi" / "stacks" / project
    (folder / "broken.json").write_text('{"version":3,')
    for f in (backend / ".pulumi" / "history" / project / "broken").iterdir():
        f.unlink()
    (folder / "old.json").write_text(json.dumps({"version": 2, "checkpoint": {"stack": "old", "latest": {}}}))
    next((backend / ".pulumi" / "history" / project / "old-history").glob("*.checkpoint.json")).unlink()
    lock = backend / ".pulumi" / "locks" / "organization" / project / "locked" / "x.json"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text("{}")
    (backend / ".pulumi" / "stacks" / "forgotten.json").write_text("{}")
    (folder / "with space.json").write_text("{}")
    done = take(server, f"file://{backend}", "--org", "acme", expect=1)
    part = {block.split(":")[0].split("/")[-1]: block for block in done.stdout.split(f"acme/{project}/") if block}
    assert "broken: 0 versions taken" in done.stdout and "NOT TAKEN" in part["broken"] and "broken.json" not in part["good"]
    assert "has schema version 2, of an old CLI" in part["old"]
    assert part["good"] == "good: 1 version taken\n  its secrets are sealed by the provider 'passphrase', and stay so\n"
    assert "the state of version 1 is not kept there" in part["old-history"] and "2 versions taken" in part["old-history"]
    assert "is locked there" in part["locked"] and "1 version taken" in part["locked"]
    assert "NOT TAKEN" in part["with space"]
    assert "forgotten.json: not taken" in done.stderr and "5 stacks" not in done.stderr and "3 with a problem" in done.stderr
    api.refused(404, "GET", f"{path_of(f'acme/{project}/old-history')}/export/1", names="no longer kept")
    assert api.get(f"{path_of(f'acme/{project}/old-history')}/export")["deployment"]["resources"]


def service(own, name):
    server = own(command="serve")
    server.admin("org", "add", "acme")
    return server, server.user(name, role="admin")


def test_from_another_service(here, own, tmp_path, project):
    server, api = here
    there, other = service(own, "operator")
    server.admin("user", "add", "second", "--org", "acme")
    stack = f"acme/{project}/dev"
    user = Pulumi(tmp_path, there.url, other.token)
    user.write(programs.secrets(project))
    user.run("stack", "init", stack)
    user.run("config", "set", "--secret", "password", "hunter2-of-the-test")
    user.run("config", "set", "--path", "deep.hidden", "--secret", "very")
    user.run("config", "set", "plain", "visible")
    user.up("--message", "the first")
    user.run("config", "set", "plain", "changed")
    user.up()
    other.settings(stack, {"sourceContext": {"git": {"repoUrl": "https://example.invalid/x.git"}}})
    other.create_stack(f"acme/{project}/empty")
    history, shown = short(user.history()), user.export("--show-secrets")
    done = take(server, there.url + "/", token=other.token)
    assert f"{stack}: 2 versions taken" in done.stdout and "deployment settings are not taken" in done.stdout
    assert f"acme/{project}/empty: 0 versions taken" in done.stdout and other.token not in done.stdout + done.stderr
    sealed = json.dumps(other.get(path_of(stack) + "/export"))
    there.stop()

    user = signed_in(user, server, api.token)
    user.run("stack", "select", stack)
    assert user.export("--show-secrets")["deployment"]["resources"] == shown["deployment"]["resources"]
    assert user.outputs("--show-secrets") == {"hidden": "hunter2-of-the-test", "shown": "visible"}
    assert short(user.history()) == history and user.history()[1]["message"] == "the first"
    provider = api.get(path_of(stack) + "/export")["deployment"]["secrets_providers"]["state"]
    assert provider == {"url": server.url, "owner": "acme", "project": project, "stack": "dev"}
    assert "hunter2" not in sealed + json.dumps(api.get(path_of(stack) + "/export"))
    # The configuration's secrets are the other service's in the file, and ours after a refresh.
    assert "decrypt" in user.run("config", "get", "password", expect=None).stderr
    user.run("config", "refresh", "--force")
    assert user.run("config", "get", "password").stdout.strip() == "hunter2-of-the-test"
    assert user.run("config", "get", "--path", "deep.hidden").stdout.strip() == "very"
    user.up("--expect-no-changes")
    assert server.admin("verify").stdout == ""
    updates = api.get(path_of(stack) + "/updates?output-type=service")["updates"]
    assert [u["requestedBy"]["githubLogin"] for u in updates] == ["operator"] * 3


def test_into_another_organization(here, own, project, tmp_path):
    server, api = here
    there, other = service(own, "colleague")
    there.admin("org", "add", "theirs")
    there.admin("user", "add", "colleague", "--org", "theirs", "--role", "admin")
    path = other.create_stack(f"theirs/{project}/dev")
    other.post(f"{path}/import", {"version": 3, "deployment": {"manifest": {"time": "2026-01-01T00:00:00Z", "magic": "", "version": ""}}})
    file = tmp_path / "token"
    file.write_text(other.token + "\n")
    done = take(server, there.url, "--token-file", file, expect=1)
    assert "NOT TAKEN: the organization 'theirs' is not here: 'slipway admin org add theirs'" in done.stdout
    done = take(server, there.url, "--token-file", file, "--org", "acme", "--json")
    report = json.loads(done.stdout)
    assert report == {"stacks": [{"stack": f"acme/{project}/dev", "taken": 1, "before": 0, "notes": ["made by colleague, who is no user here"]}]}
    assert api.get(path_of(f"acme/{project}/dev"))["version"] == 1
    assert "token" in take(server, there.url, expect=2).stderr
    assert "Unauthorized" in take(server, there.url, token="pul-wrong", expect=1).stderr


def test_an_import_that_is_killed_goes_on(here, tmp_path, project):
    server, api = here
    user, backend = file_user(tmp_path)
    user.write(programs.stash(project))
    user.run("stack", "init", "dev")
    user.up()
    history = backend / ".pulumi" / "history" / project / "dev"
    for suffix in ("history", "checkpoint"):
        first = next(history.glob(f"*.{suffix}.json"))
        for i in range(40):
            shutil.copy(first, history / f"dev-{2 * 10**18 + i}.{suffix}.json")
    path = path_of(f"acme/{project}/dev")
    command = [where.slipway(), "admin", "import", "--from", f"file://{backend}", "--org", "acme", "--data", str(server.data)]
    seen = 0
    for wait in (0.15, 0.3, 0.45):
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=process.environment(server.folder / "home"))
        try:
            running.wait(wait)
        except subprocess.TimeoutExpired:
            running.kill()
        running.wait()
        answer = api.call("GET", path)
        now = answer.json()["version"] if answer.status_code == 200 else 0
        assert now >= seen
        seen = now
    done = take(server, f"file://{backend}", "--org", "acme")
    assert f"{41 - seen} version" in done.stdout
    assert [v["version"] for v in api.get(f"{path}/versions?pageSize=100")["versions"]] == list(range(41, 0, -1))
    assert len({v["updateID"] for v in api.get(f"{path}/versions?pageSize=100")["versions"]}) == 41


# ---- out, and back ------------------------------------------------------------------------------------------------
def test_export_of_all_goes_into_a_folder_backend(here, own, tmp_path, project):
    server, api = here
    user = Pulumi(tmp_path, server.url, api.token)
    user.write(programs.stash(project, "kept"))
    user.run("stack", "init", f"acme/{project}/dev")
    user.up()
    server.admin("export", tmp_path / "out")
    there, _ = file_user(tmp_path)
    there.write(programs.stash(project, "kept"))
    # The state's secrets are sealed by the server: who takes it elsewhere is signed in there while it is read.
    there.run("login", server.url, env={"PULUMI_ACCESS_TOKEN": api.token, "PULUMI_BACKEND_URL": server.url})
    there.run("stack", "init", "dev")
    there.run("stack", "import", "--file", tmp_path / "out" / "acme" / project / "dev.json")
    assert there.outputs()["value"] == "kept"
    there.up("--expect-no-changes")


def test_a_backup_under_load_is_worked_on(here, own, tmp_path, project):
    """A real CLI updates while the backup is made; another one works on what was restored."""
    server, api = here
    user = Pulumi(tmp_path, server.url, api.token)
    user.write(programs.secrets(project))
    user.run("stack", "init", f"acme/{project}/dev")
    user.run("config", "set", "--secret", "password", "hunter2-of-the-test")
    user.up()
    busy = Pulumi(tmp_path, server.url, api.token, name="busy")
    busy.write(programs.many(project + "-busy", 60))
    busy.run("stack", "init", f"acme/{project}-busy/dev")
    going = threading.Thread(target=lambda: busy.run("up", "--yes", "--skip-preview"))
    going.start()
    backups = 0
    while going.is_alive() or backups == 0:
        server.admin("backup", tmp_path / f"b{backups}")
        backups += 1
    going.join()
    for n in sorted({0, backups // 2, backups - 1}):
        subprocess.run([where.slipway(), "admin", "restore", str(tmp_path / f"b{n}"), "--data", str(tmp_path / f"r{n}" / "data")], check=True,
                       env=process.environment(server.folder / "home"), stdout=subprocess.DEVNULL)
        again = own(command="serve", folder=tmp_path / f"r{n}")
        assert again.admin("verify").stdout == ""
        # The state names the address of the server that was: who restores keeps the address.
        again.stop()
        port = server.port
        server.stop()
        again = own(command="serve", folder=tmp_path / f"r{n}", listen=f"127.0.0.1:{port}")
        server = again
        user.run("refresh", "--yes", "--expect-no-changes")
        assert user.outputs("--show-secrets")["hidden"] == "hunter2-of-the-test"
        busy.run("cancel", "--yes", expect=None)
        busy.run("up", "--yes", "--skip-preview", quiet=False)
        assert busy.outputs()["count"] == 60
