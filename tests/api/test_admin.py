"""`slipway admin`: the first user of an empty server, and how it refuses."""
import json
import re
import shutil
import stat
import subprocess

import pytest
from helpers import process, where
from helpers.waiting import wait_until


def test_the_first_steps_of_a_server(own):
    server = own(command="serve")
    said = "\n".join(line for line in server.lines if line) + server.stderr()
    assert "slipway admin user add" in said, said
    for arguments in (["org", "add", "acme"], ["user", "add", "operator", "--org", "acme", "--role", "admin"]):
        assert re.fullmatch(r"\S+\n", server.admin(*arguments).stdout), "the id, and nothing else"
    token = server.admin("token", "create", "--user", "operator", "--description", "laptop").stdout
    assert token.count("\n") == 1 and token.startswith("pul-")
    api = server.api(token.strip())
    assert api.get("/api/user")["githubLogin"] == "operator"
    pool = server.admin("pool", "create", "--org", "acme", "builders").stdout
    assert pool.count("\n") == 1
    assert [p["name"] for p in api.get("/api/orgs/acme/agent-pools")["agentPools"]] == ["builders"]
    assert server.api(pool.strip()).call("GET", "/api/deployments/poll").status_code == 204


def test_a_user_may_join_further_organizations(own):
    server = own(command="serve")
    for org in ("one-org", "two-org"):
        server.admin("org", "add", org)
        server.admin("user", "add", "operator", "--org", org)
    api = server.api(server.admin("token", "create", "--user", "operator").stdout.strip())
    assert {o["githubLogin"] for o in api.get("/api/user")["organizations"]} >= {"one-org", "two-org"}


def test_a_user_who_joins_again_keeps_the_role(own):
    server = own(command="serve")
    server.admin("org", "add", "acme")

    def role(*arguments):
        return json.loads(server.admin("user", "add", "operator", "--org", "acme", "--json", *arguments).stdout)["role"]

    assert role("--role", "admin") == "admin"
    server.user("second", role="admin")
    assert role() == "admin"
    assert server.api(server.admin("token", "create", "--user", "operator").stdout.strip()).get("/api/user")["organizations"][-1]["role"] == "admin"
    assert role("--role", "member") == "member" == role()


def test_json(own):
    server = own(command="serve")
    assert json.loads(server.admin("org", "add", "acme", "--json").stdout)
    server.admin("user", "add", "operator")
    whole = json.loads(server.admin("token", "create", "--user", "operator", "--json").stdout)
    assert any(str(v).startswith("pul-") for v in whole.values())


def test_refusals(own):
    server = own(command="serve")
    server.admin("org", "add", "acme")
    for arguments in (["org", "add", "acme"], ["user", "add", "x y"], ["token", "create", "--user", "nobody"],
                      ["pool", "create", "--org", "nowhere", "p"], ["user", "add", "operator", "--org", "nowhere"]):
        run = server.admin(*arguments, check=False)
        assert run.returncode == 1 and run.stderr.strip() and not run.stdout, (arguments, run)
        assert "Sanitizer" not in run.stderr
    for arguments in ([], ["nonsense"], ["org"], ["org", "add"], ["org", "add", "a", "b"], ["token", "create"], ["user", "add", "operator", "--role", "king"],
                      ["org", "add", "x", "--no-such-flag"]):
        run = server.admin(*arguments, check=False)
        assert run.returncode == 2 and run.stderr.strip() and not run.stdout, (arguments, run)


def test_without_a_server(tmp_path):
    (tmp_path / "data").mkdir()
    run = process.run_slipway(tmp_path, "admin", "org", "add", "acme", "--data", tmp_path / "data")
    assert run.returncode == 1 and f"{tmp_path}/data/slipway.sock" in run.stderr
    assert "localhost" not in run.stderr, "there is no network in it"
    run = process.run_slipway(tmp_path, "admin", "org", "add", "acme", "--socket", tmp_path / "other.sock")
    assert run.returncode == 1 and f"{tmp_path}/other.sock" in run.stderr


def test_who_may_use_the_control_socket(own):
    server = own(command="serve")
    socket = server.data / "slipway.sock"
    assert stat.S_ISSOCK(socket.stat().st_mode) and socket.stat().st_mode & 0o077 == 0
    key = [f for f in server.data.iterdir() if "key" in f.name and f.is_file()]
    assert key and all(f.stat().st_mode & 0o777 == 0o600 for f in key)


