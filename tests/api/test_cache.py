"""The dependency cache: URLs that are good by themselves, for one thing and one hour; limits, eviction, and what is left over."""
import gzip
import os
import re
import socket
import sqlite3
import threading
import time

import pytest
import requests
from helpers.access import STACK, Organization
from helpers.api import path_of
from helpers.waiting import wait_until

HOUR = 3600
DAY = 24 * HOUR


@pytest.fixture
def path(api, stack):
    return api.create_stack(stack) + "/deployments/cache"


def url(api, path, method, key="npm-1"):
    return api.post(path + "/url", {"method": method, "key": key})["url"]


def bare(method, at, data=None, **more):
    """Without any authentication."""
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, at, data=data, timeout=120, **more)


def put(api, path, content, key="npm-1", status=200):
    answer = bare("PUT", url(api, path, "PUT", key), content)
    assert answer.status_code == status, answer.text
    return answer


def get(api, path, key="npm-1"):
    """The archive, or None when there is none."""
    answer = bare("GET", url(api, path, "GET", key))
    assert answer.status_code in (200, 404), answer.text
    assert answer.status_code == 404 or answer.headers["Content-Type"] == "application/octet-stream"
    return answer.content if answer.status_code == 200 else None


def files(server):
    return [f for f in (server.data / "cache").rglob("*") if f.is_file()]


@pytest.fixture
def site(own):
    def start(*options, **more):
        server = own(*options, command="serve", **more)
        server.admin("org", "add", "acme")
        api = server.user("operator", role="admin")
        return server, api, api.create_stack("acme/shop/dev") + "/deployments/cache"
    return start


# ---- what it does -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [0, 1, 1000, 64 * 1024 + 1, 3_000_000])
def test_there_and_back(api, path, size):
    content = os.urandom(size)
    assert get(api, path) is None
    put(api, path, content)
    assert get(api, path) == content
    head = bare("HEAD", url(api, path, "GET"))
    assert head.status_code == 200 and head.headers["Content-Length"] == str(size) and not head.content


def test_the_newest_write_counts(api, path):
    for content in (b"first" * 50_000, b"second", b"third" * 500_000):
        put(api, path, content)
        assert get(api, path) == content


def test_ways_of_sending(api, path):
    content = os.urandom(200_000)
    for how in ({"data": iter([content[:70_000], content[70_000:]])}, {"data": gzip.compress(content), "headers": {"Content-Encoding": "gzip"}},
                {"data": content, "headers": {"Expect": "100-continue"}}):
        put(api, path, b"before")
        assert bare("PUT", url(api, path, "PUT"), **how).status_code == 200
        assert get(api, path) == content


def test_the_cache_is_the_projects(api, path, project, stack):
    put(api, path, b"shared")
    other = api.create_stack(f"acme/{project}/other") + "/deployments/cache"
    foreign = api.create_stack(f"acme/{project}-2/dev") + "/deployments/cache"
    assert get(api, other) == b"shared" and get(api, foreign) is None
    put(api, foreign, b"theirs")
    put(api, path, b"more", key="pip-2")
    assert api.call("DELETE", other).status_code == 200, "from any stack of the project, all of it"
    assert get(api, path) is None and get(api, path, "pip-2") is None and get(api, foreign) == b"theirs"
    api.ok("DELETE", other)


