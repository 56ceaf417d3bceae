"""The network of runs: host, isolated, none. In a small internet of the test's own (helpers/world.py)."""
import os
import re
import socket
import time
from pathlib import Path

import pytest
from helpers import process, programs
from helpers.git import free_port
from helpers.waiting import wait_until
from helpers.world import INTERNET, MACHINE, METADATA, METADATA6, World, reach, through_proxy


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.close()


class Site:
    """A server, a pool with that network, its agent."""

    def __init__(self, own, agent, repo, network=None, *options, listen="127.0.0.1:0", server=(), isolation="bubblewrap"):
        self.server = own(*server, command="serve", listen=listen)
        self.server.admin("org", "add", "acme")
        self.api = self.server.user("operator", role="admin")
        self.pool = self.api.post("/api/orgs/acme/agent-pools", {"name": "builders", **({"network": network} if network else {})})
        self.agent = agent(self.server, self.pool["tokenValue"], *options, isolation=isolation)
        self.repo = repo
        self.agent.wait_stderr("polls")

    def stack(self, name="acme/net/dev", files=None):
        self.repo.commit(files or programs.stash("net"))
        self.api.create_stack(name)
        return name

    def run(self, commands=(), operation="preview", expect="succeeded", stack="acme/net/dev"):
        return self.api.run(stack, operation, expect=expect, sourceContext={"git": {"repoUrl": self.repo.url, "branch": "main"}},
                            operationContext={"preRunCommands": list(commands)})[1]


    def checked(self, *commands):
        self.stack()
        return self.run(commands)


def said(log, word) -> bool:
    assert f"{word} yes" in log or f"{word} no" in log, log
    return f"{word} yes\n" in log


@pytest.mark.parametrize("mode", ["host", "isolated", "none"])
def test_a_network_and_what_it_reaches(own, agent, repo, world, mode):
    """With the host's network all of it is reached, which shows that what is not reached otherwise could have been."""
    site = Site(own, agent, repo, {"mode": mode})
    site.stack()
    loop, machine = world.serve("127.0.0.1"), world.serve(MACHINE)
    closed = [(METADATA, 80), (METADATA6, 80), ("127.0.0.1", loop), (MACHINE, machine)]
    log = site.run([reach(INTERNET, 80), reach("internet.example", 80), *(reach(*x) for x in closed)], "update")
    assert f"Network: {mode if mode != 'host' else 'the host'}" in log
    assert said(log, f"{INTERNET}:80") == said(log, "internet.example:80") == (mode != "none")
    assert [said(log, f"{a}:{p}") for a, p in closed] == [mode == "host"] * len(closed)
    assert site.api.outputs("acme/net/dev")["value"] == "one", "the CLI has used the server"
    assert not [line for line in site.agent.descendants() if "slirp4netns" in Path(f"/proc/{line}/cmdline").read_text()], "it ends with its run"


@pytest.mark.parametrize("mode", ["isolated", "none"])
def test_all_operations_without_the_hosts_network(own, agent, repo, mode):
    """The server listens on the loopback of the host; a secret of the state needs it as well."""
    site = Site(own, agent, repo, {"mode": mode})
    site.stack("acme/net/dev", programs.secrets("net"))
    for operation in ("preview", "update", "refresh", "destroy"):
        log = site.run(["pulumi config set --secret password hidden-value --stack acme/net/dev"], operation)
        assert f"Network: {mode}" in log


@pytest.mark.parametrize("where_, mode", [("name", "isolated"), ("localhost", "none"), ("address", "isolated"), ("v6", "none")])
def test_the_server_has_its_usual_address_inside(own, agent, repo, world, where_, mode):
    """Whatever the server's URL says, the run uses it, and it leads to the server alone."""
    port = free_port()
    listen = {"address": f"{MACHINE}:{port}", "v6": f"[::1]:{port}"}.get(where_, f"127.0.0.1:{port}")
    url = {"name": f"http://loop.example:{port}", "localhost": f"http://localhost:{port}"}.get(where_, f"http://{listen}")
    site = Site(own, agent, repo, {"mode": mode}, listen=listen, server=["--public-url", url])
    site.stack()
    other = world.serve(MACHINE)
    log = site.run(["echo it is $PULUMI_BACKEND_URL", reach(MACHINE, other)], "update")
    assert f"it is {url}\n" in log and not said(log, f"{MACHINE}:{other}")


