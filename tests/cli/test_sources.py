"""Where programs come from: branches, commits, folders, passwords, keys; and the isolation they run in."""
import base64
import re

import pytest
from helpers import programs


@pytest.fixture
def path(api, stack):
    return api.create_stack(stack)


def plain(api, stack):
    return api.outputs(stack)["plain"]


def run(api, stack, git, expect="succeeded", **more):
    return api.run(stack, "update", expect=expect, sourceContext={"git": git}, **more)


@pytest.mark.parametrize("branch", ["feature/x", "refs/heads/feature/x"])
def test_branch(api, stack, path, repo, project, branch):
    repo.commit(programs.stash(project, "main"))
    repo.commit(programs.stash(project, "feature"), branch="feature/x")
    run(api, stack, {"repoUrl": repo.url, "branch": branch})
    assert plain(api, stack) == "feature"


def test_commit(api, stack, path, repo, project):
    old = repo.commit(programs.stash(project, "old"))
    repo.commit(programs.stash(project, "new"))
    _, log = run(api, stack, {"repoUrl": repo.url, "commit": old})
    assert plain(api, stack) == "old" and old in log


def test_default_branch(api, stack, path, repo, project):
    repo.commit(programs.stash(project, "default"))
    run(api, stack, {"repoUrl": repo.url})
    assert plain(api, stack) == "default"


def test_folder(api, stack, path, repo, project):
    repo.commit({f"infra/prod/{k}": v for k, v in programs.stash(project, "deep").items()})
    run(api, stack, {"repoUrl": repo.url, "branch": "main", "repoDir": "infra/prod"})
    assert plain(api, stack) == "deep"


def test_http_with_a_password(api, stack, path, repo, project, http_git):
    repo.commit(programs.stash(project, "over-http"))
    auth = {"basicAuth": {"userName": http_git.user, "password": {"secret": http_git.password}}}
    _, log = run(api, stack, {"repoUrl": http_git.url(repo), "branch": "main", "gitAuth": auth})
    assert plain(api, stack) == "over-http"
    assert http_git.password not in log
    assert any(header == http_git.basic for _, header in http_git.requests)
    assert not any(http_git.password in url for url, _ in http_git.requests)


def test_http_with_an_access_token(api, stack, path, repo, project, http_git):
    repo.commit(programs.stash(project, "by-token"))
    token = "token-of-a-robot"

    def has_the_token_as_password(header):
        return bool(header) and base64.b64decode(header.split()[1]).decode().split(":", 1)[1] == token

    http_git.accepts = has_the_token_as_password
    _, log = run(api, stack, {"repoUrl": http_git.url(repo), "branch": "main", "gitAuth": {"accessToken": {"secret": token}}})
    assert token not in log and plain(api, stack) == "by-token"


def test_http_with_a_wrong_password(api, stack, path, repo, project, http_git):
    repo.commit(programs.stash(project))
    auth = {"basicAuth": {"userName": http_git.user, "password": {"secret": "wrong-password"}}}
    done, log = run(api, stack, {"repoUrl": http_git.url(repo), "branch": "main", "gitAuth": auth}, expect="failed")
    assert next(s for s in done["jobs"][0]["steps"] if s["name"] == "Get source")["status"] == "failed"
    assert "uthentication" in log and "wrong-password" not in log


def test_ssh_with_a_key(api, stack, path, repo, project, ssh_git):
    repo.commit(programs.stash(project, "over-ssh"))
    _, log = run(api, stack, {"repoUrl": ssh_git.url(repo), "branch": "main", "gitAuth": {"sshAuth": {"sshPrivateKey": {"secret": ssh_git.key}}}})
    assert plain(api, stack) == "over-ssh"
    assert "PRIVATE KEY" not in log


def test_ssh_with_a_wrong_key(api, stack, path, repo, project, ssh_git):
    repo.commit(programs.stash(project))
    done, log = run(api, stack, {"repoUrl": ssh_git.url(repo), "branch": "main", "gitAuth": {"sshAuth": {"sshPrivateKey": {"secret": ssh_git.wrong_key}}}},
                    expect="failed")
    assert "ermission denied" in log


def test_credentials_of_the_source_do_not_enter_the_run(api, stack, path, repo, project, http_git):
    repo.commit(programs.stash(project))
    auth = {"basicAuth": {"userName": http_git.user, "password": {"secret": http_git.password}}}
    look = "grep -rqs s3cret-of-http . /proc/self/environ ~ /tmp && echo LEAKED || echo clean; git remote -v || true; cat .git/config || true"
    _, log = run(api, stack, {"repoUrl": http_git.url(repo), "branch": "main", "gitAuth": auth}, operationContext={"preRunCommands": [look]})
    assert "\nclean\n" in log and "\nLEAKED\n" not in log


