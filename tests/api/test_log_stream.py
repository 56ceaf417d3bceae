"""The log as server-sent events, and as text."""
import http.client
import os
import random
import threading
import time

import pytest
import requests
from helpers.access import STACK, Organization
from helpers.events import Events
from helpers.runner import Runner, Site
from helpers.waiting import wait_until


@pytest.fixture
def site(own):
    return Site(own)


@pytest.fixture
def run(site, stack):
    return site.run(site.stack(stack))


def events(run, query="", **more):
    return Events(run.site.api, f"{run.path}/logs/stream{query}", **more)


def texts(seen):
    return [line["line"] for event, _, data in seen if event == "lines" for line in data["lines"]]


# ---- events ------------------------------------------------------------------------------------------------------
def test_a_whole_log(run):
    run.step(0, name="Setup")
    run.log(0, "one\n", "\x1b[31mtwo\x1b[0m\n")
    run.step(0, "succeeded", name="Setup")
    run.step(1, name="Get source")
    run.log(1, "three\n")
    run.finish("failed", "it broke")
    stream = events(run)
    assert stream.answer.status == 200
    head = stream.answer.headers
    assert head["Content-Type"] == "text/event-stream" and head["Cache-Control"] == "no-store" and head["X-Accel-Buffering"] == "no"
    seen = list(stream)
    assert [event for event, _, _ in seen] == ["status", "step", "lines", "step", "lines", "end"] and stream.retry == 2000
    status = seen[0][2]
    shown = run.site.api.get(run.path)
    assert status == {"status": "failed", "jobs": shown["jobs"]} and seen[0][1] is None
    assert seen[1][1:] == ("0.0.1", {"step": 0, "name": "Setup"})
    (_, id, lines) = seen[2]
    assert id == "0.0.3" and lines["step"] == 0 and lines["offset"] == 0 and [x["line"] for x in lines["lines"]] == ["one\n", "\x1b[31mtwo\x1b[0m\n"]
    assert lines["lines"] == [x for x in run.site.api.get(run.path + "/logs")["lines"] if "line" in x][:2], "as the other forms have them"
    assert seen[3][1:] == ("0.1.1", {"step": 1, "name": "Get source"})
    assert seen[5][1:] == ("end", {"status": "failed", "message": "it broke"})


def test_events_come_as_they_happen(site, stack):
    made = site.api.deploy(site.stack(stack), "preview")
    stream = Events(site.api, f"/api/stacks/{stack}/deployments/{made['id']}/logs/stream")
    assert next(stream) == ("status", None, {"status": "not-started"})
    run = Runner(site, stack)
    assert next(stream)[2] == {"status": "accepted"}
    run.step(0, name="Setup")
    seen = stream.until("status")
    assert [event for event, _, _ in seen] == ["step", "status"]
    assert [(s["name"], s["status"]) for s in seen[-1][2]["jobs"][0]["steps"]] == [("Setup", "running")]
    for i in range(3):
        began = time.monotonic()
        run.log(0, f"{i}\n")
        event, id, data = next(stream)
        assert (event, data["offset"], [x["line"] for x in data["lines"]]) == ("lines", i, [f"{i}\n"])
        assert time.monotonic() - began < 5
    run.step(0, "succeeded", name="Setup")
    assert next(stream)[2]["jobs"][0]["steps"][0]["status"] == "succeeded"
    run.finish()
    assert [(event, data.get("status")) for event, _, data in stream] == [("status", "succeeded"), ("end", "succeeded")]


def test_the_start_of_the_update_is_seen(site, stack):
    run = site.run(site.stack(stack), "update")
    run.step(0, name="pulumi update")
    stream = events(run)
    stream.until("status")
    its = site.server.api(run.order["runToken"])
    update = its.post(f"/api/stacks/{stack}/update", {"name": "p", "runtime": "yaml", "options": {}, "config": {}, "metadata": {}})
    its.post(f"/api/stacks/{stack}/update/{update['updateID']}", {"tags": {}})
    assert next(stream)[2] == {"step": 0, "name": "pulumi update"}