def test_an_allow_list(own, agent, repo, world):
    """Names of the list through the proxy; addresses of the machine and of private networks not even by such a name."""
    allow = ["internet.example:80", "*.example:8080", "machine.example:*", "meta.example:80", "inner.example:80", "loop.example:*"]
    site = Site(own, agent, repo, {"mode": "none", "allow": allow})
    site.stack()
    loop = world.serve("127.0.0.1")
    refused = ["other.example:80", "internet.example:81", "machine.example:81", "meta.example:80", "inner.example:80", f"loop.example:{loop}",
               f"127.0.0.1:{loop}", f"127.0.0.1:{site.server.port}", f"{METADATA}:80", f"{INTERNET}:80", "[::1]:80", "2130706433:80"]
    fetch = "python3 -c \"import urllib.request as u; print(u.urlopen('http://internet.example/x').read())\""
    log = site.run([through_proxy("internet.example:80"), fetch, *map(through_proxy, refused), through_proxy("other.example:80"), "env | grep -i _proxy"], "update")
    assert "internet.example:80 yes\n" in log and f"b'this is {INTERNET}" in log
    for target in refused:
        assert f"{target} HTTP/1.1 403 Forbidden" in log, f"{target}:\n{log}"
        assert log.count(f"a connection to {target.strip('[')[:0]}{target.replace('[', '').replace(']', '')} was refused") == 1, f"{target} is named once"
    for line in allow:
        assert f"\n  {line}\n" in log


def test_an_address_that_the_list_names(own, agent, repo, world):
    """Who writes the list may open an address of the machine, by its number; for one port."""
    loop, other = world.serve("127.0.0.1"), world.serve("127.0.0.1")
    site = Site(own, agent, repo, {"mode": "none", "allow": [f"127.0.0.1:{loop}", "loop.example:*"]})
    site.stack()
    log = site.run([through_proxy(f"127.0.0.1:{loop}"), through_proxy(f"loop.example:{loop}"), through_proxy(f"127.0.0.1:{other}"), through_proxy(f"loop.example:{other}")])
    assert f"127.0.0.1:{loop} yes" in log and f"loop.example:{loop} yes" in log
    assert f"127.0.0.1:{other} HTTP/1.1 403" in log and f"loop.example:{other} HTTP/1.1 403" in log


def test_a_run_has_no_power_over_its_network(own, agent, repo, world):
    """Nor over what else there is on the host beside addresses."""
    site = Site(own, agent, repo, {"mode": "isolated"})
    site.stack()
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("\0slipway-test")
        s.listen()
        abstract = "python3 -c \"import socket; s = socket.socket(socket.AF_UNIX); s.connect(chr(0) + 'slipway-test')\" && echo abstract yes || echo abstract no"
        attempts = ["ip route del prohibit 169.254.0.0/16", f"ip route add {METADATA}/32 dev tap0", "ip route flush table main", "ip link set lo down", "ip rule add from all lookup 99",
                    "unshare --user --map-root-user true", "unshare --net true", f"test -S {site.server.data}/slipway.sock", "test -e /dev/net/tun",
                    "python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'", "python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'",
                    "grep -q '[^ 0]' /proc/self/status && grep 'CapEff:.*[1-9a-f]' /proc/self/status"]
        log = site.run([*(f"{a} >/dev/null 2>&1 && echo attempt {n} yes || echo attempt {n} no" for n, a in enumerate(attempts)), abstract, reach(METADATA, 80), reach(INTERNET, 80)])
        for n, attempt in enumerate(attempts):
            assert not said(log, f"attempt {n}"), attempt
        assert not said(log, "abstract") and not said(log, f"{METADATA}:80") and said(log, f"{INTERNET}:80")
        assert said(Site(own, agent, repo, {"mode": "host"}).checked(abstract), "abstract"), "with the host's network it could"