@pytest.mark.parametrize("body, words", [
    ({"method": "POST", "key": "k"}, "Bad Request: Invalid method. Must be PUT or GET."),
    ({"method": "put", "key": "k"}, "Bad Request: Invalid method. Must be PUT or GET."),
    ({"method": "", "key": "k"}, "Bad Request: Invalid method. Must be PUT or GET."),
    ({"key": "k"}, "Bad Request: Invalid method. Must be PUT or GET."),
    ({"method": "PUT", "key": ""}, "Bad Request: Invalid key. Must be non-empty."),
    ({"method": "GET"}, "Bad Request: Invalid key. Must be non-empty."),
    ({"method": "GET", "key": None}, "Bad Request: Invalid key. Must be non-empty."),
    *[({"method": "PUT", "key": key}, "Bad Request: Invalid key. Must be at most 512 bytes") for key in (
        "..", ".", "../x", "a/b", "/etc/passwd", "a\\b", "a\nb", "a\x7fb", "x" * 513)],
    ({"method": 5, "key": "k"}, "Bad Request: /method"),
    ({"method": "PUT", "key": ["k"]}, "Bad Request: /key"),
    ({"method": "PUT", "key": "a\0b"}, "Bad Request: /key"),
])
def test_refused(api, path, body, words):
    assert api.refused(400, "POST", path + "/url", body).startswith(words)


def test_strange_keys_are_only_keys(api, path):
    for key in ("x" * 512, "a..b", "ü ñ", "%2e%2e%2f", "'; DROP TABLE cache_entries; --", "a?b&c=d#e"):
        put(api, path, key.encode(), key)
        assert get(api, path, key) == key.encode()


def test_a_key_has_its_project_alone(api, path, project):
    """No project and key together spell another project's."""
    one = api.create_stack(f"acme/{project}-a/dev") + "/deployments/cache"
    two = api.create_stack(f"acme/{project}-a.b/dev") + "/deployments/cache"
    put(api, one, b"one", "b.k")
    assert get(api, two, "k") is None and get(api, two, "b.k") is None


# ---- the URLs ---------------------------------------------------------------------------------------------------
def test_a_url_is_good_for_one_thing(api, path):
    write, read = url(api, path, "PUT"), url(api, path, "GET")
    assert re.fullmatch(re.escape(api.url) + r"/api/cache/[A-Za-z0-9_-]+", write)
    assert bare("PUT", write, b"x" * 100_000).status_code == 200
    for method, at in (("GET", write), ("HEAD", write), ("PUT", read)):
        assert bare(method, at, b"evil" if method == "PUT" else None).status_code == 403, method
    for method in ("POST", "DELETE", "PATCH"):
        assert bare(method, read).status_code == 405
    assert get(api, path) == b"x" * 100_000
    # Any change of it, at whichever place.
    head, ticket = write.rsplit("/", 1)
    for bad in (ticket[:-2], ticket + "AA", ticket[::-1], "x", "..", "%00", *[ticket[:i] + ("A" if ticket[i] != "A" else "B") + ticket[i + 1:] for i in range(0, len(ticket) - 1, 7)]):
        answer = bare("PUT", f"{head}/{bad}", b"evil")
        assert answer.status_code in (400, 403, 404), (bad, answer.status_code)
    assert get(api, path) == b"x" * 100_000


def test_a_url_expires(site, clock):
    server, api, path = site(clock=clock)
    write, read = url(api, path, "PUT"), url(api, path, "GET")
    clock.set(HOUR - 60)
    assert bare("PUT", write, b"in time").status_code == 200 and bare("GET", read).content == b"in time"
    clock.set(HOUR + 1)
    for answer in (bare("PUT", write, b"x" * 200_000), bare("PUT", write, b"late"), bare("GET", read)):
        assert answer.status_code == 403 and answer.json()["message"] == "Forbidden: the URL has expired"
    assert get(api, path) == b"in time"


def test_an_upload_that_began_in_time_may_end_later(site, clock):
    server, api, path = site(clock=clock)
    write = url(api, path, "PUT")
    release = threading.Event()

    def pieces():
        yield b"a" * 100_000
        release.wait(30)
        yield b"b" * 100_000

    answers = []
    upload = threading.Thread(target=lambda: answers.append(bare("PUT", write, pieces())))
    upload.start()
    time.sleep(0.3)
    clock.set(2 * HOUR)
    release.set()
    upload.join(60)
    assert answers[0].status_code == 200 and get(api, path) == b"a" * 100_000 + b"b" * 100_000


