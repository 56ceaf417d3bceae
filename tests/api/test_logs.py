"""The log of a deployment: its two forms, paging, and following, against a runner that the test plays itself."""
import random
import re
import threading
import time

import pytest
from helpers.runner import Site

COUNT = "Bad Request: Count must be less than 500 and more than 0"


@pytest.fixture
def site(own):
    return Site(own)


@pytest.fixture
def run(site, stack):
    return site.run(site.stack(stack))


def stream(api, path, token=None, count=None, wait=0):
    query = "&".join(f"{k}={v}" for k, v in (("continuationToken", token), ("count", count)) if v is not None)
    return api.get(f"{path}/logs?{query}", headers={"Prefer": f"wait={wait}"}, timeout=90)


def texts(answer):
    return [line["line"] for line in answer["lines"] if "line" in line]


def headers(answer):
    return [line["header"] for line in answer["lines"] if "header" in line]


# ---- streaming form ----------------------------------------------------------------------------------------------
def test_a_token_leads_from_page_to_page(site, run):
    run.step(0)
    run.log(0, *(f"a{i}\n" for i in range(1200)))
    run.step(0, "succeeded")
    run.step(1)
    run.log(1, *(f"b{i}\n" for i in range(700)))
    run.step(1, "succeeded")
    run.finish()
    seen, tokens, token = [], [], None
    while True:
        answer = stream(site.api, run.path, token)
        assert answer["__type"] == "DeploymentLogs" and len(answer["lines"]) <= 1000
        seen += answer["lines"]
        token = answer.get("nextToken")
        if not token:
            break
        assert re.fullmatch(r"[A-Za-z0-9._-]+", token) and token not in tokens
        tokens.append(token)
    assert [line.get("header") or line["line"] for line in seen] == \
        ["Step 0", *(f"a{i}\n" for i in range(1200)), "Step 1", *(f"b{i}\n" for i in range(700))]
    # At the end of the log the last token still leads to its end, and to nothing else.
    assert "nextToken" not in stream(site.api, run.path, tokens[-1])


@pytest.mark.parametrize("count", [1, 3, 499])
def test_count_in_the_streaming_form(site, run, count):
    run.step(0)
    run.log(0, *(f"{i}\n" for i in range(1000)))
    run.step(0, "succeeded")
    run.finish()
    seen, token = [], None
    for _ in range(5 if count < 499 else 100):
        answer = stream(site.api, run.path, token, count)
        assert len(answer["lines"]) <= count
        seen += answer["lines"]
        token = answer.get("nextToken")
        if not token:
            break
    assert texts({"lines": seen}) == [f"{i}\n" for i in range(len(seen) - 1)] and headers({"lines": seen}) == ["Step 0"]


@pytest.mark.parametrize("form", ["", "job=0&step=0&"])
@pytest.mark.parametrize("count", ["0", "500", "-1", "x", "", "99999999999999999999"])
def test_count_out_of_bounds(site, run, form, count):
    run.step(0)
    assert site.api.refused(400, "GET", f"{run.path}/logs?{form}count={count}") == COUNT


@pytest.mark.parametrize("token", ["x", "0.0", "0.0.0.0", "1.0.0", "0.-1.0", "0.0.-1", "0.0.4", "0.2.0", "0.1.1", "0.9999999999999.0", "0.0.9223372036854775807",
                                   "%00", "0.0.1%0a"])
def test_tokens_that_are_none(site, run, token):
    """The log has a header and two lines: the last place is 0.0.3, and nothing is behind it."""
    run.step(0)
    run.log(0, "one\n", "two\n")
    site.api.refused(400, "GET", f"{run.path}/logs?continuationToken={token}")
    for good in ("0.0.0", "0.0.1", "0.0.3", "0.1.0"):
        stream(site.api, run.path, good)


def test_a_token_stands_for_one_place(site, run):
    """Whenever it is used, what follows it begins with what followed it before."""
    run.step(0)
    run.log(0, "one\n", "two\n")
    first = stream(site.api, run.path, count=2)
    assert texts(first) == ["one\n"] and headers(first) == ["Step 0"]
    token = first["nextToken"]
    assert texts(stream(site.api, run.path, token)) == ["two\n"]
    run.log(0, "three\n")
    run.step(0, "succeeded")
    assert texts(stream(site.api, run.path, token)) == ["two\n", "three\n"]
    run.step(1)
    run.log(1, "four\n")
    run.step(1, "succeeded")
    run.finish("failed", "it broke")
    last = stream(site.api, run.path, token)
    assert [line.get("header") or line["line"] for line in last["lines"]] == ["two\n", "three\n", "Step 1", "four\n", "it broke\n"]
    assert "nextToken" not in last


