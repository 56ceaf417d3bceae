"""Repositories that want something of the runner, as a real deployment meets them: sandbox, https, no insecure sources.

What such a repository would have executed leaves a file in /dev/shm, where every user of the host may write and which git
sees (its /tmp is another one). The same attack on a git without our settings shows that it would."""
import os
import subprocess
import threading
import time
import uuid
from pathlib import Path

import pytest
from helpers import where
from helpers.git import Repository
from helpers.runner import Yard
from helpers.waiting import wait_until


@pytest.fixture(scope="module")
def yard(tmp_path_factory):
    yard = Yard(tmp_path_factory.mktemp("hostile"), "--disk-limit", "48")
    yield yard
    yard.stop()


@pytest.fixture
def owned():
    """A place that an attack writes to."""
    path = Path(f"/dev/shm/owned-{uuid.uuid4().hex}")
    yield path
    path.unlink(missing_ok=True)


def fetch(yard, https, repo, *commands, **git):
    return yard.fetch({"repoUrl": https.url(repo), "branch": "main", "gitAuth": https.auth, **git}, *commands)


def raw_tree(repo, *entries):
    """A tree as no git would write it: (mode, name, object)."""
    data = b"".join(f"{mode} {name}\0".encode() + bytes.fromhex(id) for mode, name, id in entries)
    run = subprocess.run(["git", "hash-object", "-t", "tree", "-w", "--stdin", "--literally"], cwd=repo.bare, env=repo.environment, input=data,
                         capture_output=True, check=True)
    return run.stdout.decode().strip()


def blob(repo, text):
    return subprocess.run(["git", "hash-object", "-w", "--stdin"], cwd=repo.bare, env=repo.environment, input=text.encode(), capture_output=True,
                          check=True).stdout.decode().strip()


def publish(repo, tree, branch="main"):
    commit = repo.git("commit-tree", "-m", "raw", tree, cwd=repo.bare)
    repo.git("update-ref", f"refs/heads/{branch}", commit, cwd=repo.bare)
    return commit


# ---- programs that a repository brings -----------------------------------------------------------------------------
def test_hooks_filters_and_configuration_of_a_repository(yard, https, repo, owned):
    """Hooks, filters and a configuration as files of the tree are files and nothing else; also in a folder that is a bare repository."""
    run = f"touch {owned}"
    files = {".gitattributes": "* filter=evil diff=evil merge=evil\n", ".gitconfig": f'[core]\n\tfsmonitor = {run}\n\tsshCommand = {run}\n',
             "hooks/post-checkout": f"#!/bin/sh\n{run}\n", "config": f'[core]\n\tfsmonitor = {run}\n[filter "evil"]\n\tsmudge = {run}\n',
             "HEAD": "ref: refs/heads/main\n", "objects/x": "", "refs/x": "", "README": "harmless\n"}
    repo.commit(files)
    for name in ("hooks/post-checkout",):
        (repo.tree / name).chmod(0o755)
    repo.commit({})
    # It would run, were the same said where git looks.
    subprocess.run(["git", "-c", f"filter.evil.smudge={run}; cat", "clone", "--quiet", repo.bare, repo.bare.parent / "control"], env=repo.environment, check=True)
    assert owned.exists()
    owned.unlink()
    ended, log = fetch(yard, https, repo, "cat README")
    assert ended == "succeeded" and "\nharmless\n" in log and not owned.exists(), log


@pytest.mark.parametrize("name", [".git", ".GIT", "git~1", ".g\u200cit"])
def test_a_tree_with_a_git_folder(yard, https, repo, owned, name):
    """A configuration and hooks of git's own, smuggled in as files."""
    config = blob(repo, f"[core]\n\tfsmonitor = touch {owned}\n\tsshCommand = touch {owned}\n")
    hook = blob(repo, f"#!/bin/sh\ntouch {owned}\n")
    inner = raw_tree(repo, ("100644", "config", config), ("40000", "hooks", raw_tree(repo, ("100755", "post-checkout", hook))))
    publish(repo, raw_tree(repo, ("40000", name, inner), ("100644", "README", blob(repo, "x\n"))))
    ended, log = fetch(yard, https, repo)
    assert ended == "failed" and "invalid path" in log and not owned.exists(), log