def test_two_runs_do_not_meet(own, agent, repo, world):
    """What one run listens on, another one of the same agent does not reach."""
    site = Site(own, agent, repo, {"mode": "isolated"}, "--concurrency", "2")
    first, second = site.stack("acme/net/one"), site.stack("acme/net/two")
    source = {"sourceContext": {"git": {"repoUrl": site.repo.url, "branch": "main"}}}
    serve = f"""python3 -c "import socket, time; s = socket.create_server(('', 7777)); print('it listens', flush=True); s.settimeout(20); c = s.accept()[0]; c.sendall(b'this is one')" &"""
    hold = ["(" + serve.rstrip("&") + ") & sleep 1; " + reach("127.0.0.1", 7777), "sleep 5"]
    made = site.api.deploy(first, "preview", operationContext={"preRunCommands": hold}, **source)
    wait_until(lambda: "127.0.0.1:7777 yes" in site.api.log(first, made["id"]), 30, "the first run to listen")
    log = site.run([reach("127.0.0.1", 7777), reach("198.51.100.100", 7777)], stack=second)
    assert site.api.deployment(first, made["id"])["status"] == "running", "the first one is still there"
    assert not said(log, "127.0.0.1:7777") and not said(log, "198.51.100.100:7777")
    site.api.wait_status(first, made["id"])


def test_an_agent_is_never_laxer_than_its_option(own, agent, repo):
    site = Site(own, agent, repo, {"mode": "host"}, "--network", "none")
    site.stack()
    assert "Network: none. The run reaches the server alone." in site.run()
    assert site.api.get(f"/api/orgs/acme/agent-pools/{site.pool['id']}")["agents"][0]["networks"] == ["none"]
    site.api.ok("PATCH", f"/api/orgs/acme/agent-pools/{site.pool['id']}", {"network": {"mode": "auto"}})
    assert "Network: none." in site.run()


def test_the_usual_network_is_isolated(own, agent, repo):
    site = Site(own, agent, repo)
    site.stack()
    assert "Network: isolated." in site.run()
    agents = site.api.get(f"/api/orgs/acme/agent-pools/{site.pool['id']}")["agents"]
    assert [a["networks"] for a in agents] == [["host", "isolated", "none"]]


def test_a_mode_that_an_agent_cannot_give(own, agent, repo, world):
    """The deployment fails in Setup, and says what to install; runs whose pool says nothing have the host's network."""
    world.hide("/usr/bin/slirp4netns")
    site = Site(own, agent, repo, {"mode": "isolated"})
    assert "runs have the host's network: the program slirp4netns is not installed" in site.agent.stderr()
    site.stack()
    log = site.run(expect="failed")
    assert re.search(r"Error: the agent pool wants the network 'isolated', which this runner cannot give: .*: install slirp4netns", log.split("== Get source")[0])
    site.api.ok("PATCH", f"/api/orgs/acme/agent-pools/{site.pool['id']}", {"network": {"mode": "none"}})
    assert "Network: none." in site.run()
    site.api.ok("PATCH", f"/api/orgs/acme/agent-pools/{site.pool['id']}", {"network": {"mode": "auto"}})
    assert "Network: the host's." in site.run()
    assert site.api.get(f"/api/orgs/acme/agent-pools/{site.pool['id']}")["agents"][0]["networks"] == ["host", "none"]


def test_a_level_without_a_network_of_its_own(own, agent, repo, tmp_path):
    site = Site(own, agent, repo, {"mode": "none"}, isolation="process")
    site.stack()
    assert "cannot give: runs have the host's network with the isolation 'process': use bubblewrap" in site.run(expect="failed")
    run = process.run_slipway(tmp_path / "x", "agent", "--server", site.server.url, "--token-file", tmp_path / "agent0/pool-token", "--isolation", "process", "--network", "isolated")
    assert run.returncode != 0 and "the network 'isolated' does not work here" in run.stderr


def test_nothing_is_left_of_a_killed_agent(own, agent, repo):
    """Its attachment ends with it."""
    site = Site(own, agent, repo, {"mode": "isolated"})
    site.stack()
    site.api.deploy("acme/net/dev", "preview", sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}}, operationContext={"preRunCommands": ["echo it runs; sleep 60"]})
    slirp = wait_until(lambda: [p for p in site.agent.descendants() if "slirp4netns" in Path(f"/proc/{p}/cmdline").read_text()], 30, "the attachment")
    site.agent.kill(descendants=False)
    wait_until(lambda: not any(os.path.exists(f"/proc/{p}") for p in slirp), 10, "it to end")