def test_urls_of_another_server_and_after_a_rotation(own, site):
    server, api, path = site()
    other, theirs, _ = site()
    write = url(api, path, "PUT")
    assert bare("PUT", write.replace(server.url, other.url), b"evil").status_code == 403
    server.admin("key", "rotate")
    assert bare("PUT", write, b"still good").status_code == 200 and get(api, path) == b"still good"


def test_who(own):
    org = Organization(own)
    path = org.stack + "/deployments/cache"
    for who in (org.write, org.admin, org.boss):
        url(who, path, "PUT")
    for who in (org.read, org.deploy):
        for method, at, body in (("POST", path + "/url", {"method": "GET", "key": "k"}), ("DELETE", path, ...)):
            who.refused(403, method, at, body)
    for who in (org.none, org.stranger):
        who.refused(404, "POST", path + "/url", {"method": "GET", "key": "k"}, names=STACK)
        who.refused(404, "DELETE", path, names=STACK)
    # A run of somebody who may only deploy uses the cache of its own stack.
    org.deploy.deploy(STACK, "preview")
    _, _, run = org.claim()
    put(run, path, b"by a run")
    assert get(run, path) == b"by a run"
    org.boss.create_stack("acme/other/dev")
    run.refused(404, "POST", "/api/stacks/acme/other/dev/deployments/cache/url", {"method": "GET", "key": "k"})


def test_no_log_has_a_url(site):
    server, api, path = site("--access-log")
    write, read = url(api, path, "PUT"), url(api, path, "GET")
    assert bare("PUT", write, b"x").status_code == bare("GET", read).status_code == 200
    assert bare("GET", write).status_code == 403 and bare("PUT", write, b"x" * 100_000).status_code == 200
    assert server.stderr().count("PUT /api/cache/{ticket} 200") == 2
    for at in (write, read):
        assert at.rsplit("/", 1)[1] not in server.stderr()


# ---- limits -----------------------------------------------------------------------------------------------------
MIB = 1024 * 1024


def test_one_archive_is_limited(site):
    server, api, path = site("--cache-entry-limit", "2", "--body-limit", "1")
    put(api, path, b"x" * (2 * MIB))  # --body-limit is about something else
    for body in (b"y" * (2 * MIB + 1), iter([b"y" * MIB] * 3), b"y" * (70 * MIB)):
        answer = bare("PUT", url(api, path, "PUT"), body)
        assert answer.status_code == 413 and answer.json()["code"] == 413
    answer = bare("PUT", url(api, path, "PUT"), gzip.compress(b"y" * (3 * MIB)), headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 413
    assert get(api, path) == b"x" * (2 * MIB) and len(files(server)) == 1


def test_what_was_read_longest_ago_goes_first(site, clock):
    server, api, path = site("--cache-limit", "4", clock=clock)
    for n in range(4):
        clock.advance(60)
        put(api, path, bytes([n]) * (MIB - 100), f"k{n}")
    clock.advance(60)
    assert get(api, path, "k0") and get(api, path, "k2")  # so k1 is the oldest, then k3
    clock.advance(60)
    put(api, path, b"n" * MIB, "new")
    left = [k for k in ("k0", "k1", "k2", "k3", "new") if get(api, path, k)]
    assert left == ["k0", "k2", "k3", "new"] or left == ["k0", "k2", "new"], left
    clock.advance(60)
    put(api, path, b"n" * (3 * MIB), "large")
    assert get(api, path, "large") and not get(api, path, "k1") and not get(api, path, "k3")
    assert sum(f.stat().st_size for f in files(server)) <= 4 * MIB + 4096
    answer = bare("PUT", url(api, path, "PUT"), b"n" * (4 * MIB + 1))
    assert answer.status_code == 413, "larger than the whole"


def test_what_nobody_reads_for_a_month_goes(site, clock):
    server, api, path = site(clock=clock)
    put(api, path, b"read", "read")
    put(api, path, b"unread", "unread")
    clock.set(20 * DAY)
    assert get(api, path, "read") == b"read"
    clock.set(31 * DAY)
    wait_until(lambda: len(files(server)) == 1, what="the unread one to go")
    assert get(api, path, "read") == b"read" and get(api, path, "unread") is None
    clock.set(62 * DAY)
    wait_until(lambda: not files(server), what="the other one, too")


def test_a_large_body_takes_no_memory(site):
    server, api, path = site()

    def peak():
        status = open(f"/proc/{server.process.pid}/status").read()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) // 1024

    piece = os.urandom(MIB)
    put(api, path, piece * 10)  # what every upload needs
    before = peak()
    put(api, path, iter([piece] * 300))
    with requests.Session() as session:
        session.trust_env = False
        with session.get(url(api, path, "GET"), stream=True, timeout=120) as answer:
            assert answer.headers["Content-Length"] == str(300 * MIB)
            got = 0
            for chunk in answer.iter_content(MIB):
                assert chunk == (piece * 2)[got % MIB:got % MIB + len(chunk)]
                got += len(chunk)
    assert got == 300 * MIB
    assert peak() - before < 60, f"{peak() - before} MiB for 300 MiB"


