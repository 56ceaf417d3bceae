"""Fixtures of the black-box tests: the real `slipway`, the real `pulumi`, everything on the loopback.

    dev        one `slipway dev` for the whole run of this worker: use it unless the test moves clocks or kills
    own        own("--runner-timeout", "30s", ...) starts a further server; command="serve" for the server alone
    stack      the full name of a stack that nobody else uses, not created yet
    cli        a `pulumi` that is signed in to dev, in an empty project folder
    repo       an empty git repository
    clock      a clock file for own(..., clock=clock)
    docker     docker("--pull", "always", ...) like own, with containers; engine is the engine that runs them
"""
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from helpers import engine as engines, process, where  # noqa: E402
from helpers.git import HttpGit, Repository, SshGit  # noqa: E402
from helpers import pulumi  # noqa: E402
from helpers.pulumi import Pulumi  # noqa: E402

counter = itertools.count(1)


def pytest_configure(config):
    config.addinivalue_line("markers", "long: waits for minutes of real time, so it begins first")
    if not config.option.collectonly:
        where.build()  # fail early, with a sentence


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_make_parametrize_id(val):
    """Long parameters are named by their beginning and their length, so that a report stays readable."""
    if isinstance(val, (str, bytes)) and len(val) > 40:
        head = val[:20] if isinstance(val, str) else val[:20].decode("latin-1")
        return f"{head.encode('unicode_escape').decode()}...{len(val)}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """What the servers said during a failed test belongs to its report."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call":
        item.passed = report.passed
    for program in process.running:
        text = program.log.read_bytes()
        if report.when == "setup":
            program.report_from = len(text)
        elif report.failed:
            report.sections.append((f"stderr of {program.name} ({program.pid})", text[program.report_from:][-8000:].decode(errors="replace")))


@pytest.fixture(scope="session", autouse=True)
def tidy(tmp_path_factory):
    """Everything that is started gets its temporary files below the folder of this run, and has ended with it."""
    base = tmp_path_factory.getbasetemp()
    (base / "tmp").mkdir()
    os.environ["TMPDIR"] = str(base / "tmp")
    yield
    left = process.left_in(base)
    assert not left, "still running:\n" + "\n".join(left)


@pytest.fixture(autouse=True)
def unharmed():
    """A server that a sanitizer accused, or that died, fails the test during which it happened."""
    yield
    pulumi.end_all()
    for program in list(process.running):
        program.check()
        if program.process.poll() is not None:
            code = program.process.returncode
            program._end()
            pytest.fail(f"{program.name} died during the test, status {code}")


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """The servers behind `dev`: the last one is in use. A test that brought one down does not bring down those after it."""
    servers = []

    def current():
        if not servers or servers[-1].stopped:
            servers.append(process.Server(tmp_path_factory.mktemp("dev")))
        return servers[-1]

    yield current
    for server in servers:
        server.stop()


@pytest.fixture
def dev(shared):
    return shared()


@pytest.fixture
def api(dev):
    """The administrator's REST client of `dev`."""
    return dev.api()


@pytest.fixture
def own(tmp_path):
    """Starts servers that belong to this test alone."""
    started = []

    def start(*options, folder=None, **more):
        server = process.Server(folder or tmp_path / f"server{len(started)}", *options, **more)
        started.append(server)
        return server

    yield start
    for server in reversed(started):
        if not server.stopped:
            server.stop(expect=None)


@pytest.fixture
def agent(tmp_path):
    """Starts runners that belong to this test alone: agent(server, token, options...)."""
    started = []

    def start(server, token, *options, **more):
        one = process.Agent(tmp_path / f"agent{len(started)}", server, token, *options, **more)
        started.append(one)
        return one

    yield start
    for one in reversed(started):
        if not one.stopped:
            one.stop(expect=None)


@pytest.fixture
def clock(tmp_path):
    return process.Clock(tmp_path / "clock")


@pytest.fixture
def project():
    return f"project-{os.getpid()}-{next(counter)}"


@pytest.fixture
def stack(project):
    return f"acme/{project}/dev"


@pytest.fixture
def cli(dev, tmp_path):
    return Pulumi(tmp_path, dev.url, dev.token)


@pytest.fixture
def repo(tmp_path):
    return Repository(tmp_path)


@pytest.fixture
def http_git(tmp_path):
    server = HttpGit(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def ssh_git(tmp_path):
    server = SshGit(tmp_path / "ssh")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    """A container engine, shared with the other workers of this run."""
    base = tmp_path_factory.getbasetemp()
    with engines.shared(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) as one:
        yield one


@pytest.fixture
def docker(own, engine):
    """docker("--option", ...) starts servers with a runner that runs containers of the small image."""
    def start(*options, image=None, pull="missing", **more):
        return own("--isolation", "docker", "--docker-host", engine.host, "--image", image or engine.small(), "--pull", pull, *options, **more)

    return start


@pytest.fixture(scope="session")
def bubblewrap():
    """Skips where the machine does not let us make a sandbox; never on the integration machine."""
    probe = subprocess.run(["bwrap", "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "true"], capture_output=True, text=True)
    if probe.returncode and not os.environ.get("CI"):
        pytest.skip(f"no sandbox on this machine: {probe.stderr.strip()}")