def test_a_tree_that_leads_out(yard, https, repo, owned):
    publish(repo, raw_tree(repo, ("40000", "..", raw_tree(repo, ("100644", "tree", blob(repo, "x\n"))))))
    ended, log = fetch(yard, https, repo)
    assert ended == "failed" and "invalid path" in log, log
    # A symbolic link, and below it a file.
    link = blob(repo, "/dev/shm")
    file = raw_tree(repo, ("100644", owned.name, blob(repo, "x\n")))
    publish(repo, raw_tree(repo, ("120000", "a", link), ("40000", "a", file)))
    ended, log = fetch(yard, https, repo)
    assert not owned.exists(), log


# ---- submodules ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["ext", "file", "path", "relative", "option", "fd", "http", "update"])
def test_a_submodule_with_a_url_of_another_kind(yard, https, repo, tmp_path, owned, kind):
    """Nothing is run, and nothing of the host's own files comes into the tree."""
    secret = Repository(tmp_path / "secret", "secret")
    commit = secret.commit({"secret.txt": "secret of the host\n"})
    subprocess.run(["chmod", "-R", "a+rX", secret.bare], check=True)
    url = {"ext": f"ext::sh -c touch% {owned}% >&2", "file": secret.url, "path": str(secret.bare), "relative": "../../../../../../../../etc",
           "option": f"--upload-pack=touch {owned}", "fd": "fd::0", "http": "http://127.0.0.1:9/x.git", "update": https.url(secret)}[kind]
    repo.commit({"README": "x\n"})
    repo.submodule("a", url, commit, more=f"\tupdate = !touch {owned}\n" if kind == "update" else "")
    if kind == "ext":
        subprocess.run(["git", "-c", "protocol.ext.allow=always", "ls-remote", url], env=repo.environment, capture_output=True)
        assert owned.exists()
        owned.unlink()
    ended, log = fetch(yard, https, repo, "cat a/secret.txt && echo READ")
    assert ended == "failed" and "git submodule failed" in log, log
    assert not owned.exists() and "\nsecret of the host\n" not in log and "retrying" not in log, log


@pytest.mark.parametrize("name", ["../../outside", "..", "a/../../../hooks"])
def test_a_submodule_whose_name_leads_out(yard, https, repo, tmp_path, owned, name):
    """Its repository would lie below .git/modules/NAME."""
    part = Repository(tmp_path / "part", "part")
    commit = part.commit({"post-checkout": f"#!/bin/sh\ntouch {owned}\n"})
    repo.commit({"README": "x\n"})
    repo.submodule("a", https.url(part), commit, name=name)
    ended, log = fetch(yard, https, repo, "ls a/post-checkout .git/modules ..")
    assert "a/post-checkout\n" not in log.split("== Pre-run command 1\n")[-1].replace("ls a/post-checkout .git", "") and not owned.exists(), log


def test_a_submodule_whose_path_is_a_link(yard, https, repo, tmp_path, owned):
    """A link into .git, and a submodule behind it, whose files would be hooks."""
    part = Repository(tmp_path / "part", "part")
    (part.tree / "y").mkdir()
    (part.tree / "y/hooks").mkdir()
    part.commit({"y/hooks/post-checkout": f"#!/bin/sh\ntouch {owned}\n"})
    (part.tree / "y/hooks/post-checkout").chmod(0o755)
    commit = part.commit({})
    modules = blob(repo, f'[submodule "x/y"]\n\tpath = A/modules/x\n\turl = {https.url(part)}\n')
    link = blob(repo, ".git")
    inner = raw_tree(repo, ("40000", "modules", raw_tree(repo, ("160000", "x", commit))))
    publish(repo, raw_tree(repo, ("100644", ".gitmodules", modules), ("40000", "A", inner), ("120000", "a", link)))
    fetch(yard, https, repo)
    assert not owned.exists()
    # And where both have the same name.
    publish(repo, raw_tree(repo, ("100644", ".gitmodules", modules), ("120000", "A", link), ("40000", "A", inner)))
    ended, log = fetch(yard, https, repo)
    assert not owned.exists(), log


