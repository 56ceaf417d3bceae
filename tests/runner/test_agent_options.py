"""Options of the agent by our names and by those of Pulumi's own agent, in flags, environment and files (features §7.4)."""
import json
import re
import socket
import urllib.error
import urllib.request

import pytest

from helpers import process, programs
from helpers.runner import Site
from helpers.waiting import wait_until

# our name, the other agent's, a value, how it is shown
NAMES = [
    ("server", "service_url", "https://slipway.example.com", "https://slipway.example.com"),
    ("token", "token", "pul-pool-0123", "[secret]"),
    ("work", "working_directory", "/srv/agent", "/srv/agent"),
    ("isolation", "deploy_target", "docker", "docker"),
    ("single-run", "single_run", "true", "true"),
    ("env-forward", "env_forward_allowlist", "AWS_REGION,HTTP_PROXY", "AWS_REGION,HTTP_PROXY"),
    ("polling-interval", "polling_interval", "1m", "1m"),
    ("polling-interval-override", "polling_interval_override", "true", "true"),
    ("health-address", "http_server_port", "8080", "8080"),
    ("health-threshold", "health_threshold", "90s", "90s"),
]
# A file of that agent with everything in it that its documentation names.
THEIRS = """
# Pulumi customer managed workflow agent
token: {token}
service_url: {url}/
working_directory: {work}
shared_volume_directory: /mnt/shared
deploy_target: {isolation}
single_run: false
pull_image: true
enabled_workflow_types:
  - deployment
  - insights_scan
  - policy_evaluation
env_forward_allowlist: [AWS_REGION, "FORWARDED_TOKEN", NOT_SET]
oidc_token_file:
organization_name: acme
runner_pool_id: ~
token_expiration: 1h
polling_interval: 1m
polling_interval_override: false
job_status_loop_interval: 30s
request_timeout: 30s
request_retry_count: 2
request_retry_wait: 20s
request_retry_max_wait: 2m
circuit_breaker_failures: 2
circuit_breaker_timeout: 10m
http_server_port: {port}
health_threshold: 10m
syslog: false
"""


def config(folder, *arguments, env=None, status=0):
    run = process.run_slipway(folder, "config", *arguments, env=env)
    assert run.returncode == status, run.stderr
    if status:
        return run.stderr
    return {name: (value, where) for name, value, where in re.findall(r"^(\S+) = (.*?) *# (.*)$", run.stdout, re.M)}, run.stdout


@pytest.mark.parametrize("ours, theirs, value, shown", NAMES)
def test_each_name(tmp_path, ours, theirs, value, shown):
    variable = "PULUMI_AGENT_" + theirs.upper()
    own_value = "127.0.0.1:" + value if ours == "health-address" else value
    own_shown = "127.0.0.1:" + shown if ours == "health-address" else shown
    assert config(tmp_path, env={variable: value})[0][ours] == (shown, variable)
    own = "SLIPWAY_" + ours.upper().replace("-", "_")
    assert config(tmp_path, env={own: own_value, variable: value})[0][ours] == (own_shown, own)
    for flag in (theirs, theirs.replace("_", "-")):
        assert config(tmp_path, f"--{flag}={value}", env={variable: value})[0][ours] == (shown, f"--{ours}")
    file = tmp_path / "pulumi-workflow-agent.yaml"
    file.write_text(f"# theirs\n{theirs}: {value}\n")
    assert config(tmp_path)[0][ours] == (shown, "./pulumi-workflow-agent.yaml:2")
    assert config(tmp_path, env={variable: value})[0][ours] == (shown, variable)
    file.rename(tmp_path / "home" / "pulumi-deployment-agent.yaml")
    assert config(tmp_path)[0][ours] == (shown, f"{tmp_path}/home/pulumi-deployment-agent.yaml:2")
    other = tmp_path / "ours.yaml"
    other.write_text(f"{ours}: {own_value}\n")
    assert config(tmp_path, "--config", other)[0][ours] == (own_shown, f"{other}:1")