def test_nothing_is_there_yet(site, stack):
    """A queued deployment has a log that has not begun: no lines, and a token that stays."""
    made = site.api.deploy(site.stack(stack), "preview")
    path = f"/api/stacks/{stack}/deployments/{made['id']}"
    answer = stream(site.api, path)
    assert answer["lines"] == [] and stream(site.api, path, answer["nextToken"]) == answer
    site.api.post(f"{path}/cancel")
    ended = stream(site.api, path, answer["nextToken"])
    assert "nextToken" not in ended and texts(ended) == ["cancelled by operator\n"]


# ---- step form ---------------------------------------------------------------------------------------------------
def step_page(api, path, **query):
    return api.get(f"{path}/logs?" + "&".join(f"{k}={v}" for k, v in query.items()))


def test_lines_of_one_step(site, run):
    run.step(0)
    run.log(0, *(f"{i}\n" for i in range(600)))
    path = run.path
    page = step_page(site.api, path, job=0, step=0)
    assert page["__type"] == "DeploymentLogsStep" and page["name"] == "Step 0" and page["nextOffset"] == 100
    assert texts(page) == [f"{i}\n" for i in range(100)], "the default is 100 lines"
    page = step_page(site.api, path, step=0, count=499, offset=100)
    assert texts(page) == [f"{i}\n" for i in range(100, 599)] and page["nextOffset"] == 599
    page = step_page(site.api, path, step=0, offset=599)
    assert texts(page) == ["599\n"] and page["nextOffset"] == 600, "more may come"
    assert step_page(site.api, path, step=0, offset=600) == {**page, "lines": []}
    run.step(0, "succeeded")
    run.step(1)
    assert "nextOffset" not in step_page(site.api, path, step=0, offset=600), "the next step has begun: this one is complete"
    assert "nextOffset" not in step_page(site.api, path, step=0, offset=599, count=1)
    assert step_page(site.api, path, step=1)["nextOffset"] == 0
    run.step(1, "succeeded")
    run.finish()
    assert step_page(site.api, path, step=1) == {"__type": "DeploymentLogsStep", "name": "Step 1", "lines": []}


@pytest.mark.parametrize("query, status, missing", [("job=1&step=0", 404, "job 1"), ("job=0&step=1", 404, "step 1"), ("step=2147483647", 404, "step 2147483647"), ("job=7", 404, "job 7"), ("job=-1", 400, "job"), ("step=-1", 400, "step"),
                                           ("step=x", 400, "step"), ("job=0&step=0&offset=-1", 400, "offset"), ("step=0&offset=x", 400, "offset"), ("step=99999999999999999999", 400, "step")])
def test_a_step_that_is_none(site, run, query, status, missing):
    run.step(0)
    run.log(0, "line\n")
    site.api.refused(status, "GET", f"{run.path}/logs?{query}", names=missing)


def test_lines_beyond_the_end(site, run):
    run.step(0)
    run.log(0, "one\n")
    assert step_page(site.api, run.path, step=0, offset=5)["lines"] == []
    run.finish()
    assert step_page(site.api, run.path, step=0, offset=5) == {"__type": "DeploymentLogsStep", "name": "Step 0", "lines": []}


# ---- following ---------------------------------------------------------------------------------------------------
def test_a_follower_waits_and_is_woken(site, run):
    """At the end of what is there an answer is held until there is more: by a line, by a step, by the end."""
    run.step(0)
    run.log(0, "one\n")
    token = stream(site.api, run.path)["nextToken"]

    def woken_by(act, token):
        timer = threading.Timer(0.3, act)
        began = time.monotonic()
        timer.start()
        answer = stream(site.api, run.path, token, wait=60)
        timer.join()
        assert 0.25 < time.monotonic() - began < 20
        return answer

    answer = woken_by(lambda: run.log(0, "two\n"), token)
    assert texts(answer) == ["two\n"]

    def next_step():
        run.step(0, "succeeded")
        run.step(1)

    answer = woken_by(next_step, answer["nextToken"])
    assert headers(answer) == ["Step 1"]
    answer = woken_by(lambda: run.finish("failed", "no luck"), answer["nextToken"])
    assert texts(answer) == ["no luck\n"] and "nextToken" not in answer


