"""The steps of a run: which there are, in which order, and the environment that they get (features §2.1, §2.4)."""
import datetime
import re

import pytest
from helpers import programs

LEVELS = ["bubblewrap", "process"]


class Stack:
    """A stack with a program in a repository."""

    def __init__(self, server, stack, repo, files, **git):
        self.api, self.stack, self.server = server.api(), stack, server
        repo.commit(files)
        self.api.create_stack(stack)
        self.git = {"repoUrl": repo.url, "branch": "main", **git}

    def run(self, operation="preview", expect="succeeded", commands=(), options=None, variables=None, root=None, **more):
        context = {"preRunCommands": list(commands), "options": options or {}, "environmentVariables": variables or {}}
        body = {"sourceContext": {"git": self.git}, "operationContext": context, **more}
        if root:
            body["executorContext"] = {"executorRootPath": root}
        done, log = self.api.run(self.stack, operation, expect=expect, **body)
        self.steps = done["jobs"][0]["steps"]
        self.done, self.log = done, log
        return self

    def names(self):
        return [s["name"] for s in self.steps]

    def text(self, name):
        """What the log says below that header."""
        return self.log.split(f"== {name}\n", 1)[1].split("\n== ", 1)[0]


@pytest.fixture
def made(own, stack, project, repo):
    def make(level="bubblewrap", files=None, **git):
        return Stack(own("--isolation", level), stack, repo, files or programs.stash(project), **git)
    return make


