"""Sources as a real deployment has them: https with an authority of the house, ssh, submodules, retries; and where the
credentials go, and where not."""
import base64
import os
import re
import threading
from pathlib import Path

import pytest
from helpers.git import Repository
from helpers.runner import Yard
from helpers.waiting import wait_until


@pytest.fixture(scope="module")
def yard(tmp_path_factory):
    yard = Yard(tmp_path_factory.mktemp("sources"))
    yield yard
    yard.stop()


def step(log, name):
    return log.split(f"== {name}\n", 1)[1].split("\n== ")[0]


def key(text, password=None):
    return {"sshAuth": {"sshPrivateKey": {"secret": text}, **({"password": {"secret": password}} if password else {})}}


def test_https_with_an_authority_of_the_house(yard, https, repo):
    """GIT_SSL_CAINFO of the agent's environment, in a folder that only the agent can read."""
    commit = repo.commit({"README": "read me\n"})
    ended, log = yard.fetch({"repoUrl": https.url(repo), "branch": "main", "gitAuth": https.auth}, "cat README; git log -1 --format=%H; git status --short")
    assert ended == "succeeded" and "\nread me\n" in log and f"\n{commit}\n" in log, log
    assert f"Successfully cloned: {https.url(repo)}\n" in log and f"HEAD is now at {commit} change\n" in log


def test_https_with_an_authority_that_nobody_knows(yard, tmp_path, repo):
    from helpers.git import Authority, HttpGit
    server = HttpGit(tmp_path, authority=Authority(tmp_path / "other"))
    repo.commit({"README": "read me\n"})
    ended, log = yard.fetch({"repoUrl": server.url(repo), "gitAuth": server.auth})
    server.stop()
    assert ended == "failed" and "GIT_SSL_CAINFO" in log and "retrying" not in log, log
    assert not server.requests


@pytest.mark.parametrize("password, word", [("right", None), ("wrong", "passphrase of the ssh key"), (None, "passphrase of the ssh key")])
def test_ssh_key_with_a_passphrase(yard, ssh_git, repo, password, word):
    repo.commit({"README": "by a locked key\n"})
    phrase = ssh_git.passphrase if password == "right" else password
    ended, log = yard.fetch({"repoUrl": ssh_git.url(repo), "branch": "main", "gitAuth": key(ssh_git.locked_key, phrase)}, "cat README")
    if word:
        assert ended == "failed" and word in log and "retrying" not in log, log
    else:
        assert ended == "succeeded" and "\nby a locked key\n" in log, log
    assert ssh_git.passphrase not in log and "PRIVATE KEY" not in log


def test_tag_and_pull_request(yard, https, repo):
    """An annotated tag, and a reference that is no branch: both detached."""
    repo.commit({"README": "tagged\n"})
    repo.git("tag", "-a", "v1.0", "-m", "one")
    repo.commit({"README": "asked to be pulled\n"})
    repo.git("push", "--quiet", "origin", "v1.0", "HEAD:refs/pull/7/head")
    repo.commit({"README": "main\n"})
    for git, text in (({"tag": "v1.0"}, "tagged"), ({"tag": "refs/tags/v1.0"}, "tagged"), ({"branch": "refs/pull/7/head"}, "asked to be pulled"),
                      ({"branch": "refs/heads/main"}, "main"), ({}, "main")):
        ended, log = yard.fetch({"repoUrl": https.url(repo), "gitAuth": https.auth, **git}, "cat README; git tag; git status --short --branch")
        assert ended == "succeeded" and f"\n{text}\n" in log, log
        assert ("## main" in log) == ("heads" in git.get("branch", "")), log


@pytest.mark.parametrize("protocol", [2, 0])
def test_commit_that_is_no_tip(yard, https, repo, protocol):
    """An old server hands out branches and tags only: the history is fetched until the commit is in it. Also by a short name."""
    https.protocol = protocol
    commits = repo.history(60)
    for number, name in ((2, commits[2]), (40, commits[40]), (1, commits[1][:10])):
        ended, log = yard.fetch({"repoUrl": https.url(repo), "commit": name, "gitAuth": https.auth}, "cat README; git rev-parse HEAD")
        assert ended == "succeeded" and f"\nnumber {number}\n" in log and f"\n{commits[number]}\n" in log, log
    # And once more, when all of it is known here.
    ended, log = yard.fetch({"repoUrl": https.url(repo), "commit": commits[2], "gitAuth": https.auth}, "cat README")
    assert ended == "succeeded" and "\nnumber 2\n" in log, log


def test_commit_that_does_not_exist(yard, https, repo):
    repo.commit({"README": "read me\n"})
    ended, log = yard.fetch({"repoUrl": https.url(repo), "commit": "1" * 40, "gitAuth": https.auth})
    assert ended == "failed" and f"commit {'1' * 40} is not in any branch or tag" in log and "retrying" not in log, log


