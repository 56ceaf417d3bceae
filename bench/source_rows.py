"""Rows about the step `Get source`: a large repository and a small one, when the runner sees them first and when it knows them, beside
a plain `git clone` from the same server."""
import os
import shutil
import statistics
import subprocess
import time
from datetime import datetime

from measure import milliseconds, row, say

from helpers import process
from helpers.git import HttpGit, Repository

MEGABYTES = int(os.environ.get("BENCH_SOURCE_MB", "500"))


def fill(repo, megabytes):
    """Files of a megabyte that cannot be compressed."""
    parts = [b"commit refs/heads/main\ncommitter Bench <bench@example.com> 1700000000 +0000\ndata 1\nx"]
    for n in range(megabytes):
        parts.append(b"M 644 inline d%d/f%d\ndata %d\n%s\n" % (n % 20, n, 1 << 20, os.urandom(1 << 20)))
    repo.import_(b"".join(parts))


def clone(url, folder):
    """Seconds of `git clone --depth=1`."""
    began = time.perf_counter()
    subprocess.run(["git", "clone", "--quiet", "--depth=1", url, folder], check=True, env=process.environment(folder.parent))
    took = time.perf_counter() - began
    shutil.rmtree(folder)
    return took


def get_source(api, stack, url):
    """Seconds of the step, as the server has it."""
    made = api.deploy(stack, "preview", sourceContext={"git": {"repoUrl": url, "branch": "main"}})
    done = api.wait_status(stack, made["id"], timeout=600)
    step = next(s for s in done["jobs"][0]["steps"] if s["name"] == "Get source")
    assert step["status"] == "succeeded", api.log(stack, made["id"])
    began, ended = (datetime.fromisoformat(step[k].replace("Z", "+00:00")) for k in ("started", "lastUpdated"))
    return (ended - began).total_seconds()


def rows(folder):
    say(f"a repository of {MEGABYTES} MB")
    folder = folder / "sources"
    large, small = Repository(folder, "large"), Repository(folder, "small")
    fill(large, MEGABYTES)
    small.commit({"README": "nothing to run\n"})
    git = HttpGit(folder)
    git.accepts = lambda header: True
    server = process.Server(folder / "server")
    api = server.api()
    api.create_stack("acme/sources/dev")
    peers = [clone(git.url(large), folder / "clone") for _ in range(2)]
    first, second = (get_source(api, "acme/sources/dev", git.url(large)) for _ in range(2))
    row(f"Get source, {MEGABYTES} MB, for the first time / again", f"{first:.1f} / {second:.1f} s", f"git clone {peers[0]:.1f} / {peers[1]:.1f} s")
    large.import_(b"commit refs/heads/main\ncommitter Bench <bench@example.com> 1700000001 +0000\ndata 1\nxfrom refs/heads/main^0\nM 644 inline new\ndata 4\nnew\n")
    row("… behind a new commit of one file", f"{get_source(api, 'acme/sources/dev', git.url(large)):.1f} s")
    get_source(api, "acme/sources/dev", git.url(small))
    again = statistics.median(get_source(api, "acme/sources/dev", git.url(small)) for _ in range(10))
    peer = statistics.median(clone(git.url(small), folder / "clone") for _ in range(10))
    row("Get source, a small one that is known (median of 10)", milliseconds(again), f"git clone {milliseconds(peer)}")
    server.stop()
    git.stop()