def test_the_socket_of_a_killed_server_is_taken_over(own, tmp_path):
    server = own(command="serve", folder=tmp_path / "a")
    server.admin("org", "add", "acme")
    server.kill()
    again = own(command="serve", folder=tmp_path / "a")
    again.admin("org", "add", "beta")
    assert again.admin("org", "add", "acme", check=False).returncode == 1


def test_two_servers_on_one_folder(own, tmp_path):
    own(command="serve", folder=tmp_path / "a")
    second = process.Server(tmp_path / "b", command="serve", data=tmp_path / "a" / "data", wait=False)
    assert second.process.wait(30) == 1
    second._end()
    assert "already" in second.stderr() or "in use" in second.stderr() or "another" in second.stderr(), second.stderr()


def test_help_everywhere(tmp_path):
    for verb in ([], ["dev"], ["serve"], ["agent"], ["admin"], ["admin", "org"], ["admin", "org", "add"], ["admin", "user", "add"],
                 ["admin", "token", "create"], ["admin", "pool", "create"], ["config"]):
        run = process.run_slipway(tmp_path, *verb, "--help")
        assert run.returncode == 0 and "slipway" in run.stdout, verb
        assert max(map(len, run.stdout.splitlines())) <= 120
    for flag in ("--listen", "--data", "--isolation", "--concurrency", "--runner-timeout", "--queue-expiry", "--lease"):
        assert flag in process.run_slipway(tmp_path, "dev", "--help").stdout


def test_version(tmp_path):
    run = process.run_slipway(tmp_path, "--version")
    assert run.returncode == 0 and run.stdout.startswith("slipway ")


def test_usage_errors(tmp_path):
    for arguments in (["nonsense"], ["serve", "--no-such-flag"], ["serve", "--listen"], ["serve", "--listen", "nonsense", "--data", "d"],
                      ["dev", "--concurrency", "0", "--data", "d"], ["dev", "--concurrency", "x", "--data", "d"], ["dev", "--lease", "5 parsecs", "--data", "d"],
                      ["dev", "--isolation", "wishes", "--data", "d"], ["agent"]):
        run = process.run_slipway(tmp_path, *arguments)
        assert run.returncode == 2 and run.stderr.strip(), (arguments, run)


def test_an_engine_that_is_not_there_is_said(own, tmp_path):
    """It may come later: the agent is started again, and each time says what to do."""
    server = own("--isolation", "docker", "--docker-host", f"unix://{tmp_path}/no-engine")
    wait_until(lambda: f"docker does not work here (start a container engine, or say where it listens with --docker-host): the container engine at "
                       f"unix://{tmp_path}/no-engine" in server.stderr(), 30, "the agent's words")


@pytest.fixture
def without_bubblewrap(tmp_path):
    """A PATH of everything but bwrap."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("git", "sh", "bash", "env", "tar"):
        (folder / name).symlink_to(shutil.which(name))
    return {"PATH": f"{where.tools()}:{folder}"}


def test_auto_without_bubblewrap_warns_in_dev(own, without_bubblewrap):
    server = own(env=without_bubblewrap)
    assert "process" in server.wait_stderr(r"warn .*isolation.*", 30).group(0)
    server.wait_stderr("polls")


@pytest.mark.parametrize("isolation", ["auto", "bubblewrap"])
def test_an_agent_does_not_run_without_a_sandbox_unasked(own, tmp_path, without_bubblewrap, isolation):
    server = own(command="serve")
    server.admin("org", "add", "acme")
    secret = tmp_path / "token"
    secret.write_text(server.admin("pool", "create", "--org", "acme", "p").stdout)
    secret.chmod(0o600)
    run = process.run_slipway(tmp_path, "agent", "--server", server.url, "--token-file", secret, "--isolation", isolation,
                              "--work", tmp_path / "work", env=without_bubblewrap)
    assert run.returncode == 1 and "bubblewrap" in run.stderr


def test_a_port_that_is_taken(own, tmp_path):
    server = own(command="serve")
    run = process.run_slipway(tmp_path, "serve", "--data", tmp_path / "other", "--listen", f"127.0.0.1:{server.port}")
    assert run.returncode == 1 and str(server.port) in run.stderr


def test_executor_alone():
    from helpers import where
    run = subprocess.run([where.build() / "slipway-executor"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert run.returncode != 0 and run.stderr.strip()