def test_help_names_both(tmp_path):
    text = re.sub(r"\n {20,}", " ", process.run_slipway(tmp_path, "agent", "--help").stdout)  # broken lines
    for ours, theirs, _, _ in NAMES:
        assert re.search(rf"--{ours}\b.*\[{theirs}\]", text), ours


def test_names_of_another_agent_mean_nothing_to_a_server(tmp_path):
    run = process.run_slipway(tmp_path, "serve", "--service_url", "http://x")
    assert run.returncode == 2 and "unknown option --service_url" in run.stderr


def test_their_file_as_it_is(tmp_path):
    (tmp_path / "pulumi-workflow-agent.yaml").write_text(THEIRS.format(token="t", url="https://x", work="/w", isolation="docker", port=8080))
    rows, text = config(tmp_path)
    assert rows["server"][0] == "https://x/" and rows["env-forward"][0] == "AWS_REGION,FORWARDED_TOKEN,NOT_SET" and "pul-" not in text
    assert "# without meaning here: circuit_breaker_failures (./pulumi-workflow-agent.yaml:" in text
    assert "oidc_token_file" not in text and "runner_pool_id" not in text  # named, but without a value


@pytest.mark.parametrize("text, line, word", [
    ("token: x\nservice_ulr: y\n", 2, "unknown option 'service_ulr'"),
    ("deploy_target: kubernetes\n", 1, "starts no pods"),
    ("deploy_target: vm\n", 1, "must be one of auto, docker"),
    ("- a\n- b\n", 1, "name: value"),
    ("token: {a: b}\n", 1, "a value must be a text"),
    ("env_forward_allowlist: [[a]]\n", 1, "plain values"),
    ("token: 'x\n", 2, "end of stream"),
    ("a: &x [b]\ntoken: *x\n", 1, "unknown option 'a'"),
    ("polling_interval: soon\n", 1, "must be a time"),
    ("http_server_port: 99999\n", 1, "port"),
])
def test_a_bad_file_is_refused_with_its_line(tmp_path, text, line, word):
    (tmp_path / "pulumi-workflow-agent.yaml").write_text(text)
    said = config(tmp_path, status=2)
    assert f"pulumi-workflow-agent.yaml:{line}" in said and word in said, said


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "token:\n", "~\n"])
def test_an_empty_file_says_nothing(tmp_path, text):
    (tmp_path / "pulumi-workflow-agent.yaml").write_text(text)
    assert "token" not in config(tmp_path)[0]


def test_which_token_counts(tmp_path):
    (tmp_path / "file").write_text("not-a-token\n")
    run = process.run_slipway(tmp_path, "agent", "--server", "http://127.0.0.1:1", "--token", "a", "--token-file", tmp_path / "file")
    assert run.returncode == 2 and "--token and --token-file: give one of them" in run.stderr
    run = process.run_slipway(tmp_path, "agent", "--server", "http://127.0.0.1:1")
    assert run.returncode == 2 and "--token-file FILE is missing" in run.stderr
    run = process.run_slipway(tmp_path, "agent", "--server", "http://127.0.0.1:1", "--token", "a", "--env-forward", "PATH,SLIPWAY_TOKEN")
    assert run.returncode == 2 and "SLIPWAY_TOKEN is the agent's own" in run.stderr


@pytest.fixture
def site(own):
    return Site(own)


@pytest.fixture
def start(tmp_path):
    """An agent without a flag: by its environment and files alone."""
    started = []

    def run(*arguments, file=None, **env):
        folder = tmp_path / f"agent{len(started)}"
        (folder / "home").mkdir(parents=True)
        if file:
            (folder / "pulumi-workflow-agent.yaml").write_text(file)
        one = process.Program(folder, "agent", ["agent", *arguments], process.environment(folder / "home", **env))
        started.append(one)
        return one

    yield run
    for one in started:
        if not one.stopped:
            one.stop(expect=None)


