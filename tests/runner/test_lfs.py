"""Repositories that keep files in Git LFS: by the credentials of the source, from its own host, and without programs of theirs."""
import uuid
from pathlib import Path

import pytest
from helpers.runner import Yard

ATTRIBUTES = "*.bin filter=lfs diff=lfs merge=lfs -text\n"


@pytest.fixture(scope="module")
def yard(tmp_path_factory):
    yard = Yard(tmp_path_factory.mktemp("lfs"))
    yield yard
    yard.stop()


def fetch(yard, https, repo, *commands):
    return yard.fetch({"repoUrl": https.url(repo), "branch": "main", "gitAuth": https.auth}, *commands)


def test_files_come_by_the_credentials_of_the_source(yard, https, repo):
    """Also where only a folder says that its files are there."""
    data = b"\x00big\xff" * 1000
    repo.commit({"deep/.gitattributes": ATTRIBUTES, "deep/a.bin": https.lfs_pointer(data), "plain.bin": "not there\n"})
    ended, log = fetch(yard, https, repo, "stat -c %s deep/a.bin; cat plain.bin; cat .git/config")
    assert ended == "succeeded" and f"\n{len(data)}\nnot there\n" in log, log
    asked = [(path, header) for path, header in https.requests if "lfs" in path]
    assert any(path.startswith("/lfs-objects/") for path, _ in asked) and asked[-1][1] == https.basic
    assert https.password not in log


def test_an_object_that_is_not_there(yard, https, repo):
    pointer = https.lfs_pointer(b"lost")
    https.lfs.clear()
    repo.commit({".gitattributes": ATTRIBUTES, "a.bin": pointer})
    ended, log = fetch(yard, https, repo)
    assert ended == "failed" and "git lfs failed" in log and "does not exist" in log and "retrying" not in log, log


def test_a_configuration_that_leads_elsewhere(yard, https, repo, tmp_path):
    """Another host is not asked at all; another path of the same host is."""
    other = yard.https(tmp_path, host="localhost")
    other.accepts = lambda header: True
    pointer = https.lfs_pointer(b"mine")
    other.lfs_pointer(b"mine")
    for text in (f"[lfs]\n\turl = {other.origin}/x\n", f"[lfs]\n\turl = file://{tmp_path}\n", "[lfs]\n\turl = --upload-pack=x\n"):
        repo.commit({".gitattributes": ATTRIBUTES, "a.bin": pointer, ".lfsconfig": text})
        ended, log = fetch(yard, https, repo, "cat a.bin")
        assert ended == "succeeded" and "names another host" in log and "\noid sha256:" in log, log
    for text in (f'[remote "origin"]\n\tlfsurl = {other.origin}/x\n', f"[lfs]\n\tpushurl = {other.origin}/x\n",
                 f"[include]\n\tpath = {tmp_path}/more\n", f"[lfs]\n\turl = {https.origin}/elsewhere\n"):
        repo.commit({".lfsconfig": text})
        ended, log = fetch(yard, https, repo, "cat a.bin")
        assert ended == "succeeded" and "\nmine" in log, log
    assert any(path.startswith("/elsewhere/objects/batch") for path, _ in https.requests)
    assert not other.requests
    other.stop()


def test_a_configuration_that_names_programs(yard, https, repo):
    owned = Path(f"/dev/shm/owned-{uuid.uuid4().hex}")
    run = f"touch {owned}"
    repo.commit({".gitattributes": ATTRIBUTES, "a.bin": https.lfs_pointer(b"fine"), ".lfsconfig":
                 f'[lfs]\n\tstandalonetransferagent = evil\n[lfs "customtransfer.evil"]\n\tpath = /bin/sh\n\targs = -c "{run}"\n'
                 f'[filter "lfs"]\n\tsmudge = {run}\n\tprocess = {run}\n\tclean = {run}\n[lfs "extension.evil"]\n\tsmudge = {run}\n\tclean = {run}\n\tpriority = 0\n'
                 f'[core]\n\tsshCommand = {run}\n\tfsmonitor = {run}\n[credential]\n\thelper = "!{run}"\n'})
    ended, log = fetch(yard, https, repo, "cat a.bin")
    assert not owned.exists() and ended == "succeeded" and "\nfine" in log, log


def test_a_runner_without_git_lfs(yard, https, repo, tmp_path):
    """A line says so, and the run goes on with pointers."""
    bin = tmp_path / "bin"
    bin.mkdir()
    for folder in ("/usr/sbin", "/usr/bin"):
        for program in Path(folder).iterdir():
            if program.name != "git-lfs" and not (bin / program.name).exists():
                (bin / program.name).symlink_to(program)
    tools = Path(yard.runner.environment["PATH"].split(":")[0])
    yard.runner.stop()
    yard.runner = yard.agent("--tools", tools, isolation="process", env={"PATH": str(bin)})
    repo.commit({".gitattributes": ATTRIBUTES, "a.bin": https.lfs_pointer(b"there")})
    ended, log = fetch(yard, https, repo, "cat a.bin")
    yard.runner.stop()
    yard.runner = yard.agent()
    assert ended == "succeeded" and "git-lfs is not installed on this runner" in log and "\noid sha256:" in log, log
