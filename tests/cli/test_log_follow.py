"""`pulumi deployment log` on a deployment that is running, with a runner that the test plays itself."""
import re
import time

from helpers.pulumi import Pulumi
from helpers.runner import Runner, Site
from helpers.waiting import wait_until


def requests_of_logs(server):
    return len(re.findall(r"GET \S+/logs 200", server.stderr()))


def test_all_of_a_log_that_grows(own, stack, tmp_path):
    """With --all the CLI asks again as soon as it was answered: it must be held, or it would ask some thousand times."""
    site = Site(own, "--access-log")
    run = site.run(site.stack(stack))
    cli = Pulumi(tmp_path, site.server.url, site.api.token)
    run.step(0, name="Setup")
    run.log(0, "first\n")
    child = cli.start("deployment", "log", run.id, "--all", "--stack", stack)
    for i in range(5):
        time.sleep(0.5)
        run.log(0, f"line {i}\n")
    run.step(0, "succeeded")
    run.finish()
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert [line for line in out.splitlines() if line.startswith(("first", "line"))] == ["first", *(f"line {i}" for i in range(5))], out
    assert requests_of_logs(site.server) < 20


def test_a_run_is_followed_at_once(own, stack, tmp_path):
    """`deployment run` without --suppress-stream-logs: each line as it comes, and no more requests than lines."""
    site = Site(own, "--access-log")
    site.stack(stack)
    cli = Pulumi(tmp_path, site.server.url, site.api.token)
    child = cli.start("deployment", "run", "detect-drift", "--suppress-stream-logs=false", "--stack", stack)
    wait_until(lambda: site.api.get(f"/api/stacks/{stack}/deployments")["deployments"], 60, "the deployment")
    run = Runner(site, stack)
    run.step(0, name="Setup")
    for i in range(4):
        run.log(0, f"line {i}\n")
        time.sleep(0.4)
    run.step(0, "succeeded")
    run.finish("failed", "no drift today")
    out, err = child.communicate(timeout=60)
    assert child.returncode != 0 and [line for line in out.splitlines() if line.startswith("line")] == [f"line {i}" for i in range(4)], out + err
    assert "no drift today" in out
    assert requests_of_logs(site.server) < 16