def test_a_git_that_was_killed_is_tried_again(own, stack, repo, project, tmp_path):
    """It leaves its locks behind: the next try begins with an empty folder."""
    import shutil
    from helpers import where
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(f"""#!/bin/sh
case " $* " in *" fetch "*)
    if mkdir {tmp_path}/once 2>/dev/null; then
        : > "$2/.git/shallow.lock"
        kill -9 $$
    fi
esac
exec {shutil.which("git", path=where.path())} "$@"
""")
    fake.chmod(0o755)
    server = own("--isolation", "process", env={"PATH": f"{fake.parent}:{where.path()}"})
    api = server.api()
    api.create_stack(stack)
    repo.commit(programs.stash(project))
    _, log = run(api, stack, {"repoUrl": repo.url, "branch": "main"})
    assert log.count("Clone failed; retrying") == 1, log


def test_submodules(api, stack, path, repo, project, tmp_path):
    from helpers.git import Repository
    inner = Repository(tmp_path / "inner", "part")
    inner.commit({"part.txt": "part\n"})
    repo.commit(programs.stash(project, "with-part"))
    repo.git("-c", "protocol.file.allow=always", "submodule", "add", "--quiet", inner.url, "part")
    repo.commit({})
    _, log = run(api, stack, {"repoUrl": repo.url, "branch": "main"}, operationContext={"preRunCommands": ["cat part/part.txt"]})
    assert "\npart\n" in log


def test_hooks_and_attributes_of_a_repository_do_not_run_outside(api, stack, path, repo, project, tmp_path):
    owned = tmp_path / "owned"
    repo.commit({**programs.stash(project), ".gitattributes": "* filter=evil\n", ".lfsconfig": f"[lfs]\nurl = file:///{owned}\n",
                 ".gitmodules": f'[submodule "x"]\n path = x\n url = ext::sh -c "touch {owned}"\n'})
    run(api, stack, {"repoUrl": repo.url, "branch": "main"})
    assert not owned.exists()


# ---- isolation ---------------------------------------------------------------------------------------------------
def test_sandbox(api, bubblewrap, stack, path, repo, project, dev):
    """The default of `dev` on a machine with bubblewrap: what the run must not see, it does not see."""
    repo.commit(programs.stash(project))
    look = ["echo pid=$$ pids=$(ls -d /proc/[0-9]* | wc -l)", f"ls {dev.data} && echo DATA-SEEN || echo data-hidden",
            "ls -A ~ /tmp; touch /etc/x && echo ETC-WRITTEN || echo etc-read-only; id -u; hostname", "cat /proc/1/comm",
            f"cat {dev.data}/admin-token && echo TOKEN-SEEN || echo token-hidden"]
    done, log = run(api, stack, {"repoUrl": repo.url, "branch": "main"}, operationContext={"preRunCommands": look})
    assert "\ndata-hidden\n" in log and "\netc-read-only\n" in log and "\ntoken-hidden\n" in log, log
    assert int(re.search(r"pids=(\d+)", log).group(1)) < 20
    setup = log.split("== Setup\n")[1].split("\n== ")[0]
    assert "bubblewrap" in setup, setup


def test_process_isolation_says_so(own, stack, repo, project):
    server = own("--isolation", "process")
    api = server.api()
    api.create_stack(stack)
    repo.commit(programs.stash(project))
    _, log = run(api, stack, {"repoUrl": repo.url, "branch": "main"})
    assert "process" in log.split("== Setup\n")[1].split("\n== ")[0]


def test_nothing_is_left_behind(own, stack, repo, project):
    """Work folders and processes of a run are gone when it ended, also when its command left a child behind."""
    from helpers.waiting import wait_until
    server = own()
    api = server.api()
    api.create_stack(stack)
    repo.commit(programs.stash(project))
    before = len(server.descendants())
    _, log = run(api, stack, {"repoUrl": repo.url, "branch": "main"},
                 operationContext={"preRunCommands": ["(sleep 4321 >/dev/null 2>&1 &) ; echo left", "setsid sleep 4322 >/dev/null 2>&1 & echo left"]})
    wait_until(lambda: len(server.descendants()) <= before, 20, "the run's processes to be gone")
    import subprocess
    assert "432" not in "".join(line for line in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout.splitlines()
                                if line.startswith("sleep 432"))