# ---- what is left over ------------------------------------------------------------------------------------------
def test_an_upload_that_breaks_off_leaves_nothing(site):
    server, api, path = site()
    put(api, path, b"before" * 100_000)
    host, port = server.url.removeprefix("http://").split(":")
    at = url(api, path, "PUT").removeprefix(server.url)
    for sent in (10, 200_000, 3 * MIB):
        with socket.create_connection((host, int(port))) as s:
            s.sendall(f"PUT {at} HTTP/1.1\r\nHost: x\r\nContent-Length: {5 * MIB}\r\n\r\n".encode() + b"z" * sent)
    assert get(api, path) == b"before" * 100_000
    wait_until(lambda: len(files(server)) == 1, what="only the whole one")


def test_old_files_go_with_their_entries(site):
    server, api, path = site()
    for n in range(3):
        put(api, path, b"x" * (100_000 * n + 1))
        put(api, path, b"x" * (100_000 * n + 1), "same content")
    assert len(files(server)) == 2
    assert get(api, path) == get(api, path, "same content")
    api.ok("DELETE", path)
    assert not files(server)


def test_removed_while_it_is_being_read(site):
    server, api, path = site()
    content = os.urandom(20 * MIB)
    put(api, path, content)
    with requests.Session() as session:
        session.trust_env = False
        with session.get(url(api, path, "GET"), stream=True, timeout=60) as answer:
            first = next(answer.iter_content(1000))
            api.ok("DELETE", path)
            assert first + b"".join(answer.iter_content(MIB)) == content


def test_the_sweep_restore_and_verify(site, own, clock, tmp_path):
    server, api, path = site(clock=clock)
    put(api, path, b"one" * 100_000, "one")
    put(api, path, b"two", "two")
    server.admin("backup", tmp_path / "backup")
    assert server.admin("verify").stdout == ""
    stray = server.data / "cache" / "ab" / "cd"
    stray.mkdir(parents=True)
    (stray / ("abcd" + "0" * 60)).write_bytes(b"a crash came before its row")
    clock.set(25 * HOUR)
    wait_until(lambda: len(files(server)) == 2, what="the sweep")
    assert get(api, path, "one") and get(api, path, "two")
    for file in files(server):
        if file.stat().st_size < 1000:
            file.write_bytes(b"TWO" + file.read_bytes()[3:])
    damaged = server.admin("verify", check=False)
    assert damaged.returncode == 1 and "dependency cache of acme/shop: 'two'" in damaged.stdout and damaged.stdout.count("\n") == 1
    # Cut: as good as none.
    for file in files(server):
        file.write_bytes(file.read_bytes()[:2])
    assert get(api, path, "one") is None and get(api, path, "two") is None and not files(server)
    server.stop()
    # A backup has the entries and not the files: nothing is wrong, and nothing is there.
    restored = tmp_path / "restored" / "data"
    from helpers.process import run_slipway
    assert run_slipway(tmp_path, "admin", "restore", tmp_path / "backup", "--data", restored).returncode == 0
    assert run_slipway(tmp_path, "admin", "verify", "--data", restored).returncode == 0
    again = own(command="serve", folder=restored.parent)
    api = again.api(api.token)
    assert get(api, path, "one") is None
    put(api, path, b"anew", "one")
    assert get(api, path, "one") == b"anew"