def test_a_browser_comes_back(run):
    """It says what it had last, and gets what follows; after the end it is told with 204 not to come again."""
    run.step(0)
    run.log(0, *(f"{i}\n" for i in range(10)))
    stream = events(run)
    assert stream.lines(10) == [f"{i}\n" for i in range(10)]
    stream.close()
    run.log(0, "10\n", "11\n")
    stream = events(run, last_id=stream.last_id)
    assert stream.lines(2) == ["10\n", "11\n"]
    stream.close()
    run.finish()
    stream = events(run, last_id=stream.last_id)
    assert [event for event, _, _ in stream] == ["status", "end"] and stream.last_id == "end"
    assert events(run, last_id="end").answer.status == 204
    # A place in the middle of what came in one piece, and the other ways to say it.
    assert events(run, last_id="0.0.6").lines(7) == [f"{i}\n" for i in range(5, 12)]
    assert events(run, "?continuationToken=0.0.6").lines(7) == [f"{i}\n" for i in range(5, 12)]
    assert events(run, "?continuationToken=0.0.6", last_id="0.0.9").lines(4) == [f"{i}\n" for i in range(8, 12)]
    assert texts(events(run, "?tail=3")) == ["9\n", "10\n", "11\n"]
    assert texts(events(run, "?tail=0")) == []


@pytest.mark.parametrize("query, last_id", [("", "x"), ("", "0.0.4"), ("?continuationToken=1.2", None), ("?tail=-1", None), ("?heartbeat=0", None), ("?heartbeat=61", None),
                                            ("?tail=x", None)])
def test_a_place_that_is_none(run, query, last_id):
    run.step(0)
    run.log(0, "one\n", "two\n")
    answer = events(run, query, last_id=last_id).answer
    assert answer.status == 400 and answer.headers["Content-Type"] == "application/json"


def test_a_silent_log_has_a_heartbeat(run):
    run.step(0)
    stream = events(run, "?heartbeat=1")
    stream.until("status")
    threading.Timer(2.5, lambda: run.log(0, "late\n")).start()
    assert stream.lines(1) == ["late\n"] and 1 <= stream.comments <= 3


def test_many_follow_one_log(run):
    """All see the same, whenever they come."""
    run.step(0)
    streams, seen = [], {}
    wanted = [f"line {i}\n" for i in range(400)]

    def follow(i):
        stream = events(run)
        streams.append(stream)
        seen[i] = texts(stream)

    threads = []
    for i in range(40):
        threads.append(threading.Thread(target=follow, args=(i,)))
        threads[-1].start()
        run.log(0, *wanted[i * 10:i * 10 + 10])
    run.finish()
    for thread in threads:
        thread.join(60)
    assert len(seen) == 40 and all(lines == wanted for lines in seen.values()), {i: len(lines) for i, lines in seen.items()}