SHOW = "preRunCommands", ["echo \"region=$AWS_REGION token=$FORWARDED_TOKEN other=${OTHER-unset} own=${SLIPWAY_TOKEN-unset}${PULUMI_AGENT_TOKEN-unset}\""]


def deploy(site, repo, name, program=None):
    repo.commit(program or {"README": "no program\n"})
    stack = site.stack(name, sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}}, operationContext=dict([SHOW]))
    return stack, site.api.deploy(stack)["id"]


def test_an_agent_by_their_file(site, start, repo, tmp_path):
    """The file as that agent's users have it; a run sees what the list names, and what is a secret by its name is masked."""
    file = THEIRS.format(token=site.pool["tokenValue"], url=site.server.url, work=tmp_path / "w", isolation="process", port=0)
    agent = start("--allow-insecure-sources", file=file, AWS_REGION="eu-central-1", FORWARDED_TOKEN="hunter2-hunter2", OTHER="x")
    stack, id = deploy(site, repo, "acme/options/dev")
    site.api.wait_status(stack, id, "failed")
    log = site.api.log(stack, id)
    assert "region=eu-central-1 token=[secret] other=unset own=unsetunset" in log
    assert "without meaning here: shared_volume_directory" in agent.stderr()
    agent.stop()


def test_the_token_leaves_the_environment(site, start):
    """Whoever may look at the process would find it in its first environment."""
    agent = start(PULUMI_AGENT_TOKEN=site.pool["tokenValue"], PULUMI_AGENT_SERVICE_URL=site.server.url, SLIPWAY_ISOLATION="process")
    agent.wait_stderr("polls http")
    with open(f"/proc/{agent.pid}/environ", "rb") as f:
        found = f.read()
    assert site.pool["tokenValue"].encode() not in found and b"PULUMI_AGENT_SERVICE_URL" in found
    agent.stop()


@pytest.mark.parametrize("program, status, code", [("works", "succeeded", 0), ("fails", "failed", 1)])
def test_a_single_run(site, start, repo, program, status, code):
    """Ends after one deployment, with its result; the next one stays in the queue."""
    stack, id = deploy(site, repo, "acme/single/dev", programs.stash("single") if program == "works" else None)
    second = site.api.deploy(stack)["id"]
    agent = start("--allow-insecure-sources", PULUMI_AGENT_TOKEN=site.pool["tokenValue"], PULUMI_AGENT_SERVICE_URL=site.server.url, PULUMI_AGENT_SINGLE_RUN="true",
                  SLIPWAY_ISOLATION="process", SLIPWAY_CONCURRENCY="4")
    assert agent.process.wait(60) == code, agent.stderr()
    agent.stop(expect=None)
    assert site.api.deployment(stack, id)["status"] == status
    assert site.api.deployment(stack, second)["status"] == "not-started"


def metric(text, name):
    return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.M).group(1))


class Watched:
    """The agent's own listener."""

    def __init__(self, agent):
        self.url = agent.wait_stderr(r"/healthz and /metrics on (http://\S+)").group(1)

    def get(self, path, method="GET"):
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, method=method), timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()


def test_polls_at_their_interval(site, agent):
    """With the override the server holds no poll; without it, one is held for most of a minute."""
    often = Watched(agent(site.server, site.pool["tokenValue"], "--polling-interval", "1s", "--polling-interval-override", "--health-address", "127.0.0.1:0", "--concurrency", "1"))
    held = Watched(agent(site.server, site.pool["tokenValue"], "--polling-interval", "1s", "--health-address", "127.0.0.1:0", "--concurrency", "1", name="held"))
    wait_until(lambda: metric(often.get("/metrics")[1], "slipway_agent_polls_total") >= 3, 10, "three polls")
    assert metric(held.get("/metrics")[1], "slipway_agent_polls_total") == 0