def test_submodules_get_the_credentials_of_their_host(yard, https, repo, tmp_path):
    """A relative URL and an absolute one of the same host; a submodule in a submodule. One of them pins a commit that is no tip."""
    parts = [Repository(tmp_path / f"parts{n}", f"part{n}") for n in range(3)]
    pinned = parts[1].commit({"part.txt": "part 1, pinned\n"})
    parts[1].commit({"part.txt": "part 1, newer\n"})
    inner = parts[2].commit({"part.txt": "part 2\n"})
    parts[0].commit({"part.txt": "part 0\n"})
    parts[0].submodule("inner", https.url(parts[2]), inner)
    repo.commit({"README": "whole\n"})
    repo.submodule("a", "../" + str(parts[0].bare.relative_to(repo.bare.parent)), parts[0].git("rev-parse", "HEAD"))
    repo.submodule("b", https.url(parts[1]), pinned)
    ended, log = yard.fetch({"repoUrl": https.url(repo), "branch": "main", "gitAuth": https.auth}, "cat a/part.txt a/inner/part.txt b/part.txt; git status --short")
    assert ended == "succeeded" and "\npart 0\npart 2\npart 1, pinned\n" in log, log
    assert https.password not in log


def test_submodule_of_a_server_that_hands_out_no_commits(yard, https, repo, tmp_path):
    https.protocol = 0
    part = Repository(tmp_path / "parts", "part")
    pinned = part.commit({"part.txt": "old\n"})
    part.commit({"part.txt": "new\n"})
    repo.commit({"README": "whole\n"})
    repo.submodule("a", https.url(part), pinned)
    ended, log = yard.fetch({"repoUrl": https.url(repo), "branch": "main", "gitAuth": https.auth}, "cat a/part.txt")
    assert ended == "succeeded" and "\nold\n" in log, log


def test_submodules_of_another_host_get_no_credentials(yard, https, repo, tmp_path):
    """Neither the password, nor by a user's name that looks like the host."""
    other = yard.https(tmp_path, host="localhost")
    part = Repository(tmp_path / "parts", "part")
    commit = part.commit({"part.txt": "part\n"})
    where = https.origin.removeprefix("https://")
    for user in ("", "robot@", f"{where.replace(':', '%3A')}%2Frobot@", f"robot%40{where.replace(':', '%3A')}@"):
        url = other.url(part).replace("https://", f"https://{user}")
        repo.git("rm", "-rfq", "--cached", "--ignore-unmatch", ".")
        (repo.tree / ".gitmodules").unlink(missing_ok=True)
        repo.commit({"README": "whole\n"})
        repo.submodule("a", url, commit)
        ended, log = yard.fetch({"repoUrl": https.url(repo), "branch": "main", "gitAuth": https.auth})
        assert ended == "failed" and "git submodule" in log, log
    other.stop()
    assert len(other.requests) >= 4
    for _, header in other.requests:
        assert not header or https.password not in base64.b64decode(header.split()[1]).decode(), header


def test_ssh_key_is_not_shown_to_another_host(yard, ssh_git, repo, tmp_path):
    part = Repository(tmp_path / "parts", "part")
    commit = part.commit({"part.txt": "part\n"})
    repo.commit({"README": "whole\n"})
    repo.submodule("a", ssh_git.url(part, host="localhost"), commit)
    ended, log = yard.fetch({"repoUrl": ssh_git.url(repo), "branch": "main", "gitAuth": key(ssh_git.key)})
    # That sshd lets the key in by any of its names: it was not shown.
    assert ended == "failed" and "git submodule" in log and "does not accept the ssh key" in log, log
    (repo.tree / ".gitmodules").unlink()
    repo.submodule("a", ssh_git.url(part), commit)
    ended, log = yard.fetch({"repoUrl": ssh_git.url(repo), "branch": "main", "gitAuth": key(ssh_git.key)}, "cat a/part.txt")
    assert ended == "succeeded" and "\npart\n" in log, log


# ---- faults --------------------------------------------------------------------------------------------------------
@pytest.fixture
def quick(tmp_path, clock):
    """Its pauses between retries pass twenty times as fast."""
    yard, ended = Yard(tmp_path / "yard", clock=clock), threading.Event()

    def move():
        while not ended.wait(0.2):
            clock.advance(4)

    mover = threading.Thread(target=move)
    mover.start()
    yield yard
    ended.set()
    mover.join()
    yard.stop()


