"""What the dependency cache saves: a program in Node with Pulumi's package, its run without an archive and with one."""
import datetime
import os
import shutil
import statistics
import subprocess

from measure import row, say

from helpers import process, programs, where
from helpers.git import Repository

ROUNDS = int(os.environ.get("BENCH_CACHE_ROUNDS", "3"))
PACKAGES = {"@pulumi/pulumi": "3.190.0"}
STEPS = ("Restore cache", "Download dependencies", "Save cache")


def seconds(step):
    began, ended = (datetime.datetime.fromisoformat(step[k].replace("Z", "+00:00")) for k in ("started", "lastUpdated"))
    return (ended - began).total_seconds()


def lock(repo):
    """False: the registry is not there."""
    home = repo.tree.parent / "npm-home"
    home.mkdir(exist_ok=True)
    run = subprocess.run(["npm", "install", "--package-lock-only", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=20000"], cwd=repo.tree,
                         env={**where.clean_environment(home), **{k: v for k, v in os.environ.items() if k.lower().startswith("npm_config")}},
                         stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if run.returncode:
        say(run.stderr.strip()[-300:])
    return run.returncode == 0


def one(api, stack, repo):
    """Seconds of each step. Whether the program itself runs here is of no interest."""
    made = api.deploy(stack, "preview", sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}}, cacheOptions={"enable": True})
    made = api.wait_status(stack, made["id"], timeout=300)
    return {s["name"]: seconds(s) for s in made["jobs"][0]["steps"] if s["status"] == "succeeded"}


def rows(folder):
    say("the dependency cache")
    if not shutil.which("npm"):
        return row("dependency cache", "not measured: there is no npm")
    repo = Repository(folder / "cached")
    files = programs.yaml("cached")
    files["Pulumi.yaml"] = files["Pulumi.yaml"].replace("runtime: yaml", "runtime: nodejs")
    files |= {"index.js": '"use strict";\n', "package.json": '{"name":"cached","private":true,"main":"index.js","dependencies":{%s}}' %
              ",".join(f'"{n}":"{v}"' for n, v in PACKAGES.items())}
    for name, text in files.items():
        (repo.tree / name).write_text(text)
    if not lock(repo):
        return row("dependency cache", "not measured: the npm registry is not reachable")
    repo.commit({})
    server = process.Server(folder / "cache-server", "--isolation", "process")
    api = server.api()
    api.create_stack("acme/cached/dev")
    cold, warm = [], []
    for _ in range(ROUNDS):
        api.ok("DELETE", "/api/stacks/acme/cached/dev/deployments/cache")
        cold.append(one(api, "acme/cached/dev", repo))
        warm.append(one(api, "acme/cached/dev", repo))
    size = sum(f.stat().st_size for f in (server.data / "cache").rglob("*") if f.is_file())
    for name, runs in (("cold", cold), ("warm", warm)):
        each = {s: statistics.median(r.get(s, float("nan")) for r in runs) for s in STEPS}
        text = ", ".join(f"{s} {v:.2f} s" for s, v in each.items())
        row(f"dependencies of @pulumi/pulumi by npm, {name}", f"{sum(each.values()):.2f} s ({text})")
    row("its archive", f"{size / 1e6:.1f} MB")
    server.stop()
