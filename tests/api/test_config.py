"""Configuration: flag over environment over file over default, and `slipway config` tells which one it was."""
import re

import pytest
from helpers import process


def config(folder, *arguments, env=None):
    """`name = value # origin`, a line for each option; one that is not set is a comment."""
    run = process.run_slipway(folder, "config", *arguments, env=env)
    assert run.returncode == 0, run.stderr
    rows = {}
    for line in run.stdout.splitlines():
        match = re.match(r"^(?:# )?(\S+) = (.*?) *# (.*)$", line)
        assert match, line
        rows[match.group(1)] = (match.group(2), match.group(3))
    return rows


def test_defaults(tmp_path):
    rows = config(tmp_path)
    assert rows["listen"][0] == "127.0.0.1:8420" and "default" in rows["listen"][1]
    assert rows["data"][0].endswith("slipway-data")
    assert rows["lease"][0] in ("5m", "5m0s") and rows["runner-timeout"][0] in ("10m", "10m0s")


def test_precedence(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "slipway.conf").write_text("# a comment\nlisten = 127.0.0.1:1111\nlease = 7m\n\nconcurrency=3\n")
    rows = config(tmp_path, "--data", data)
    assert rows["listen"][0] == "127.0.0.1:1111" and "slipway.conf" in rows["listen"][1]
    assert rows["lease"][0].startswith("7m")
    env = {"SLIPWAY_LISTEN": "127.0.0.1:2222", "SLIPWAY_RUNNER_TIMEOUT": "3m"}
    rows = config(tmp_path, "--data", data, env=env)
    assert rows["listen"][0] == "127.0.0.1:2222" and "SLIPWAY_LISTEN" in rows["listen"][1]
    assert rows["runner-timeout"][0].startswith("3m") and rows["lease"][0].startswith("7m")
    rows = config(tmp_path, "--data", data, "--listen", "127.0.0.1:3333", env=env)
    assert rows["listen"][0] == "127.0.0.1:3333" and "--listen" in rows["listen"][1]


def test_a_file_named_by_flag(tmp_path):
    (tmp_path / "other.conf").write_text("listen = 127.0.0.1:4444\n")
    rows = config(tmp_path, "--config", tmp_path / "other.conf")
    assert rows["listen"][0] == "127.0.0.1:4444" and "other.conf" in rows["listen"][1]


def test_bad_files_name_their_line(tmp_path):
    for text, word in (("listen 127.0.0.1:1\n", "1"), ("\nno-such-option = 1\n", "no-such-option"), ("lease = soon\n", "lease")):
        (tmp_path / "bad.conf").write_text(text)
        run = process.run_slipway(tmp_path, "config", "--config", tmp_path / "bad.conf")
        assert run.returncode == 2 and "bad.conf" in run.stderr and word in run.stderr, run
    run = process.run_slipway(tmp_path, "config", "--config", tmp_path / "absent.conf")
    assert run.returncode in (1, 2) and "absent.conf" in run.stderr


@pytest.mark.parametrize("how", ["environment", "file"])
def test_a_server_started_by_its(tmp_path, how):
    if how == "file":
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "slipway.conf").write_text("public-url = https://slipway.example\n")
    env = {"SLIPWAY_PUBLIC_URL": "https://slipway.example"} if how == "environment" else {}
    server = process.Server(tmp_path, command="serve", env=env)
    try:
        server.admin("org", "add", "acme")
        api = server.user("operator")
        api.create_stack("acme/p/dev")
        made = api.deploy("acme/p/dev", "preview", sourceContext={"git": {"repoUrl": "https://example.invalid/x.git", "branch": "main"}})
        assert made["consoleUrl"].startswith("https://slipway.example/")
    finally:
        server.stop()
