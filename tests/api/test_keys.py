"""Secrets: a key of each stack, sealed by the organization's, sealed by the master key; and its rotation."""
import base64
import signal
import threading

import pytest
from helpers import process, where

from test_versions import SECRET, state
from test_state import resource


def b64(text):
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def site(own):
    server = own(command="serve")
    server.admin("org", "add", "acme")
    return server, server.user("operator", role="admin")


def seal(api, path, text):
    return api.post(f"{path}/encrypt", {"plaintext": b64(text)})["ciphertext"]


def opened(api, path, ciphertext):
    return base64.b64decode(api.post(f"{path}/decrypt", {"ciphertext": ciphertext})["plaintext"]).decode()


def key_file(server):
    return (server.folder / "data" / "master.key").read_text()


def test_batches_and_logs(api, stack):
    path = api.create_stack(stack)
    texts = [b64("one"), b64("\0binary\0"), b64("")]
    sealed = api.post(f"{path}/batch-encrypt", {"plaintexts": texts})["ciphertexts"]
    assert len(set(sealed)) == 3
    assert api.post(f"{path}/batch-decrypt", {"ciphertexts": sealed})["plaintexts"] == dict(zip(sealed, texts))
    api.ok("POST", f"{path}/decrypt/log-decryption", {"secretName": "k"})
    api.ok("POST", f"{path}/decrypt/log-batch-decryption", {"commandName": "pulumi config"})


def test_a_ciphertext_belongs_to_its_stack(api, stack, project):
    path, other = api.create_stack(stack), api.create_stack(f"acme/{project}/other")
    sealed = seal(api, path, "hunter2")
    assert opened(api, path, sealed) == "hunter2"
    api.refused(400, "POST", f"{other}/decrypt", {"ciphertext": sealed}, names="not encrypted for this stack")
    api.refused(400, "POST", f"{other}/batch-decrypt", {"ciphertexts": [sealed]}, names="not encrypted for this stack")
    foreign = state(resource(other, "a", {**SECRET, "ciphertext": sealed}))
    foreign["deployment"]["secrets_providers"] = {"type": "service", "state": {"url": "http://x", "owner": "acme", "project": project, "stack": "other"}}
    api.refused(400, "POST", f"{other}/import", foreign, names="different stack")
    api.post(f"{path}/import", foreign)


def test_rotation_while_the_server_runs(site, stack, own):
    server, api = site
    path = api.create_stack(stack)
    sealed = seal(api, path, "before")
    api.settings(stack, {"operationContext": {"environmentVariables": {"K": {"secret": "kept"}}}})
    first = key_file(server)
    assert len(first) == 65
    failures, stop = [], threading.Event()

    def use():
        while not stop.is_set():
            try:
                assert opened(api, path, sealed) == "before" and opened(api, path, seal(api, path, "now")) == "now"
            except Exception as e:  # noqa: BLE001: whatever it is fails the test
                failures.append(e)
                return

    users = [threading.Thread(target=use) for _ in range(3)]
    for u in users:
        u.start()
    try:
        for number in range(2, 6):
            assert server.admin("key", "rotate").stdout == f"{number}\n"
            server.admin("org", "add", f"org{number}")
    finally:
        stop.set()
        for u in users:
            u.join()
    assert not failures, failures[0]
    last = key_file(server)
    assert last.startswith("5 ") and last.count("\n") == 1 and first.strip() not in last
    server.stop()
    again = own(command="serve", folder=server.folder)
    api = again.api(api.token)
    assert opened(api, path, sealed) == "before"
    assert again.admin("key", "rotate", "--json").stdout.strip() == '{"id":"6","organizations":6}'


@pytest.mark.parametrize("moment", ["both in the file", "only the database"])
def test_a_rotation_that_was_interrupted_ends_at_the_next_start(site, own, stack, moment):
    """Killed between the file with both keys and the database, or between the database and the file with one."""
    server, api = site
    path = api.create_stack(stack)
    sealed = seal(api, path, "before")
    old = key_file(server).strip()
    file = server.folder / "data" / "master.key"
    if moment == "only the database":
        server.admin("key", "rotate")
        both = key_file(server) + f"1 {old}\n"
    else:
        both = f"2 {'ab' * 32}\n1 {old}\n"
    server.kill()
    file.write_text(both)
    again = own(command="serve", folder=server.folder)
    assert key_file(again).startswith("2 ") and old not in key_file(again)
    assert opened(again.api(api.token), path, sealed) == "before"
    again.stop()
    last = own(command="serve", folder=server.folder)
    assert opened(last.api(api.token), path, sealed) == "before"


def test_kills_during_rotations(site, own, stack):
    server, api = site
    path = api.create_stack(stack)
    sealed = seal(api, path, "before")
    import subprocess
    for i in range(8):
        rotation = subprocess.Popen([str(where.build() / "slipway"), "admin", "key", "rotate", "--data", str(server.folder / "data")],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) if i else None
        if rotation:
            try:
                rotation.wait(0.004 * i)
            except subprocess.TimeoutExpired:
                pass
        server.process.send_signal(signal.SIGKILL)
        server.kill()
        if rotation:
            rotation.wait()
        server = own(command="serve", folder=server.folder)
        assert opened(server.api(api.token), path, sealed) == "before"
        assert key_file(server).count("\n") == 1


def test_a_wrong_key_is_refused(site, own, stack):
    """At the start already: what is sealed with it meanwhile would not open with the right one."""
    server, api = site
    path = api.create_stack(stack)
    sealed = seal(api, path, "before")
    server.stop()
    file = server.folder / "data" / "master.key"
    kept = file.read_text()
    file.write_text("00" * 32 + "\n")
    run = process.run_slipway(server.folder, "serve", "--data", server.data, "--listen", "127.0.0.1:0", timeout=20)
    assert run.returncode == 1 and "master.key" in run.stderr and "another" in run.stderr, run
    file.write_text(kept)
    assert opened(own(command="serve", folder=server.folder).api(api.token), path, sealed) == "before"