@pytest.mark.parametrize("seed", range(3))
def test_events_lose_and_repeat_nothing(run, seed):
    """A writer, and browsers that lose their connection at any moment and come back."""
    rng = random.Random(seed)
    plan = [[f"{step}.{i}{'x' * rng.choice((0, 0, 9, 5000))}\n" for i in range(rng.choice((0, 3, 500)))] for step in range(5)]
    wanted = [item for step, lines in enumerate(plan) for item in (f"Step {step}", *lines)]
    failures = []

    def browse(seed):
        mine, seen, last = random.Random(seed), [], None
        try:
            while True:
                stream = events(run, last_id=last)
                if stream.answer.status == 204:
                    break
                life = mine.choice((1, 2, 5, 1000))
                for n, (event, _, data) in enumerate(stream):
                    seen += [data["name"]] if event == "step" else [x["line"] for x in data["lines"]] if event == "lines" else []
                    if event == "lines":
                        done = [x for x in seen if not x.startswith("Step")]
                        assert data["offset"] + len(data["lines"]) == len(done) - sum(len(lines) for lines in plan[:data["step"]])
                    if n + 1 == life:
                        break
                last = stream.last_id
                stream.close()
            assert seen == wanted, f"{len(seen)} of {len(wanted)}"
        except BaseException as e:  # noqa: B902
            failures.append(f"{seed}: {e!r}")

    threads = [threading.Thread(target=browse, args=(seed * 10 + i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for step, lines in enumerate(plan):
        run.step(step)
        while run.offsets.get(step, 0) < len(lines):
            at = run.offsets.get(step, 0)
            run.log(step, *lines[at:at + rng.choice((1, 20, 300))])
        run.step(step, "succeeded")
    run.finish()
    for thread in threads:
        thread.join(120)
    assert not failures, failures


def test_who_may_follow(own):
    """The cookie of a browser, as for other reads; nobody who may not read the stack."""
    org = Organization(own)
    made = org.write.deploy(STACK, "preview")
    path = f"{org.stack}/deployments/{made['id']}/logs/"
    for tail in ("stream", "text"):
        for api, status in ((org.read, 200), (org.deploy, 200), (org.none, 404), (org.stranger, 404), (org.server.api("pul-" + "f" * 40), 401), (org.server.api(""), 401)):
            assert Events(api, path + tail).answer.status == status, (tail, api.token)
        assert Events(org.root, f"/api/admin/deployments/{made['id']}/logs/{tail}").answer.status == 200
        assert Events(org.read, f"/api/admin/deployments/{made['id']}/logs/{tail}").answer.status == 403
    session = requests.Session()
    session.trust_env = False
    cookie = session.post(org.server.url + "/console/session", data={"token": org.read.token, "to": "/"}, allow_redirects=False).headers["Set-Cookie"].split(";")[0]
    stream = Events(org.server.api(""), path + "stream", headers={"Cookie": cookie})
    assert stream.answer.status == 200 and next(stream)[2]["status"] == "not-started"


def test_what_is_taken_away_ends_the_stream(own):
    """With the next heartbeat at the latest."""
    org = Organization(own)
    org.write.deploy(STACK, "preview")
    id = org.claim()[0]
    stream = Events(org.read, f"{org.stack}/deployments/{id}/logs/stream?heartbeat=1")
    assert next(stream)[0] == "status"
    org.boss.ok("DELETE", f"{org.stack}/collaborators/with-read")
    with pytest.raises((StopIteration, http.client.IncompleteRead, ConnectionError)):
        next(stream)
    assert Events(org.read, f"{org.stack}/deployments/{id}/logs/stream").answer.status == 404


def test_a_stop_of_the_server_ends_streams_and_they_come_back(site, run):
    run.step(0)
    run.log(0, "one\n")
    streams = [events(run) for _ in range(20)]
    for stream in streams:
        assert stream.lines(1) == ["one\n"]
    began = time.monotonic()
    site.server.stop()
    assert time.monotonic() - began < 10
    for stream in streams:
        assert [event for event, _, _ in stream] in ([], ["status"])


def test_who_went_away_is_forgotten(site, run):
    run.step(0)

    def descriptors():
        return len(os.listdir(f"/proc/{site.server.pid}/fd"))

    before = descriptors()
    streams = [events(run) for _ in range(50)]
    for stream in streams:
        next(stream)
    assert descriptors() >= before + 40
    for stream in streams:
        stream.close()
    wait_until(lambda: descriptors() <= before + 5, 20, "the connections to be closed")
    run.log(0, "still\n")
    assert events(run).lines(1) == ["still\n"]


# ---- text --------------------------------------------------------------------------------------------------------
def text(run, query="", **more):
    answer = run.site.api.call("GET", f"{run.path}/logs/text{query}", **more)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8" and answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    return answer.content.decode()


def test_the_log_as_text(run):
    assert text(run) == ""
    run.step(0, name="Setup")
    run.log(0, "one\n", "\x1b[31mtwo", " and a half\x1b[0m\n")
    assert text(run) == "== Setup\none\n\x1b[31mtwo and a half\x1b[0m\n"
    run.step(0, "succeeded", name="Setup")
    run.step(1, name="Empty")
    run.step(1, "succeeded", name="Empty")
    run.step(2, name="Last")
    run.log(2, "Grüße", "\x1b]8;;http://x\x1b\\")
    run.finish("failed", "it broke")
    whole = "== Setup\none\n\x1b[31mtwo and a half\x1b[0m\n== Empty\n== Last\nGrüße\x1b]8;;http://x\x1b\\\nit broke\n"
    assert text(run) == text(run, "?ansi=keep") == whole
    assert text(run, "?ansi=strip") == "== Setup\none\ntwo and a half\n== Empty\n== Last\nGrüße\nit broke\n"


@pytest.mark.parametrize("n, wanted", [(0, "why\n"), (1, "d\nwhy\n"), (2, "== Two\nc\nd\nwhy\n"), (3, "b\n== One\n== Two\nc\nd\nwhy\n"),
                                       (4, "== Zero\na\nb\n== One\n== Two\nc\nd\nwhy\n"), (5, "== Zero\na\nb\n== One\n== Two\nc\nd\nwhy\n"),
                                       (1000000000, "== Zero\na\nb\n== One\n== Two\nc\nd\nwhy\n")])
def test_the_last_lines(run, n, wanted):
    for step, (name, lines) in enumerate((("Zero", ["a\n", "b\n"]), ("One", []), ("Two", ["c\n", "d\n"]))):
        run.step(step, name=name)
        run.log(step, *lines)
        run.step(step, "succeeded", name=name)
    run.finish("failed", "why")
    assert text(run, f"?tail={n}") == wanted


@pytest.mark.parametrize("query", ["tail=-1", "tail=x", "tail=1000000001", "ansi=", "ansi=no"])
def test_text_that_cannot_be(run, query):
    run.site.api.refused(400, "GET", f"{run.path}/logs/text?{query}", names="query argument " + query.split("=")[0])


def test_the_end_of_a_long_log_is_quick(run):
    """Only what is asked for is read: the tail of 40 MB costs no more than that of a small one."""
    run.step(0)
    block = [f"{i:06d} {'lorem ipsum ' * 20}\n" for i in range(4000)]
    for _ in range(40):
        run.log(0, *block)
    began = time.monotonic()
    assert text(run, "?tail=2") == "".join(block[-2:])
    short = time.monotonic() - began
    answer = run.site.api.call("GET", f"{run.path}/logs/text", stream=True)
    began, size = time.monotonic(), 0
    for piece in answer.iter_content(1 << 20):
        size += len(piece)
    assert size == len("== Step 0\n") + 40 * sum(map(len, block))
    assert short < (time.monotonic() - began) / 3


def test_a_log_that_grows_has_an_end(run):
    """Text is what there was when it was asked for, and little more, however fast the log grows."""
    run.step(0)
    run.log(0, *(f"{i}\n" for i in range(100)))
    stop = threading.Event()

    def write():
        while not stop.is_set():
            run.log(0, *("x" * 1000 + "\n" for _ in range(300)))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            assert text(run, timeout=30).startswith("== Step 0\n0\n")
    finally:
        stop.set()
        writer.join()


# ---- retention ---------------------------------------------------------------------------------------------------
def test_a_log_whose_time_is_over(own, clock, stack):
    """90 days unless configured; every form says that it was removed, and what the deployment was stays."""
    site = Site(own, clock=clock)
    run = site.run(site.stack(stack))
    run.step(0, name="Setup")
    run.log(0, *(f"of long ago {i}\n" for i in range(3000)))
    run.step(0, "succeeded", name="Setup")
    run.finish("failed", "it broke")
    clock.advance(89 * 86400)
    assert "of long ago 2999\n" in text(run)
    assert events(run, last_id="0.0.5").lines(1)[0] == "of long ago 4\n"
    clock.advance(2 * 86400)
    wait_until(lambda: "of long ago" not in text(run), 20, "the log to be removed")
    words = "The log was kept for its time and then removed.\nit broke\n"
    assert text(run) == "== Setup\n" + words and text(run, "?tail=5") == words
    seen = list(events(run))
    assert [event for event, _, _ in seen] == ["status", "step", "end"]
    assert seen[-1][2] == {"status": "failed", "message": "it broke", "removed": True}
    assert [event for event, _, _ in events(run, last_id="0.0.5")] == ["status", "end"]
    page = site.api.get(f"{run.path}/logs?step=0")
    assert page["lines"] == [] and "nextOffset" not in page
    answer = site.api.get(f"{run.path}/logs?continuationToken=0.0.5")
    assert [line["line"] for line in answer["lines"]] == words.splitlines(keepends=True) and "nextToken" not in answer
    assert site.api.get(run.path)["jobs"][0]["steps"][0]["name"] == "Setup"


def test_the_retention_can_be_set(own, clock, stack):
    site = Site(own, "--log-retention", "1h", "--runner-timeout", "24h", "--deployment-timeout", "24h", clock=clock)
    run = site.run(site.stack(stack))
    run.step(0)
    run.log(0, "of an hour ago\n")
    clock.advance(2 * 3600)
    assert "of an hour ago" in text(run), "a log that is not complete is not old"
    run.finish()
    clock.advance(3 * 3600)
    wait_until(lambda: "of an hour ago" not in text(run), 20, "the log to be removed")
