"""Dependencies with the real package managers, and their cache: a second run finds what the first one left. The packages lie in
the repository, so nothing is fetched from anywhere."""
import os
import shutil
import subprocess
import tarfile
import zipfile

import pytest
from helpers import programs, where
from helpers.api import path_of
from helpers.waiting import wait_until


def project(runtime, options=""):
    files = programs.stash("packages")
    text = f"runtime:\n  name: {runtime}\n  options:\n    {options}" if options else f"runtime: {runtime}"
    return files["Pulumi.yaml"].replace("runtime: yaml", text)


class Made:
    """A repository with a project, worked on with the real tools, and a server that runs it."""

    def __init__(self, folder, repo):
        self.repo, self.tree = repo, repo.tree
        self.environment = where.clean_environment(folder, npm_config_cache=folder / "npm", npm_config_update_notifier="false", POETRY_CACHE_DIR=folder / "poetry",
                                                   UV_CACHE_DIR=folder / "uv", YARN_CACHE_FOLDER=folder / "yarn", UV_OFFLINE="1")
        go = shutil.which("go")
        self.environment["PATH"] = f"{where.managers()}:{self.environment['PATH']}" + (f":{os.path.dirname(go)}" if go else "")

    def write(self, files):
        for name, text in files.items():
            file = self.tree / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return self

    def tool(self, *command, cwd=None):
        run = subprocess.run(command, cwd=cwd or self.tree, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, f"{command}: {run.stdout[-2000:]} {run.stderr[-2000:]}"

    def package(self):
        """A package of npm as a file: dep-1.0.0.tgz."""
        folder = self.tree / "package"
        folder.mkdir()
        (folder / "package.json").write_text('{"name":"dep","version":"1.0.0","main":"index.js","bin":{"dep":"index.js"}}')
        (folder / "index.js").write_text("#!/usr/bin/env node\nmodule.exports = 42;\n")
        (folder / "index.js").chmod(0o755)
        with tarfile.open(self.tree / "dep-1.0.0.tgz", "w:gz") as tar:
            tar.add(folder, "package")
        shutil.rmtree(folder)
        return self

    def wheel(self):
        with zipfile.ZipFile(self.tree / "dep-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr("dep.py", "value = 42\n")
            wheel.writestr("dep-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: dep\nVersion: 1.0\n")
            wheel.writestr("dep-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr("dep-1.0.dist-info/RECORD", "dep.py,,\ndep-1.0.dist-info/METADATA,,\ndep-1.0.dist-info/WHEEL,,\ndep-1.0.dist-info/RECORD,,\n")
        return self

    def commit(self):
        self.repo.commit({})
        return self


class Run:
    """One run of the stack. What pulumi says at its end is of no interest: the packages are not Pulumi's."""

    def __init__(self, api, stack, repo, repo_dir="", commands=(), variables=None, cache=True, **more):
        made = api.deploy(stack, "preview", sourceContext={"git": {"repoUrl": repo.url, "branch": "main", "repoDir": repo_dir}}, cacheOptions={"enable": cache},
                          operationContext={"preRunCommands": list(commands), "environmentVariables": variables or {}}, **more)
        self.deployment = api.wait_status(stack, made["id"])
        self.log = api.log(stack, made["id"])
        self.steps = {s["name"]: s["status"] for s in self.deployment["jobs"][0]["steps"]}

    def text(self, step):
        return self.log.split(f"== {step}\n", 1)[1].split("\n== ", 1)[0]

    @property
    def key(self):
        return self.log.split("Key: ", 1)[1].split("\n", 1)[0]


@pytest.fixture
def made(tmp_path, repo):
    return Made(tmp_path / "tools", repo)


@pytest.fixture
def server(own, made):
    """Without a sandbox, which shows nothing of the folder where the managers are."""
    return own("--isolation", "process", env={"PATH": made.environment["PATH"]})


@pytest.fixture
def api(server):
    api = server.api()
    api.create_stack("acme/packages/dev")
    return api


def npm(made):
    made.package().write({"Pulumi.yaml": project("nodejs"), "package.json": '{"name":"x","private":true,"dependencies":{"dep":"file:dep-1.0.0.tgz"}}'})
    made.tool("npm", "install", "--package-lock-only", "--offline")


def yarn(made):
    made.package().write({"Pulumi.yaml": project("nodejs"), "package.json": '{"name":"x","private":true,"dependencies":{"dep":"file:./dep-1.0.0.tgz"}}'})
    made.tool("yarn", "install", "--offline")
    shutil.rmtree(made.tree / "node_modules")


def pnpm(made):
    made.package().write({"Pulumi.yaml": project("nodejs"), "package.json": '{"name":"x","private":true,"packageManager":"pnpm@9.15.9","dependencies":{"dep":"file:dep-1.0.0.tgz"}}'})
    made.tool("pnpm", "install", "--lockfile-only", "--offline")


def pip(made):
    made.wheel().write({"Pulumi.yaml": project("python", "virtualenv: venv"), "requirements.txt": "./dep-1.0-py3-none-any.whl\n"})


def uv(made):
    made.wheel().write({"Pulumi.yaml": project("python", "toolchain: uv"), "pyproject.toml":
                        '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.9"\ndependencies = ["dep"]\n[tool.uv.sources]\ndep = { path = "dep-1.0-py3-none-any.whl" }\n'})
    made.tool("uv", "lock", "--offline")


def poetry(made):
    made.wheel().write({"Pulumi.yaml": project("python", "toolchain: poetry"), "pyproject.toml":
                        '[tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]\npython = ">=3.9"\ndep = { path = "dep-1.0-py3-none-any.whl" }\n'})
    made.tool("poetry", "lock", "--no-interaction")


def go(made):
    proxy = made.tree / "proxy/example.com/dep/@v"
    proxy.mkdir(parents=True)
    (proxy / "list").write_text("v1.0.0\n")
    (proxy / "v1.0.0.info").write_text('{"Version":"v1.0.0"}')
    (proxy / "v1.0.0.mod").write_text("module example.com/dep\n")
    with zipfile.ZipFile(proxy / "v1.0.0.zip", "w") as z:
        z.writestr("example.com/dep@v1.0.0/go.mod", "module example.com/dep\n")
        z.writestr("example.com/dep@v1.0.0/dep.go", "package dep\n")
    made.write({"Pulumi.yaml": project("go"), "go.mod": "module x\n\ngo 1.18\n\nrequire example.com/dep v1.0.0\n", "main.go": 'package main\n\nimport _ "example.com/dep"\n\nfunc main() {}\n'})
    made.environment |= {"GOPROXY": f"file://{made.tree}/proxy", "GONOSUMDB": "*", "GOFLAGS": "-mod=mod", "GOPATH": str(made.tree.parent / "gopath")}
    made.tool("go", "mod", "download")
    made.tool("go", "clean", "-modcache")
    assert (made.tree / "go.sum").exists()


FIND = "find . ~ -name %s 2>/dev/null | head -3 | sed s/^/found:/"
# manager: how the project is made, the command of the step, the file that shows that it was restored, what the log says is restored
MANAGERS = {
    "npm": (npm, "$ npm ci ", "index.js", "tree/node_modules, home/.npm/_cacache"),
    "yarn": (yarn, "$ yarn install --frozen-lockfile", "index.js", "tree/node_modules"),
    "pnpm": (pnpm, "$ pnpm install --frozen-lockfile", "v3", "home/.local/share/pnpm/store"),
    "pip": (pip, "/bin/python -m pip install", "selfcheck", ""),
    "uv": (uv, "$ uv sync", "wheels*", "home/.cache/uv"),
    "poetry": (poetry, "poetry install", "pypoetry", ""),
    "go": (go, "$ go mod download", "dep.go", "home/go/pkg/mod"),
}


@pytest.mark.parametrize("name", list(MANAGERS))
def test_a_manager(made, api, name):
    """Installs; its archive is restored in the next run; another lock file is another key."""
    make, command, file, places = MANAGERS[name]
    if name == "go" and not shutil.which("go"):
        made.write({"Pulumi.yaml": project("go"), "go.mod": "module x\n"}).commit()
        run = Run(api, "acme/packages/dev", made.repo)
        assert "go is not installed where this deployment runs" in run.text("Download dependencies")
        return
    make(made)
    made.commit()
    variables = {"GOPROXY": "file:///$PWD", "GONOSUMDB": "*", "GONOSUMCHECK": "1", "GOFLAGS": "-mod=mod", "UV_OFFLINE": "1", "UV_PYTHON_DOWNLOADS": "never"}
    commands = ['echo "GOPROXY=file://$PWD/proxy" >>$PULUMI_ENV_FILE', FIND % file.replace("*", "\\*")]
    first = Run(api, "acme/packages/dev", made.repo, commands=commands, variables=variables)
    assert first.steps["Download dependencies"] == "succeeded" and command in first.text("Download dependencies"), first.log
    assert first.key.startswith(f"{name}-") and "Nothing to restore" in first.text("Restore cache") and "\nfound:" not in first.text("Pre-run command 2")
    if not places:
        return  # a wheel of the tree is in no cache, and an environment not kept without a sandbox: test_a_virtual_environment
    assert "Uploaded as" in first.text("Save cache"), first.log
    second = Run(api, "acme/packages/dev", made.repo, commands=commands, variables=variables)
    assert f"Restored {places}" in second.text("Restore cache"), second.log
    assert "\nfound:" in second.text("Pre-run command 2"), second.log
    assert second.steps["Download dependencies"] == "succeeded" and "Already cached" in second.text("Save cache"), second.log
    assert second.key == first.key
    if name != "npm":
        return
    assert "$ npm ci --dry-run" in second.text("Download dependencies")
    # One byte more in the lock file.
    lock = made.tree / "package-lock.json"
    lock.write_text(lock.read_text() + "\n")
    made.commit()
    third = Run(api, "acme/packages/dev", made.repo, commands=commands, variables=variables)
    assert third.key != first.key and "Nothing to restore" in third.text("Restore cache")


def test_a_virtual_environment(made, dev, stack):
    """In a sandbox the tree has one path, so the environment is good for the next run, too."""
    pip(made)
    made.commit()
    api = dev.api()
    api.create_stack(stack)
    check = ["ls -d venv/lib/python3*/site-packages/dep.py || true"]
    first = Run(api, stack, made.repo, commands=check)
    assert "Captured tree/venv" in first.text("Save cache") and "Uploaded" in first.text("Save cache"), first.log
    second = Run(api, stack, made.repo, commands=check)
    assert "Restored tree/venv" in second.text("Restore cache") and "site-packages/dep.py" in second.text("Pre-run command 1").split("\n", 1)[1], second.log
    assert second.steps["Download dependencies"] == "succeeded"


def test_a_workspace(made, api):
    """The project is a folder of it: its packages are those of the root's lock file, and so is the key."""
    made.package().write({"package.json": '{"name":"root","private":true,"workspaces":["infra","lib"]}',
                          "infra/Pulumi.yaml": project("nodejs"), "infra/package.json": '{"name":"infra","version":"1.0.0","dependencies":{"dep":"file:../dep-1.0.0.tgz","lib":"*"}}',
                          "lib/package.json": '{"name":"lib","version":"1.0.0"}'})
    made.tool("npm", "install", "--package-lock-only", "--offline")
    made.commit()
    look = ['node -p "require(\'dep\')" || true']
    first = Run(api, "acme/packages/dev", made.repo, "infra", look)
    assert "in the root of its workspace" in first.text("Download dependencies") and first.steps["Download dependencies"] == "succeeded", first.log
    assert "lock file package-lock.json" in first.log
    second = Run(api, "acme/packages/dev", made.repo, "infra", look)
    assert "Restored tree/node_modules" in second.log and second.text("Pre-run command 1").splitlines()[1] == "42", second.log
    # Without its own lock file, and not of the workspace: the lock file above is another project's.
    made.write({"web/Pulumi.yaml": project("nodejs"), "web/package.json": '{"name":"web","version":"1.0.0"}'}).commit()
    other = Run(api, "acme/packages/dev", made.repo, "web")
    assert "$ npm install" in other.text("Download dependencies") and "there is no lock file of npm" in other.text("Restore cache")


def test_what_a_command_changes_counts(made, api):
    """Packages that were restored are installed anew when a command changed the lock file or took them away."""
    npm(made)
    made.commit()
    Run(api, "acme/packages/dev", made.repo)
    for command in ("echo >> package-lock.json", "rm -rf node_modules"):
        run = Run(api, "acme/packages/dev", made.repo, commands=[command])
        assert "Restored tree/node_modules" in run.log and "$ npm ci --no-audit" in run.text("Download dependencies"), run.log
        assert run.steps["Download dependencies"] == "succeeded"
    # A package.json that the lock file does not fit is an error, with and without the cache.
    made.write({"package.json": '{"name":"x","private":true,"dependencies":{"dep":"file:dep-1.0.0.tgz","other":"^1.0.0"}}'}).commit()
    run = Run(api, "acme/packages/dev", made.repo)
    assert run.steps["Download dependencies"] == "failed" and "npm ci` can only install packages when" in run.log.replace("`npm", "npm"), run.log


@pytest.mark.parametrize("runtime,files,tool", [
    ("nodejs", {"package.json": "{}", "yarn.lock": ""}, "yarn"),
    ("nodejs", {"package.json": '{"packageManager":"pnpm@9.0.0"}'}, "pnpm"),
    ("nodejs", {"package.json": "{}", "bun.lock": ""}, "bun"),
    ("python", {"uv.lock": "", "pyproject.toml": ""}, "uv"),
    ("python", {"poetry.lock": ""}, "poetry"),
    ("dotnet", {"x.csproj": "<Project/>"}, "dotnet"),
    ("java", {"build.gradle": ""}, "gradle"),
], ids=lambda v: v if isinstance(v, str) else "")
def test_a_tool_that_is_missing(made, own, runtime, files, tool):
    """One sentence, and nothing is saved."""
    where_else = own("--isolation", "process", env={"PATH": f"{where.tools()}:/usr/bin:/bin"})
    if shutil.which(tool, path="/usr/bin:/bin"):
        pytest.fail(f"this machine has {tool}, so the test sees nothing")
    api = where_else.api()
    api.create_stack("acme/packages/dev")
    made.write({"Pulumi.yaml": project(runtime), **files}).commit()
    run = Run(api, "acme/packages/dev", made.repo)
    assert run.steps["Download dependencies"] == "failed" and run.steps["Save cache"] == "not-started"
    assert f"Error: {tool} is not installed where this deployment runs" in run.text("Download dependencies"), run.log


ODD = {
    # Pulumi.yaml's runtime: what the step says
    "runtime: cobol": "Runtime cobol: nothing is installed ahead",
    "runtime: [a, b]": "names no runtime",
    "runtime: '; touch /tmp/slipway-was-here #'": "nothing is installed ahead",
    "runtime: {name: python, options: {toolchain: conda}}": "known are pip, uv, poetry",
    "runtime: {name: python, options: {virtualenv: '$(id)'}}": "is not a plain folder name",
    "runtime: {name: nodejs, options: {packagemanager: 'rm -rf'}}": "known are npm, yarn, pnpm, bun",
}


def test_odd_runtimes(made, api):
    """Whatever stands there, the executor lives, says so, and the cache has nothing to do."""
    for text, said in ODD.items():
        made.write({"Pulumi.yaml": f"name: packages\n{text}\n", "requirements.txt": "", "package.json": "{}"}).commit()
        run = Run(api, "acme/packages/dev", made.repo)
        assert said in run.text("Download dependencies"), (text, run.log)
        assert "executor ended early" not in run.log and run.steps["Restore cache"] == "succeeded"
    assert not os.path.exists("/tmp/slipway-was-here")
    made.write({"Pulumi.yaml": "runtime: " + "[" * 100000}).commit()
    run = Run(api, "acme/packages/dev", made.repo)
    assert run.steps["Restore cache"] == "succeeded" and run.steps["pulumi preview"] != "succeeded" and "executor ended early" not in run.log


def test_odd_lock_files(made, api):
    """Large, not there any more, a folder, a device, more than one."""
    made.write({"Pulumi.yaml": project("nodejs"), "package.json": '{"name":"x"}', "package-lock.json": "x" * 50_000_000}).commit()
    run = Run(api, "acme/packages/dev", made.repo)
    assert run.key.startswith("npm-") and run.steps["Restore cache"] == "succeeded" and run.steps["Download dependencies"] == "failed"
    for command, said in {"rm package-lock.json; mkdir package-lock.json": "there is no lock file of npm", "ln -sf /dev/zero package-lock.json": "there is no lock file of npm",
                          "rm -f package-lock.json; mkfifo package-lock.json": "there is no lock file of npm"}.items():
        # The lock file is only odd when it is saved; npm then fails or not.
        run = Run(api, "acme/packages/dev", made.repo, commands=[command + "; rm -f package.json"])
        assert said in run.text("Save cache"), run.log
    made.write({"Pulumi.yaml": project("python"), "requirements.txt": "", "poetry.lock": ""}).commit()
    assert "more than one of requirements.txt, uv.lock and poetry.lock" in Run(api, "acme/packages/dev", made.repo).text("Restore cache")


def test_a_lock_file_that_the_run_makes(made, api):
    """The next run does not begin with it: nothing is kept under a key that nobody asks for."""
    made.package().write({"Pulumi.yaml": project("nodejs"), "package.json": '{"name":"x","private":true,"dependencies":{"dep":"file:dep-1.0.0.tgz"}}'}).commit()
    run = Run(api, "acme/packages/dev", made.repo)
    assert "there is no lock file of npm" in run.text("Restore cache") and "not the one that the run began with" in run.text("Save cache"), run.log


def test_a_package_json_that_is_a_folder(made, api):
    made.write({"Pulumi.yaml": project("nodejs"), "package.json/x": ""}).commit()
    assert "Error: package.json is not a file" in Run(api, "acme/packages/dev", made.repo).text("Download dependencies")


# --- the cache never makes a run fail ---

def test_an_archive_that_is_too_large(made, own):
    """Nothing is saved, and the next run has nothing to restore."""
    server = own("--isolation", "process", "--cache-entry-limit", "1")
    api = server.api()
    api.create_stack("acme/packages/dev")
    npm(made)
    made.commit()
    fill = ["mkdir -p node_modules ~/.npm/_cacache; head -c 3000000 /dev/urandom > ~/.npm/_cacache/large"]
    run = Run(api, "acme/packages/dev", made.repo, commands=fill)
    assert "warning: nothing was saved: the archive becomes larger than 1048576 bytes. The run goes on." in run.text("Save cache"), run.log
    assert run.steps["Save cache"] == "succeeded" and run.steps["pulumi preview"] in ("failed", "succeeded")
    assert "Nothing to restore" in Run(api, "acme/packages/dev", made.repo).text("Restore cache")


def test_a_cache_that_is_cleared_or_off(made, api):
    npm(made)
    made.commit()
    Run(api, "acme/packages/dev", made.repo)
    off = Run(api, "acme/packages/dev", made.repo, cache=False)
    assert "Restore cache" not in off.steps and "Save cache" not in off.steps and "npm ci --no-audit" in off.log
    assert api.call("DELETE", f"{path_of('acme/packages/dev')}/deployments/cache").status_code == 200
    assert "Nothing to restore" in Run(api, "acme/packages/dev", made.repo).text("Restore cache")


def test_projects_do_not_share(made, api):
    """Another project with the same lock file; a stack of the same project does."""
    npm(made)
    made.commit()
    api.create_stack("acme/packages/prod")
    api.create_stack("acme/others/dev")
    Run(api, "acme/packages/dev", made.repo)
    assert "Restored" in Run(api, "acme/packages/prod", made.repo).text("Restore cache")
    assert "Nothing to restore" in Run(api, "acme/others/dev", made.repo).text("Restore cache")


def test_a_server_that_loses_its_archives(made, server, api):
    """The file is gone, or was cut behind the server's back: a warning at most."""
    npm(made)
    made.commit()
    first = Run(api, "acme/packages/dev", made.repo)
    files = [f for f in (server.data / "cache").rglob("*") if f.is_file()]
    for change in (lambda f: os.truncate(f, f.stat().st_size // 2), lambda f: f.unlink()):
        for file in files:
            if file.exists():
                change(file)
        run = Run(api, "acme/packages/dev", made.repo)
        assert run.steps["Restore cache"] == "succeeded" and run.steps["Download dependencies"] == "succeeded" and run.key == first.key, run.log


def test_what_lies_there_already_stays(made, api):
    """A folder of the repository is not replaced by one of the cache."""
    npm(made)
    made.commit()
    key = Run(api, "acme/packages/dev", made.repo).key
    made.write({"node_modules/mine/index.js": "mine\n"}).commit()
    run = Run(api, "acme/packages/dev", made.repo, commands=["find node_modules"])
    assert "Restored home/.npm/_cacache:" in run.text("Restore cache") and run.key == key
    assert "node_modules/mine/index.js" in run.text("Pre-run command 1") and "node_modules/dep" not in run.text("Pre-run command 1")


def test_a_home_that_was_moved_is_nobodys(made, api, tmp_path):
    """Somebody's real home is neither archived nor written to."""
    npm(made)
    made.commit()
    (tmp_path / "real/.npm/_cacache").mkdir(parents=True)
    (tmp_path / "real/.npm/_cacache/secret").write_text("private")
    run = Run(api, "acme/packages/dev", made.repo, variables={"HOME": str(tmp_path / "real")})
    assert "Captured tree/node_modules:" in run.text("Save cache"), run.log


def test_cancelled_while_it_packs(made, api):
    """A large archive: the cancel is heard, nothing is stored, the stack is free."""
    npm(made)
    made.commit()
    fill = ["mkdir -p ~/.npm/_cacache; for i in 1 2 3 4 5 6 7 8; do head -c 60000000 /dev/urandom > ~/.npm/_cacache/$i; done"]
    made_id = api.deploy("acme/packages/dev", "preview", sourceContext={"git": {"repoUrl": made.repo.url, "branch": "main"}}, cacheOptions={"enable": True},
                         operationContext={"preRunCommands": fill})["id"]
    path = f"{path_of('acme/packages/dev')}/deployments/{made_id}"
    wait_until(lambda: "== Save cache" in api.log("acme/packages/dev", made_id), 60, "the step")
    api.ok("POST", f"{path}/cancel")
    done = api.wait_status("acme/packages/dev", made_id)
    steps = {s["name"]: s["status"] for s in done["jobs"][0]["steps"]}
    assert done["status"] == "failed" and steps["Save cache"] in ("failed", "succeeded"), api.log("acme/packages/dev", made_id)
    assert steps["pulumi preview"] != "succeeded"