def test_health_and_metrics(site, agent, repo, tmp_path):
    one = agent(site.server, site.pool["tokenValue"], "--health-address", "127.0.0.1:0", "--health-threshold", "1s", "--concurrency", "3")
    watched = Watched(one)
    repo.commit(programs.stash("metrics"))
    stack = site.stack("acme/metrics/dev", sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}},
                       operationContext={"preRunCommands": ["echo $K $K"], "environmentVariables": {"K": {"secret": "hunter2-hunter2"}}})
    first, bad = site.api.deploy(stack)["id"], site.api.deploy(stack, operationContext={"preRunCommands": ["exit 3"]})["id"]
    site.api.wait_status(stack, first, "succeeded")
    site.api.wait_status(stack, bad, "failed")
    text = wait_until(lambda: (t := watched.get("/metrics")[1]) and metric(t, "slipway_agent_running") == 0 and t, 10, "an idle agent")
    assert 'slipway_agent_info{version="' in text and 'isolation="process"} 1' in text
    assert metric(text, "slipway_agent_claims_total") == 2 and metric(text, "slipway_agent_slots") == 3 and metric(text, "slipway_agent_polls_total") >= 2
    assert metric(text, 'slipway_agent_runs_total{result="succeeded"}') == 1 and metric(text, 'slipway_agent_runs_total{result="failed"}') == 1
    assert metric(text, "slipway_agent_masked_total") >= 2 and metric(text, "slipway_agent_log_bytes_total") > 200 and metric(text, "slipway_agent_upload_retries_total") == 0
    assert metric(text, 'slipway_agent_step_seconds_count{step="pre-run"}') == 2 and metric(text, 'slipway_agent_step_seconds_bucket{step="pulumi",le="+Inf"}') == 1
    for line in text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) slipway_agent_\w+ .+|slipway_agent_\w+(\{\w+=\"[^\"]*\"(,\w+=\"[^\"]*\")*\})? -?[\d.]+", line), line
    status, body = watched.get("/healthz")
    assert status == 200 and json.loads(body)["status"] == "ok" and json.loads(body)["lastActivity"].startswith("20")
    assert watched.get("/healthz", "HEAD") == (200, "") and watched.get("/")[0] == 404 and watched.get("/healthz", "POST")[0] == 405
    # Whoever says nothing, or too much, does not keep the others from being answered.
    address = watched.url.removeprefix("http://").split(":")
    for text in (b"", b"GET", b"x" * 100000, b"\0\0\r\n\r\n", b"GET  \r\n\r\n", b"GET /healthz HTTP/1.1\r\n"):
        with socket.create_connection((address[0], int(address[1])), 5) as silent:
            silent.sendall(text)
            if text == b"GET":
                silent.shutdown(socket.SHUT_WR)
    assert watched.get("/healthz")[0] == 200
    # The server away: an idle agent is not healthy.
    site.server.stop()
    wait_until(lambda: watched.get("/healthz")[0] == 503, 20, "a 503")
    one.stop()


def test_nothing_listens_unless_asked(site, agent):
    one = agent(site.server, site.pool["tokenValue"])
    one.wait_stderr("polls http")
    inodes = {link.readlink().name for link in process.Path(f"/proc/{one.pid}/fd").iterdir() if "socket" in str(link.readlink())}
    listening = [line.split()[9] for name in ("tcp", "tcp6") for line in process.Path(f"/proc/{one.pid}/net/{name}").read_text().splitlines()[1:] if line.split()[3] == "0A"]
    assert not [i for i in listening if f"socket:[{i}]" in inodes]


def test_a_taken_address_is_said(site, agent):
    busy = site.server.url.removeprefix("http://")
    one = agent(site.server, site.pool["tokenValue"], "--health-address", busy)
    assert one.process.wait(20) != 0 and f"--health-address: cannot listen on {busy}" in one.stderr()
    one.stop(expect=None)