def test_a_submodule_path_that_leads_out(yard, https, repo, tmp_path, owned):
    part = Repository(tmp_path / "part", "part")
    commit = part.commit({owned.name: "x\n"})
    repo.commit({"README": "x\n"})
    repo.submodule("../../../../../../../../dev/shm", https.url(part), commit, name="x")
    fetch(yard, https, repo)
    assert not owned.exists()
    modules = blob(repo, f'[submodule "x"]\n\tpath = out\n\turl = {https.url(part)}\n')
    publish(repo, raw_tree(repo, ("100644", ".gitmodules", modules), ("120000", "out", blob(repo, "/dev/shm")), ("160000", "out", commit)))
    fetch(yard, https, repo)
    assert not owned.exists()


# ---- names in the settings -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("field", ["branch", "tag", "commit", "repoDir", "repoUrl"])
def test_names_that_are_options(yard, https, repo, owned, field):
    """Refused when it is asked for, or with a sentence in the log; never a word of git's command line."""
    repo.commit({"README": "x\n"})
    stack = yard.stack()
    for value in (f"--upload-pack=touch {owned}", "-ufoo", f"--output={owned}", f"x;touch {owned}", f"$(touch {owned})", f"x\ntouch {owned}"):
        git = {"repoUrl": https.url(repo), "gitAuth": https.auth, field: value}
        answer = yard.api.call("POST", f"/api/stacks/{stack}/deployments", {"operation": "preview", "sourceContext": {"git": git}})
        if answer.status_code == 202:
            id = answer.json()["id"]
            done = yard.api.wait_status(stack, id, "failed")
            assert {s["name"]: s["status"] for s in done["jobs"][0]["steps"]}["Get source"] == "failed"
            assert f"Error: {field}: " in yard.api.log(stack, id)
        else:
            assert answer.status_code == 400, answer.text
    assert not owned.exists()


@pytest.mark.parametrize("target, ended", [("/etc", "failed"), ("../..", "failed"), ("/proc/self/root", "failed"), (".git/..", "succeeded"), ("real", "succeeded"),
                                           ("nowhere", "failed")])
def test_repo_dir_that_is_a_link(yard, https, repo, target, ended):
    """It may lead anywhere within the tree."""
    repo.commit({"real/README": "in real\n"})
    os.symlink(target, repo.tree / "link")
    repo.commit({})
    assert fetch(yard, https, repo, repoDir="link")[0] == ended


# ---- servers -------------------------------------------------------------------------------------------------------
def test_a_redirection_to_another_host_gets_no_credentials(yard, https, repo):
    """Neither before nor after the first host asked for them."""
    repo.commit({"README": "x\n"})
    thief = yard.https(https.root, host="localhost")
    thief.accepts = lambda header: False

    def send_on(path):
        return 302, [("Location", thief.origin + path)], b""

    https.before = send_on
    for accepts in (lambda header: True, lambda header: header == https.basic):
        https.accepts = accepts
        ended, log = fetch(yard, https, repo)
        assert ended == "failed" and "credentials" in log, log
    assert https.requests[-1][1] == https.basic
    assert len(thief.requests) >= 2 and not any(header for _, header in thief.requests), thief.requests
    thief.stop()


def test_a_redirection_to_files_and_plain_http(yard, https, repo):
    repo.commit({"README": "x\n"})
    for where_to in ("file:///etc/passwd", "http://127.0.0.1:9/"):
        https.before = lambda path, to=where_to: (302, [("Location", to + path)], b"")
        ended, log = fetch(yard, https, repo)
        assert ended == "failed" and "root:" not in log, log