def test_what_may_pass_is_tried_four_times_more(quick, tmp_path, repo):
    """The lines are those of the hosted service."""
    repo.commit({"README": "read me\n"})
    server, asked = quick.https(tmp_path), []

    def broken(path):
        asked.append(path)
        return 502, [], b"bad gateway"

    server.before = broken
    ended, log = quick.fetch({"repoUrl": server.url(repo), "branch": "main", "gitAuth": server.auth})
    assert ended == "failed" and len(asked) == 5, (asked, log)
    assert log.count("Clone failed; retrying\n") == 4 and log.count("Giving up\n") == 1, log
    assert "Error: could not create workspace: retry limit reached" in log and "502" in log, log
    # Better after two.
    asked.clear()
    server.before = lambda path: broken(path) if len(asked) < 2 else None
    ended, log = quick.fetch({"repoUrl": server.url(repo), "branch": "main", "gitAuth": server.auth}, "cat README")
    assert ended == "succeeded" and log.count("Clone failed; retrying\n") == 2 and "\nread me\n" in log, log
    server.stop()


@pytest.mark.parametrize("fault, word", [("password", "does not accept the credentials"), ("none", "wants credentials"), ("branch", "no such branch or tag"),
                                         ("tag", "no such branch or tag"), ("repository", "not found"), ("key", "does not accept the ssh key")])
def test_what_will_not_pass_is_not_tried_again(yard, https, ssh_git, repo, fault, word):
    repo.commit({"README": "read me\n"})
    good = {"repoUrl": https.url(repo), "branch": "main", "gitAuth": https.auth}
    git = {"password": {**good, "gitAuth": {"accessToken": {"secret": "no-such-token"}}},
           "none": {k: v for k, v in good.items() if k != "gitAuth"}, "branch": {**good, "branch": "no-such-branch"},
           "tag": {"repoUrl": good["repoUrl"], "gitAuth": https.auth, "tag": "v9"}, "repository": {**good, "repoUrl": https.origin + "/none.git"},
           "key": {"repoUrl": ssh_git.url(repo), "gitAuth": key(ssh_git.wrong_key)}}[fault]
    ended, log = yard.fetch(git)
    assert ended == "failed" and "retrying" not in log and word in log, log


# ---- where credentials go ------------------------------------------------------------------------------------------
def everything_of(folder):
    """Names and contents of all regular files below."""
    for path in Path(folder).rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield str(path), path.read_bytes()


def test_credentials_are_nowhere(yard, https, repo, tmp_path):
    """Not in an argument or a variable of any process while git runs; not in a file, the log, or the sandbox while the program does."""
    repo.commit({"README": "read me\n"})
    secret, git_runs, looked = https.password, threading.Event(), threading.Event()

    def hold(path):
        git_runs.set()
        assert looked.wait(30)

    https.before = hold
    stack, id = yard.start({"repoUrl": https.url(repo), "branch": "main", "gitAuth": https.auth},
                           f"grep -rqs {secret[:-1]}[{secret[-1]}] .git /proc/[0-9]*/environ /proc/[0-9]*/cmdline ~ /tmp && echo SEEN || echo unseen",
                           "cat .git/config; until [ -e go ]; do sleep 0.05; done")
    assert git_runs.wait(60)
    seen = []
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) in (os.getpid(), yard.runner.pid, yard.site.server.pid):
            continue
        for name in ("cmdline", "environ"):
            try:
                text = (folder / name).read_bytes()
            except OSError:
                continue
            if b"git-remote-https" in text or b"GIT_ASKPASS" in text:
                seen.append(name)
            assert secret.encode() not in text and https.basic.split()[1].encode() not in text, (folder, text)
    assert {"cmdline", "environ"} <= set(seen)  # the right processes were looked at
    jobs = yard.runner.work / "jobs"
    assert any(secret.encode() in text and path.endswith("/git/password") for path, text in everything_of(jobs))
    for path, text in everything_of(yard.runner.work):
        if path.endswith("/git/password"):
            assert os.stat(path).st_mode & 0o077 == 0
        else:
            assert secret.encode() not in text, path
    looked.set()
    wait_until(lambda: "url = " in yard.api.log(stack, id), 60, "the program to run")
    for path, text in everything_of(yard.runner.work):
        assert secret.encode() not in text, path
    tree = next(jobs.glob("*/tree"))
    (tree / "go").write_text("")
    yard.api.wait_status(stack, id)
    log = yard.api.log(stack, id)
    assert "\nunseen\n" in log and secret not in log and not re.search(r"https://[^/\s]*@", log), log
    assert secret not in yard.runner.stderr() and secret not in yard.site.server.stderr()


def test_credentials_of_the_url_are_nowhere_either(yard, https, repo):
    repo.commit({"README": "read me\n"})
    url = https.url(repo).replace("https://", f"https://{https.user}:{https.password}@")
    ended, log = yard.fetch({"repoUrl": url, "branch": "main"}, "cat .git/config; git remote -v")
    assert ended == "succeeded" and https.password not in log and f"url = \"{https.url(repo)}\"" in log, log