def test_a_follower_of_one_step_waits_if_it_says_so(site, run):
    run.step(0)
    run.log(0, "one\n")
    threading.Timer(0.3, lambda: run.log(0, "two\n")).start()
    answer = site.api.get(f"{run.path}/logs?step=0&offset=1", headers={"Prefer": "wait=60"}, timeout=90)
    assert texts(answer) == ["two\n"]


def test_a_start_of_the_update_wakes_the_follower(site, stack):
    """The header that the CLI waits for comes with the update's start, at once."""
    run = site.run(site.stack(stack), "update")
    run.step(0, name="pulumi update")
    token = stream(site.api, run.path)["nextToken"]
    its = site.server.api(run.order["runToken"])
    update = its.post(f"/api/stacks/{stack}/update", {"name": "p", "runtime": "yaml", "options": {}, "config": {}, "metadata": {}})
    threading.Timer(0.3, lambda: its.post(f"/api/stacks/{stack}/update/{update['updateID']}", {"tags": {}})).start()
    began = time.monotonic()
    assert headers(stream(site.api, run.path, token, wait=60)) == ["pulumi update"]
    assert time.monotonic() - began < 20


def test_a_wait_is_bounded(site, run):
    """The token stays, so that the CLI sleeps; without one nothing is held: who asks the first time gets what there is."""
    run.step(0)
    began = time.monotonic()
    answer = site.api.get(f"{run.path}/logs")
    assert time.monotonic() - began < 4
    began = time.monotonic()
    assert stream(site.api, run.path, answer["nextToken"], wait=1) == {**answer, "lines": []}
    assert 0.9 < time.monotonic() - began < 10
    assert stream(site.api, run.path, answer["nextToken"], wait=0) == {**answer, "lines": []}


@pytest.mark.parametrize("seed", range(3))
def test_no_line_is_lost_or_repeated(site, run, seed):
    """One writer, who repeats some of what he sent as after a lost answer; readers of both forms, with pages of any size."""
    rng = random.Random(seed)
    plan = [[f"{step}.{i}{'x' * rng.choice((0, 0, 5, 3000))}\n" for i in range(rng.choice((0, 1, 40, 700)))] for step in range(5)]
    wanted = [item for step, lines in enumerate(plan) for item in (f"Step {step}", *lines)]
    failures = []

    def write():
        for step, lines in enumerate(plan):
            run.step(step)
            at = 0
            while at < len(lines):
                to = min(len(lines), at + rng.choice((1, 2, 17, 300)))
                back = max(0, at - rng.choice((0, 0, 3, 400)))
                assert run.append(step, back, lines[back:to]) == to
                at = to
            run.step(step, "succeeded")
        run.finish()

    def read_stream(seed):
        mine, seen, token, calls = random.Random(seed), [], None, 0
        while True:
            answer = stream(site.api, run.path, token, mine.choice((None, 1, 7, 100, 499)) if calls < 200 else None, wait=mine.choice((0, 1, 5)))
            seen += [line.get("header") or line["line"] for line in answer["lines"]]
            following = answer.get("nextToken")
            calls += 1
            # Nobody is sent round in circles: where nothing came the token is the same, and where it is another one something came.
            if not following:
                break
            assert token is None or (following == token) == (not answer["lines"]), (token, answer)
            token = following
        assert seen == wanted, first_difference(seen, wanted)

    def read_steps(seed):
        mine = random.Random(seed)
        for step, lines in enumerate(plan):
            seen, offset = [], 0
            while offset is not None:
                answer = site.api.call("GET", f"{run.path}/logs?step={step}&offset={offset}&count={mine.choice((1, 10, 499))}", headers={"Prefer": "wait=1"})
                if answer.status_code == 404:
                    time.sleep(0.02)  # it has not begun
                    continue
                page = answer.json()
                seen += texts(page)
                assert page.get("nextOffset", len(seen)) == len(seen)
                offset = page.get("nextOffset")
            assert seen == lines, f"step {step}: {first_difference(seen, lines)}"

    def guarded(work, *arguments):
        def body():
            try:
                work(*arguments)
            except BaseException as e:  # noqa: B902
                failures.append(f"{work.__name__}{arguments}: {e}")
        return threading.Thread(target=body)

    threads = [guarded(write), *(guarded(read_stream, seed * 10 + i) for i in range(3)), guarded(read_steps, seed)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    assert not failures, "\n".join(failures)


def first_difference(seen, wanted):
    for i, (a, b) in enumerate(zip(seen, wanted)):
        if a != b:
            return f"item {i} is {a[:60]!r}, not {b[:60]!r}"
    return f"{len(seen)} items, not {len(wanted)}"