def test_a_server_that_stands_still(yard, https, repo):
    """The time limit of the deployment ends it, and no git is left."""
    repo.commit({"README": "x\n"})
    ended = threading.Event()
    https.before = lambda path: ended.wait(60) and None
    yard.site.server.admin("org", "set", "acme", "--time-limit", "2s")
    began = time.monotonic()
    try:
        state, log = fetch(yard, https, repo)
    finally:
        yard.site.server.admin("org", "set", "acme", "--time-limit", "0s")
        ended.set()
    assert state == "failed" and "time limit" in log and time.monotonic() - began < 20, log
    wait_until(lambda: not yard.runner.descendants(), 10, "git to be gone")


# ---- size ----------------------------------------------------------------------------------------------------------
def test_a_pack_that_is_too_large(yard, https, repo):
    """50 MB that cannot be compressed; the limit is 48."""
    data = os.urandom(50 << 20)
    repo.import_(b"commit refs/heads/main\ncommitter T <t@example.com> 1700000000 +0000\ndata 1\nxM 644 inline big\ndata %d\n%s\n" % (len(data), data))
    ended, log = fetch(yard, https, repo)
    assert ended == "failed" and "larger than" in log and "--disk-limit" in log and "retrying" not in log, log
    used = subprocess.run(["du", "-sm", yard.runner.work], capture_output=True, text=True).stdout.split()[0]
    assert int(used) < 60


def test_a_checkout_that_is_too_large(yard, https, repo):
    """One file of a megabyte, 4,000 times: the pack is a megabyte, the tree would be four gigabytes."""
    data = os.urandom(1 << 20)
    tree = b"".join(b"M 644 :1 %d/%d\n" % (n % 40, n) for n in range(4000))
    repo.import_(b"blob\nmark :1\ndata %d\n%s\ncommit refs/heads/main\ncommitter T <t@example.com> 1700000000 +0000\ndata 1\nx%s\n" % (len(data), data, tree))
    ended, log = fetch(yard, https, repo)
    assert ended == "failed" and "took more than 48 MiB of the disk" in log, log


def test_a_bomb_of_trees(yard, https, repo):
    """Ten trees of ten names for the next ten trees, and so on: ten thousand million files in a pack of 2 KB. git's memory ends it."""
    tree = raw_tree(repo, *[("100644", f"f{n}", blob(repo, "boom\n")) for n in range(10)])
    for _ in range(9):
        tree = raw_tree(repo, *[("40000", f"d{n}", tree) for n in range(10)])
    publish(repo, tree)
    began = time.monotonic()
    ended, log = fetch(yard, https, repo)
    assert ended == "failed" and "memory" in log, log
    assert time.monotonic() - began < 60


def test_a_repository_of_a_hundred_thousand_files(tmp_path, repo):
    """Is fine."""
    yard = Yard(tmp_path / "yard")
    https = yard.https(tmp_path)
    files = b"".join(b"M 644 inline d%d/f%d\ndata 0\n" % (n % 500, n) for n in range(100_000))
    repo.import_(b"commit refs/heads/main\ncommitter T <t@example.com> 1700000000 +0000\ndata 1\nx%s\n" % files)
    ended, log = fetch(yard, https, repo, "git ls-files | wc -l; ls d7 | wc -l; ls d499/f99999")
    assert ended == "succeeded" and "\n100000\n200\nd499/f99999\n" in log, log
    https.stop()
    yard.stop()


# ---- sources that a runner has not ---------------------------------------------------------------------------------
def test_sources_of_other_kinds(yard):
    stack = yard.stack()
    for context, word in (({"hg": {"repoUrl": "https://example.com/x"}, "git": None}, "'hg'"), ({"git": None}, "no git repository is named")):
        id = yard.api.deploy(stack, "preview", sourceContext=context)["id"]
        yard.api.wait_status(stack, id)
        log = yard.api.log(stack, id)
        assert word in log.split("== Get source\n")[1] and "Error: " in log, log