def time_of(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def test_every_step_in_its_order(made):
    """A run with everything: all steps of the list, each with its times, one after the other."""
    s = made()
    s.run("update", commands=["sleep 0.2", "true"], cacheOptions={"enable": True})
    s.run("destroy", commands=["sleep 0.2", "true"], options={"deleteAfterDestroy": False}, cacheOptions={"enable": True})
    assert s.names() == ["Setup", "Download deployment executor", "Get source", "Restore cache", "Pre-run command 1", "Pre-run command 2",
                         "Download dependencies", "Save cache", "pulumi destroy"]
    assert {x["status"] for x in s.steps} == {"succeeded"}
    times = [(time_of(x["started"]), time_of(x["lastUpdated"])) for x in s.steps]
    assert times == sorted(times) and all(a <= b for a, b in times)
    assert all(one[1] <= two[0] for one, two in zip(times, times[1:]))
    assert datetime.timedelta(seconds=0.1) <= times[4][1] - times[4][0] < datetime.timedelta(seconds=20)
    # The log has the same headers in the same order.
    assert re.findall(r"^== (.*)$", s.log, re.MULTILINE) == s.names()


def test_steps_that_a_run_does_not_have(made):
    """Without commands, cache and dependencies they are not there; a cache that is on and steps that were not reached are."""
    s = made()
    assert s.run(options={"skipInstallDependencies": True}).names() == ["Setup", "Download deployment executor", "Get source", "pulumi preview"]
    s.run(expect="failed", commands=["true", "exit 3", "true"], cacheOptions={"enable": True})
    assert [(x["name"], x["status"]) for x in s.steps] == [
        ("Setup", "succeeded"), ("Download deployment executor", "succeeded"), ("Get source", "succeeded"), ("Restore cache", "succeeded"),
        ("Pre-run command 1", "succeeded"), ("Pre-run command 2", "failed"), ("Pre-run command 3", "not-started"),
        ("Download dependencies", "not-started"), ("Save cache", "not-started"), ("pulumi preview", "not-started")]
    assert "Error: Pre-run command 2 failed: exit status 3" in s.text("Pre-run command 2")


def test_a_stack_that_goes_saves_no_cache(made):
    s = made()
    made_id = s.api.deploy(s.stack, "destroy", sourceContext={"git": s.git}, cacheOptions={"enable": True},
                           operationContext={"options": {"deleteAfterDestroy": True}})["id"]
    done = s.api.wait_status(s.stack, made_id)
    assert [x["name"] for x in done["jobs"][0]["steps"]] == ["Setup", "Download deployment executor", "Get source", "Restore cache",
                                                              "Download dependencies", "pulumi destroy", "pulumi stack rm"]


# --- environment ---

def printed(s, **more):
    """The environment that a command sees, from the log of a real run."""
    s.run(commands=["env | LC_ALL=C sort"], **more)
    lines = s.text("Pre-run command 1").splitlines()[1:]
    return dict(line.split("=", 1) for line in lines)


# name: its value, made from the deployment, the server, the home and the root of the level. None: must not be there.
ENVIRONMENT = {
    "PULUMI_ACCESS_TOKEN": lambda x: "***",
    "PULUMI_OIDC_TOKEN": lambda x: "***",
    "PULUMI_OIDC_TOKEN_FILE": lambda x: x.root + "/mnt/pulumi/pulumi.oidc",
    "PULUMI_BACKEND_URL": lambda x: x.url,
    "PULUMI_SERVICE_URL": lambda x: x.url + "/api",
    "PULUMI_CI_SYSTEM": lambda x: "Pulumi Deployments",
    "PULUMI_CI_BUILD_ID": lambda x: x.done["id"],
    "PULUMI_CI_BUILD_NUMBER": lambda x: str(x.done["version"]),
    "PULUMI_CI_BUILD_URL": lambda x: f"{x.url}/{x.stack}/deployments/{x.done['version']}",
    "PULUMI_CI_ORGANIZATION": lambda x: x.stack.split("/")[0],
    "PULUMI_CI_PROJECT": lambda x: x.stack.split("/")[1],
    "PULUMI_CI_STACK": lambda x: x.stack.split("/")[2],
    "PULUMI_CI_OPERATION": lambda x: "preview",
    "PULUMI_CI_BRANCH_NAME": lambda x: "main",
    "PULUMI_CI_TAG_NAME": None,
    "PULUMI_PR_NUMBER": None,
    "PULUMI_CI_PULL_REQUEST_SHA": None,
    "GITHUB_TOKEN": None,
    "GITHUB_ENTERPRISE_TOKEN": None,
    "GH_ENTERPRISE_TOKEN": None,
    "GH_HOST": None,
    "AZURE_DEV_OPS_TOKEN": None,
    "CI": lambda x: "true",
    "PULUMI_SKIP_UPDATE_CHECK": lambda x: "true",
    "PULUMI_CREDENTIAL_STORE": lambda x: "plaintext",
    "PULUMI_ENV": lambda x: x.root + "/PULUMI_ENV",
    "PULUMI_ENV_FILE": lambda x: x.root + "/PULUMI_ENV",
    "PULUMI_HOME": lambda x: x.home + "/.pulumi",
    "HOME": lambda x: x.home,
    "PWD": lambda x: x.tree,
    "USER": lambda x: "slipway",
    "LOGNAME": lambda x: "slipway",
    "LANG": lambda x: "C.UTF-8",
}
# What a shell, bubblewrap or the machine may add.
OTHER = {"PATH", "SHLVL", "_", "OLDPWD", "TMPDIR", "no_proxy", "NO_PROXY", "ASAN_OPTIONS", "UBSAN_OPTIONS"}


@pytest.mark.parametrize("level", LEVELS)
def test_the_environment(made, level):
    """Every variable of the list with its value, and no other."""
    s = made(level)
    seen = printed(s)
    s.url = s.server.url
    job = seen["HOME"].rsplit("/", 1)[0]
    s.home, s.tree, s.root = ("/home/run", "/deployment", "") if level == "bubblewrap" else (job + "/home", job + "/tree", job)
    if level == "process":
        assert f"/{s.done['id']}-1" in job
    for name, value in ENVIRONMENT.items():
        expected = value(s) if value else None
        if expected == "***":
            assert name in seen and not seen[name].startswith(("pul-", "ey")), "it is masked"
        else:
            assert seen.get(name) == expected, name
    assert set(seen) - set(ENVIRONMENT) <= OTHER, set(seen) - set(ENVIRONMENT) - OTHER
    folders = seen["PATH"].split(":")
    assert len(folders) == len(set(folders)) or level == "process"
    if level == "bubblewrap":
        assert folders[0] == "/slipway/tools" and folders[-1] == "/bin"


@pytest.mark.parametrize("git,branch,tag", [
    ({"branch": "refs/heads/main"}, "main", None),
    ({"branch": "", "tag": "v1"}, "refs/tags/v1", "v1"),
], ids=["full", "tag"])
def test_the_branch_and_the_tag(made, repo, git, branch, tag):
    s = made("process")
    repo.git("tag", "v1")
    repo.git("push", "--quiet", "origin", "v1")
    s.git.update(git)
    seen = printed(s)
    assert (seen.get("PULUMI_CI_BRANCH_NAME"), seen.get("PULUMI_CI_TAG_NAME")) == (branch, tag)


def test_the_users_variables_count(made):
    """What somebody sets stands in place of every default, once."""
    s = made()
    own = {name: f"mine {i}" for i, name in enumerate(ENVIRONMENT) if name not in (
        "PULUMI_ACCESS_TOKEN", "PULUMI_BACKEND_URL", "PULUMI_CREDENTIAL_STORE", "PULUMI_HOME", "HOME", "PWD", "PULUMI_ENV", "PULUMI_ENV_FILE")}
    seen = printed(s, variables={**own, "EMPTY": "", "ODD": "a=b 'c' \"d\" $e `f` \\ ü"})
    assert {name: seen.get(name) for name in own} == own
    assert seen["EMPTY"] == "" and seen["ODD"] == "a=b 'c' \"d\" $e `f` \\ ü"


# --- shells ---

@pytest.mark.parametrize("shell,expected", [("bash", "bash"), ("sh", "sh"), ("/bin/dash", "dash"), ("", "bash")])
def test_the_shell_of_the_commands(made, shell, expected):
    s = made().run(commands=['readlink -f /proc/$$/exe; echo "zero is $0"'], options={"shell": shell})
    text = s.text("Pre-run command 1")
    names = {"bash": "/bash", "sh": "/dash", "dash": "/dash"}
    assert names[expected] in text.splitlines()[1], text


@pytest.mark.parametrize("shell", ["fish-that-is-not-there", "bash -e", "/nowhere/sh", "/etc"])
def test_a_shell_that_is_not_there(made, shell):
    """One sentence; and dependencies, which are none of its business, do not need it."""
    s = made()
    s.run(expect="failed", commands=["true"], options={"shell": shell})
    assert "Error: " in s.text("Pre-run command 1") and shell in s.text("Pre-run command 1")
    assert s.steps[3]["status"] == "failed" and s.steps[-1]["status"] == "not-started"
    s.run(options={"shell": shell})


# --- PULUMI_ENV ---

@pytest.mark.parametrize("level", LEVELS)
def test_variables_go_from_step_to_step(made, level):
    s = made(level).run(commands=[
        'echo "GREETING=hello world" >>"$PULUMI_ENV_FILE"; echo "A=1" >>"$PULUMI_ENV"; export LOST=1; cd /',
        'echo "<$GREETING> <$A> <$LOST> <$PWD>"; printf "A=2\\nEQ=a=b\\r\\n# note\\n\\nnot a variable\\n1X=no\\nB=" >>"$PULUMI_ENV_FILE"',
        'echo "<$GREETING> <$A> <$EQ> <${B-unset}>"'])
    assert "Loading PULUMI_ENV: GREETING, A" in s.text("Pre-run command 1")
    assert re.search(r"^<hello world> <1> <> </\S*(deployment|tree)>$", s.text("Pre-run command 2"), re.MULTILINE), s.text("Pre-run command 2")
    assert "2 lines without NAME=value ignored (the first is line 7)" in s.text("Pre-run command 2")
    assert "<hello world> <2> <a=b> <>" in s.text("Pre-run command 3")


def test_variables_reach_the_program(made, project):
    """The CLI and the language host see them, too."""
    files = programs.yaml(project, outputs="x: 1")
    s = made("process", files).run(commands=['echo "PULUMI_CI_SYSTEM=Other" >>"$PULUMI_ENV_FILE"; echo "PULUMI_CONFIG_PASSPHRASE=x" >>"$PULUMI_ENV_FILE"'])
    assert "Loading PULUMI_ENV: PULUMI_CI_SYSTEM, PULUMI_CONFIG_PASSPHRASE" in s.log


ODD_FILES = {
    # what a command leaves at the place of PULUMI_ENV: what the log says then (None: nothing is amiss)
    "a folder": ('rm -f "$PULUMI_ENV_FILE"; mkdir "$PULUMI_ENV_FILE"', "not a regular file"),
    "a fifo": ('rm -f "$PULUMI_ENV_FILE"; mkfifo "$PULUMI_ENV_FILE"', "not a regular file"),
    "a device": ('rm -f "$PULUMI_ENV_FILE"; ln -s /dev/zero "$PULUMI_ENV_FILE"', "not a regular file"),
    "a link to nowhere": ('rm -f "$PULUMI_ENV_FILE"; ln -s /nowhere "$PULUMI_ENV_FILE"', None),
    "a link to itself": ('rm -f "$PULUMI_ENV_FILE"; ln -s "$PULUMI_ENV_FILE" "$PULUMI_ENV_FILE"', "Too many levels of symbolic links"),
    "nothing": ('rm -f "$PULUMI_ENV_FILE"', None),
    "2 MB": ('head -c 2000000 /dev/zero | tr "\\0" x >"$PULUMI_ENV_FILE"', "larger than 1048576 bytes"),
    "a sparse gigabyte": ('truncate -s 1G "$PULUMI_ENV_FILE"', "larger than 1048576 bytes"),
    "noise": ('head -c 500000 /dev/urandom >"$PULUMI_ENV_FILE"', "ignored"),
    "NUL": ('printf "A=b\\0c\\n" >"$PULUMI_ENV_FILE"', "1 line without NAME=value ignored"),
    "20,000 names": ('seq -f "N%g=1" 20000 >"$PULUMI_ENV_FILE"', "too many variables"),
    "a value that no program can be given": ('(printf X=; head -c 900000 /dev/zero | tr "\\0" x) >"$PULUMI_ENV_FILE"', "Argument list too long"),
}


@pytest.mark.parametrize("what", list(ODD_FILES))
def test_an_odd_file_of_variables(made, what):
    """It is a failed step with a sentence or a warning; never a run that hangs or a dead executor."""
    command, said = ODD_FILES[what]
    fails = said and said not in ("ignored", "1 line without NAME=value ignored")
    s = made().run(expect="failed" if fails else "succeeded", commands=[command, "echo and then"])
    assert "executor ended early" not in s.log
    assert said is None or said in s.log, s.log
    assert fails or "and then" in s.text("Pre-run command 2")


def test_a_command_that_takes_the_tree_away(made, project):
    """The folder, the whole tree, or the project's file."""
    s = made(files={f"infra/{n}": t for n, t in programs.stash(project).items()}, repoDir="infra")
    s.run(expect="failed", commands=["rm -rf ../infra", "echo never"])
    assert "Error: the folder /deployment/infra is not there any more" in s.text("Pre-run command 2")
    s.run(expect="failed", commands=["rm -rf ../infra; echo x > ../infra"])
    assert "Error: Pulumi.yaml: cannot open /deployment/infra/Pulumi.yaml: Not a directory" in s.log
    s.run(expect="failed", commands=["rm -f Pulumi.yaml"])
    assert "There is no Pulumi.yaml in this folder" in s.text("Download dependencies")
    assert "no Pulumi.yaml project file found" in s.log
    s.run(expect="failed", commands=["rm -rf ../infra"], cacheOptions={"enable": True})
    assert "executor ended early" not in s.log