@pytest.mark.parametrize("file", ["$PULUMI_ENV", "Pulumi.yaml"])
def test_a_pipe_where_a_file_should_be(api, stack, path, repo, project, file):
    """Nobody writes to it: the executor does not wait for that."""
    repo.commit(programs.stash(project))
    made = api.deploy(stack, "preview", sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}},
                      operationContext={"preRunCommands": [f"rm -f {file}; mkfifo {file}"]})
    assert api.wait_status(stack, made["id"], timeout=20)["status"] == "failed"
    assert "not a regular file" in api.log(stack, made["id"])


def test_node_in_a_run(own, api, stack, repo, project):
    """A Node program with its dependencies in the repository's own way: here linked, because nothing is downloaded in tests."""
    from helpers import where
    server = own("--isolation", "process")
    api = server.api()
    api.create_stack(stack)
    repo.commit(programs.node(project, 'const kept = new pulumi.Stash("kept", { input: "from-node" }); exports.value = kept.output;'))
    done, _ = api.run(stack, "update", sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}},
                      operationContext={"preRunCommands": [f"ln -s {where.node_sdk()}/node_modules node_modules"],
                                        "options": {"skipInstallDependencies": True}})
    assert api.outputs(stack) == {"value": "from-node"}


def test_dependencies_are_installed(own, stack, repo, project):
    """The step `Download dependencies` runs npm in the program's folder; the package is a folder of the repository."""
    server = own("--isolation", "process")
    api = server.api()
    api.create_stack(stack)
    files = programs.node(project, 'exports.value = require("local-part").value;', head="")
    files["package.json"] = '{"name": "p", "private": true, "main": "index.js", "dependencies": {"local-part": "file:./part"}}\n'
    files["part/package.json"] = '{"name": "local-part", "version": "1.0.0", "main": "index.js"}\n'
    files["part/index.js"] = 'exports.value = "from-a-dependency";\n'
    repo.commit(files)
    made = api.deploy(stack, "preview", sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}})
    done = api.wait_status(stack, made["id"])
    steps = {s["name"]: s["status"] for s in done["jobs"][0]["steps"]}
    assert steps["Download dependencies"] == "succeeded", api.log(stack, made["id"])


def test_dependencies_of_python_are_installed(api, bubblewrap, stack, path, repo, project):
    """pip into an environment of the program's own; the package is a wheel of the repository, nothing is downloaded."""
    import io
    import zipfile
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as z:
        z.writestr("local_part.py", 'value = "from-a-wheel"\n')
        z.writestr("local_part-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: local-part\nVersion: 1.0\n")
        z.writestr("local_part-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr("local_part-1.0.dist-info/RECORD", "")
    name = "local_part-1.0-py3-none-any.whl"
    (repo.tree / name).write_bytes(wheel.getvalue())
    repo.commit({"Pulumi.yaml": f"name: {project}\nruntime:\n  name: python\n  options:\n    virtualenv: venv\n",
                 "__main__.py": "import local_part\n", "requirements.txt": f"./{name}\n"})
    # The tests have no language host for Python: what counts is the step before it.
    made = api.deploy(stack, "preview", sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}})
    done = api.wait_status(stack, made["id"])
    steps = {s["name"]: s["status"] for s in done["jobs"][0]["steps"]}
    log = api.log(stack, made["id"])
    assert steps["Download dependencies"] == "succeeded" and "local-part" in log, log


def test_dependencies_that_cannot_be_installed(own, stack, repo, project):
    server = own("--isolation", "process")
    api = server.api()
    api.create_stack(stack)
    files = programs.node(project, "", head="")
    files["package.json"] = '{"name": "p", "private": true, "dependencies": {"local-part": "file:./no-such-folder.tgz"}}\n'
    repo.commit(files)
    done, log = api.run(stack, "preview", expect="failed", sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}})
    steps = {s["name"]: s["status"] for s in done["jobs"][0]["steps"]}
    assert steps["Download dependencies"] == "failed" and "no-such-folder.tgz" in log, log


def test_a_long_log(api, stack, path, repo, project):
    repo.commit(programs.stash(project))
    done, log = run(api, stack, {"repoUrl": repo.url, "branch": "main"}, operationContext={"preRunCommands": ["seq 1 60000"]}, timeout=180)
    numbers = [line for line in log.splitlines() if line.isdigit()]
    assert numbers[-60000:] == [str(n) for n in range(1, 60001)]