def test_entries_survive_a_kill(site, own):
    server, api, path = site()
    put(api, path, b"kept" * 100_000)
    server.kill()
    again = own(command="serve", folder=server.folder)
    assert get(again.api(api.token), path) == b"kept" * 100_000


def test_many_at_once(site):
    """Writes of the same key, reads, and clearing, all together: who reads gets a whole archive, and no file is left over."""
    server, api, path = site()
    stop, faults = time.monotonic() + 4, []

    def write(n):
        while time.monotonic() < stop:
            put(api, path, bytes([n]) * (50_000 * n + 1), f"k{n % 2}")

    def read():
        while time.monotonic() < stop:
            content = get(api, path, "k0") or get(api, path, "k1")
            if content and content != content[:1] * (50_000 * content[0] + 1):
                faults.append(len(content))

    def clear():
        while time.monotonic() < stop:
            api.ok("DELETE", path)
            time.sleep(0.05)

    def run(fn, *arguments):
        try:
            fn(*arguments)
        except BaseException as e:  # noqa: BLE001: whatever it is fails the test
            faults.append(repr(e)[:500])

    workers = [threading.Thread(target=run, args=a) for a in ((write, 1), (write, 2), (write, 3), (write, 4), (read,), (read,), (clear,))]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not faults, faults[:3]
    with sqlite3.connect(f"file:{server.data / 'slipway.db'}?mode=ro", uri=True) as c:
        named = {row[0] for row in c.execute("SELECT blob_key FROM cache_entries")}
    assert {f.name for f in files(server)} == named
    assert server.admin("verify").stdout == ""


def test_what_a_runner_is_given(own):
    """Places of its own project, for the attempt that is its, as long as it runs."""
    from helpers.runner import Site
    server = Site(own, "--cache-entry-limit", "3")
    run = server.run(server.stack("acme/shop/dev"))
    assert run.order["cacheOptions"] == {"enable": False}
    given = run.post("cache", method="PUT", key="npm-1")
    assert given["maxBytes"] == 3 << 20
    assert bare("PUT", given["url"], b"archive").status_code == 200
    assert bare("GET", run.post("cache", method="GET", key="npm-1")["url"]).content == b"archive"
    assert get(server.api, path_of("acme/shop/dev") + "/deployments/cache") == b"archive", "it is the project's"
    other = server.run(server.stack("acme/other/dev", cacheOptions={"enable": True}))
    assert other.order["cacheOptions"] == {"enable": True}
    assert bare("GET", other.post("cache", method="GET", key="npm-1")["url"]).status_code == 404
    # Refused, in the words of the public call.
    assert "Invalid method" in run.api.refused(400, "POST", f"/api/runner/{run.id}/cache", {"attempt": 1, "method": "POST", "key": "x"})
    for key in ("", "a/b", "..", "x" * 600, "a\nb"):
        run.api.refused(400, "POST", f"/api/runner/{run.id}/cache", {"attempt": 1, "method": "GET", "key": key}, names="Invalid key")
    run.api.refused(400, "POST", f"/api/runner/{run.id}/cache", {"method": "GET", "key": "x"}, names="attempt")
    assert run.call("cache", method="GET", key="x", attempt=2).status_code == 409
    assert run.api.call("POST", f"/api/runner/{other.id}/cache", {"attempt": 1, "method": "GET", "key": "x"}).status_code in (401, 403, 404)
    # Without the deployment there is nothing.
    run.step(0)
    run.finish()
    assert run.call("cache", method="GET", key="npm-1").status_code == 401
