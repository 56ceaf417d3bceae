"""The agent's copies of repositories: what a second run saves, who gets it, and what becomes of a damaged one."""
import os
import random
import threading

import pytest
from helpers.git import Repository
from helpers.runner import Yard
from helpers.waiting import wait_until


@pytest.fixture(scope="module")
def yard(tmp_path_factory):
    yard = Yard(tmp_path_factory.mktemp("mirrors"), "--concurrency", "2")
    yield yard
    yard.stop()


def noise(size, seed=1):
    return random.Random(seed).randbytes(size // 2).hex()


def mirrors(yard):
    return sorted(p for p in (yard.runner.work / "mirrors").iterdir())


def fetch(yard, https, repo, *commands, expect="succeeded", **git):
    before = https.sent
    ended, log = yard.fetch({"repoUrl": https.url(repo), "gitAuth": https.auth, **git}, *commands or ["cat README"])
    assert ended == expect, log
    return log, https.sent - before


def test_a_second_run_takes_only_what_is_new(yard, https, repo):
    repo.commit({"README": "one\n", "noise": noise(400_000)})
    log, first = fetch(yard, https, repo, branch="main")
    assert "\none\n" in log and first > 200_000
    asked = len(https.requests)
    log, again = fetch(yard, https, repo, "cat README; git status --short --branch; git fsck --no-dangling && echo whole", branch="main")
    assert "\none\n## main\n" in log and "\nwhole\n" in log and again < 2000, (again, log)
    # Asked with this run's credentials, and nothing but what the branch is.
    assert [path for path, header in https.requests[asked:] if header] == ["/program.git/info/refs?service=git-upload-pack", "/program.git/git-upload-pack"]
    new = repo.commit({"README": "two\n"})
    log, third = fetch(yard, https, repo, "cat README; git rev-parse HEAD; git rev-list --count HEAD", branch="main")
    assert f"\ntwo\n{new}\n1\n" in log and third < 10_000, (third, log)


def test_the_other_side_moves(yard, https, repo):
    """A branch that is forced back, one that becomes a folder of branches, a tag that is moved, a default branch that is another one."""
    first = repo.commit({"README": "first\n"})
    repo.git("push", "--quiet", "origin", "main:refs/heads/a", "main:refs/tags/t")
    for git in ({"branch": "a"}, {"tag": "t"}, {"branch": "main"}, {}):
        assert "\nfirst\n" in fetch(yard, https, repo, **git)[0]
    repo.commit({"README": "second\n"})
    repo.git("push", "--quiet", "origin", ":refs/heads/a")
    repo.git("push", "--quiet", "--force", "origin", "main:refs/heads/a/b", "main:refs/tags/t")
    for git in ({"branch": "a/b"}, {"tag": "t"}, {"branch": "main"}, {}):
        assert "\nsecond\n" in fetch(yard, https, repo, **git)[0]
    assert "no such branch" in fetch(yard, https, repo, branch="a", expect="failed")[0]
    repo.git("push", "--quiet", "--force", "origin", f"{first}:main")
    for git in ({"branch": "main"}, {}, {"commit": first}):
        assert "\nfirst\n" in fetch(yard, https, repo, **git)[0]


def test_each_run_shows_its_own_credentials(yard, https, repo):
    """Who may not read the repository gets nothing of it, although it lies here."""
    commit = repo.commit({"README": "private\n"})
    fetch(yard, https, repo, branch="main")
    fetch(yard, https, repo, commit=commit)
    before = mirrors(yard)
    for git in ({"branch": "main"}, {"commit": commit}):
        for auth in (None, {"basicAuth": {"userName": https.user, "password": {"secret": "guessed-wrong"}}}):
            log, _ = fetch(yard, https, repo, gitAuth=auth, expect="failed", **git)
            assert "private" not in log
    assert mirrors(yard) == before
    # The same credentials, which are no longer good.
    https.accepts = lambda header: False
    for git in ({"branch": "main"}, {"commit": commit}):
        assert "does not accept the credentials" in fetch(yard, https, repo, expect="failed", **git)[0]
    # And good again: what was kept is still there.
    https.accepts = lambda header: header == https.basic
    assert fetch(yard, https, repo, branch="main")[1] < 2000


@pytest.mark.parametrize("damage", ["pack", "index", "gone", "head", "killed", "locked"])
def test_a_damaged_mirror_is_made_anew(yard, https, repo, damage):
    commit = repo.commit({"README": "whole\n", "noise": noise(50_000, 2)})
    before = set(mirrors(yard))
    fetch(yard, https, repo, branch="main")
    (mirror,) = set(mirrors(yard)) - before
    pack = next(mirror.glob("objects/pack/*.pack"))
    if damage in ("pack", "index"):
        file = pack if damage == "pack" else pack.with_suffix(".idx")
        data = bytearray(file.read_bytes())
        for at in range(len(data) // 4, len(data) - 100, 500):
            data[at] ^= 0x55
        file.unlink()
        file.write_bytes(data)
    elif damage == "gone":
        pack.unlink()
    elif damage == "head":
        (mirror / "HEAD").write_text("no reference\n")
        commit = repo.commit({"README": "whole\n", "more": "more\n"})
    elif damage == "killed":
        (mirror / "ready").unlink()
        (mirror / "shallow.lock").write_text("")
        next(mirror.glob("objects/pack/*.idx")).unlink()
    elif damage == "locked":
        (mirror / "shallow.lock").write_text("")
        commit = repo.commit({"README": "whole\n", "more": "more\n"})
    for _ in range(2):
        log, sent = fetch(yard, https, repo, "cat README; git rev-parse HEAD; git status --short", branch="main")
        assert f"\nwhole\n{commit}\n== " in log, log
    fetch(yard, https, repo, branch="main")
    assert fetch(yard, https, repo, branch="main")[1] < 2000


def test_a_tree_shares_nothing_with_the_mirror(yard, https, repo):
    """No links, no alternates; and what is in the mirror belongs to nobody whom a run is."""
    repo.commit({"README": "mine\n"})
    before = set(mirrors(yard))
    look = "find .git -type f -links +1; cat .git/objects/info/alternates; chmod u+w .git/objects/pack/*; for f in .git/objects/pack/*; do echo broken > $f; done"
    log, _ = fetch(yard, https, repo, look, branch="main")
    assert "\n.git/" not in log
    (mirror,) = set(mirrors(yard)) - before
    for path in [mirror, *mirror.rglob("*")]:
        assert path.stat().st_uid == os.geteuid(), path
    assert os.stat(yard.runner.work).st_mode & 0o077 == 0
    assert "\nmine\n" in fetch(yard, https, repo, "cat README; git fsck && echo whole", branch="main")[0]


def test_two_runs_at_once(yard, https, repo):
    """The second waits for the first, and then has nothing to fetch."""
    repo.commit({"README": "both\n", "noise": noise(300_000, 3)})
    held, go = threading.Event(), threading.Event()

    def hold(path):
        held.set()
        assert go.wait(30)

    https.before = hold
    git = {"repoUrl": https.url(repo), "branch": "main", "gitAuth": https.auth}
    runs = [yard.start(git, "cat README") for _ in range(2)]
    assert held.wait(30)
    wait_until(lambda: all("Get source" in yard.api.log(*run) for run in runs), 30, "both to fetch")
    https.before = lambda path: None
    go.set()
    for run in runs:
        yard.api.wait_status(*run)
        assert "\nboth\n" in yard.api.log(*run), yard.api.log(*run)
    assert https.sent < 400_000


def test_room_and_none(yard, tmp_path):
    """--git-cache-limit: the one that was used longest ago goes. Zero keeps nothing."""
    yard.runner.stop()
    repos = [Repository(tmp_path / f"r{n}", f"r{n}") for n in range(3)]
    https = yard.https(tmp_path)
    for n, repo in enumerate(repos):
        repo.commit({"README": f"number {n}\n", "noise": noise(800_000, n)})
    yard.runner = yard.agent("--git-cache-limit", "1")
    kept = []
    for n in (0, 1, 0, 2, 0):
        log, sent = fetch(yard, https, repos[n], branch="main")
        assert f"\nnumber {n}\n" in log
        kept.append(sent < 2000)
        assert len(mirrors(yard)) <= 2
    assert kept == [False, False, True, False, True]
    yard.runner.stop()
    yard.runner = yard.agent("--git-cache-limit", "0")
    for _ in range(2):
        assert fetch(yard, https, repos[1], branch="main")[1] > 100_000
    assert not mirrors(yard)
    yard.runner.stop()
    yard.runner = yard.agent("--concurrency", "2")
    https.stop()
