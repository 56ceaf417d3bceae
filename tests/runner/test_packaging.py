"""What `make install` brings for systemd, and what docs/install.md says of the agent's options. The containers: `make check-packaging`."""
import re
import subprocess

import pytest

from helpers import process, where

UNITS = where.ROOT / "packaging/systemd"


@pytest.fixture
def installed(tmp_path):
    """The units as they are installed, with programs that are there."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/slipway").symlink_to(where.slipway())
    for unit in UNITS.glob("*.service"):
        (tmp_path / unit.name).write_text(unit.read_text().replace("@bindir@", str(tmp_path / "bin")).replace("@docdir@", str(tmp_path)))
    return tmp_path


def settings(unit):
    rows = re.findall(r"^([A-Z]\w+)=(.*)$", (UNITS / unit).read_text(), re.M)
    return {name: value for name, value in rows}, dict(word.split("=", 1) for name, value in rows if name == "Environment" for word in value.split())


@pytest.mark.parametrize("unit", ["slipway.service", "slipway-agent.service"])
def test_systemd_finds_no_mistake(installed, unit):
    run = subprocess.run(["systemd-analyze", "verify", installed / unit], capture_output=True, text=True)
    assert run.returncode == 0 and not run.stderr, run.stderr
    broken = (installed / unit).read_text().replace("Restart=on-failure", "Restart=sometimes")
    (installed / unit).write_text(broken)
    assert "sometimes" in subprocess.run(["systemd-analyze", "verify", installed / unit], capture_output=True, text=True).stderr


def test_the_users_of_the_units_are_made(tmp_path):
    run = subprocess.run(["systemd-sysusers", "--dry-run", f"--root={tmp_path}", UNITS / "slipway.sysusers"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    for unit in ("slipway.service", "slipway-agent.service"):
        assert f"Creating user '{settings(unit)[0]['User']}'" in run.stdout + run.stderr


@pytest.mark.parametrize("unit, verb", [("slipway.service", "serve"), ("slipway-agent.service", "agent")])
def test_their_variables_are_options(tmp_path, unit, verb):
    rows, variables = settings(unit)
    assert rows["ExecStart"] == f"@bindir@/slipway {verb}"
    shown = process.run_slipway(tmp_path, "config", env=variables).stdout
    for name in variables:
        assert f"# {name}\n" in shown, name


def test_an_agent_has_the_time_to_stop():
    """Its grace, and the ladder of a cancel behind it (runner-protocol), end before systemd kills."""
    rows, variables = settings("slipway-agent.service")
    minutes = {"s": 1, "m": 60, "min": 60}
    seconds = [int(n) * minutes[unit] for n, unit in (re.fullmatch(r"(\d+)([a-z]+)", text).groups() for text in (variables["SLIPWAY_GRACE"], rows["TimeoutStopSec"]))]
    assert seconds[1] >= seconds[0] + 90 and rows["KillMode"] == "mixed"


def test_the_documented_names(tmp_path):
    """Each option with a second name stands in the table of docs/install.md with it, and nothing else does."""
    help_text = re.sub(r"\n {20,}", " ", process.run_slipway(tmp_path, "agent", "--help").stdout)  # broken lines
    there = dict(re.findall(r"^  --(\S+).*\[(\w+)\]$", help_text, re.M))
    table = dict(re.findall(r"^\| `([\w-]+)` \| `(\w+)` \|", (where.ROOT / "docs/install.md").read_text(), re.M))
    assert there and there == table


def test_the_names_without_meaning_are_documented():
    names = re.findall(r'^\t\{ "(\w+)", ', re.search(r"agent_foreign\[\] = \{(.*?)^\};", (where.ROOT / "src/server/config.c").read_text(), re.S | re.M).group(1), re.M)
    text = (where.ROOT / "docs/install.md").read_text()
    assert len(names) > 10 and all(f"`{name}`" in text for name in names)
