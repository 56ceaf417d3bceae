"""What programs print, end to end: a real runner, and one that the test plays itself."""
import random
import threading

import pytest
from helpers import programs
from helpers.api import path_of
from helpers.runner import Runner, Site

# A command that ends the deployment behind it: pulumi itself is not what is looked at here.
STOP = "exit 3"


@pytest.fixture
def printed(api, stack, repo, project):
    """printed(command, variables) runs a pre-run command on a real runner: the items of its step, and its text."""
    repo.commit(programs.stash(project))
    api.create_stack(stack)

    def run(command, timeout=120, **variables):
        done, _ = api.run(stack, "preview", expect="failed", timeout=timeout, sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}},
                          operationContext={"preRunCommands": [command, STOP], "environmentVariables": variables})
        names = [s["name"] for s in done["jobs"][0]["steps"]]
        step, lines, offset = names.index("Pre-run command 1"), [], 0
        while offset is not None:
            page = api.get(f"{path_of(stack)}/deployments/{done['id']}/logs?step={step}&offset={offset}&count=499")
            lines += [line["line"] for line in page["lines"]]
            assert page.get("nextOffset", len(lines)) == len(lines), "offsets are numbers of lines"
            offset = page.get("nextOffset")
        # First comes the command itself.
        echo = command.count("\n")
        assert "".join(lines[:echo + 1]) == f"$ {command}\n", lines[:3]
        text = api.call("GET", f"{path_of(stack)}/deployments/{done['id']}/logs/text").content.decode()
        assert "".join(lines[echo + 1:]) in text
        return lines[echo + 1:]

    return run


def test_bytes_that_are_no_text(printed):
    """NUL is dropped; each byte that belongs to no character becomes U+FFFD; everything else stays, ANSI and CR included."""
    lines = printed(r"""printf 'nul:\0a\0b\n'; printf 'bad:\377\376 cut:\303 long:\300\200 half:\342\202\n'; printf '\033[31mred\033[0m \tß€😀\r\n'; printf 'bell\a\b\v\f\177\n'""")
    assert lines == ["nul:ab\n", "bad:\ufffd\ufffd cut:\ufffd long:\ufffd\ufffd half:\ufffd\ufffd\n", "\x1b[31mred\x1b[0m \tß€😀\r\n", "bell\a\b\v\f\x7f\n"]


def test_every_byte(printed):
    """All 256 of them, some thousand times: no line is lost, none is another one."""
    lines = printed("""python3 -c 'import sys
for i in range(3000): sys.stdout.buffer.write(b"%d " % i + bytes(b for b in range(256) if b != 10) + b"\\n")'""")
    def text(b):
        return "" if b == 0 else chr(b) if b < 128 else "\ufffd"
    wanted = "".join(text(b) for b in range(256) if b != 10)
    assert lines == [f"{i} {wanted}\n" for i in range(3000)]


def test_lines_without_a_break(printed):
    lines = printed("printf 'no break at the end'")
    assert lines == ["no break at the end"]
    lines = printed("printf 'prompt? '; sleep 1.6; printf 'answer\\n'")
    assert lines == ["prompt? ", "answer\n"], "what stands still is shown"


def test_progress(printed):
    """A line that is drawn anew is one line; one that is drawn for long is shown while it is."""
    assert printed("printf '1 %%\\r50 %%\\r100 %%\\ndone\\n'") == ["1 %\r50 %\r100 %\n", "done\n"]
    lines = printed("for i in $(seq 1 40); do printf '%d%%\\r' $i; sleep 0.1; done; echo done")
    assert "".join(lines) == "".join(f"{i}%\r" for i in range(1, 41)) + "done\n" and 2 <= len(lines) <= 4, lines
    assert all(line.endswith(("%\r", "\n")) for line in lines)


def test_long_lines(printed):
    """Up to 1 MiB a line stays whole; a longer one is cut there, and never within a character."""
    lines = printed("""python3 -c 'print("a" * (2**20 - 1)); print("b" * 2**20); print("€" * 2**20)'""")
    assert lines[0] == "a" * (2**20 - 1) + "\n"
    assert [len(line) for line in lines[1:3]] == [2**20, 1] and "".join(lines[1:3]) == "b" * 2**20 + "\n"
    rest = lines[3:]
    assert "".join(rest) == "€" * 2**20 + "\n" and all(2**20 - 3 < len(line.encode()) <= 2**20 for line in rest[:-1]) and len(rest) == 4


def test_a_secret_is_hidden_wherever_it_is_cut(printed):
    """By the 1 MiB of a line, by a pause, by NUL between its letters."""
    secret = "correct horse battery staple"
    program = f"""python3 -c 'import os, sys, time
s = os.environ["S"]
w = sys.stdout
for k in (2**20 - 5, 2**20 - len(s), 2**20 - 1): print("x" * k + s + "y")
for k in (1, 9): w.write(s[:k]); w.flush(); time.sleep(1.3); print(s[k:])
w.flush(); sys.stdout.buffer.write(s.encode("utf-16-le") + b"\\n"); w.flush()'"""
    text = "".join(printed(program, S={"secret": secret}))
    assert secret not in text and text.count("[secret]") == 6 and text.count("x[secret]y\n") == 3
    assert text.endswith("[secret]\n" * 3), text[-200:]


def test_much_from_one_run(printed):
    """10 MB as fast as they come: every line, in order."""
    lines = printed("""awk 'BEGIN { for (i = 0; i < 100000; i++) printf "%06d the quick brown fox jumps over the lazy dog, again and again and again, for the log is long\\n", i }'""")
    assert len(lines) == 100000
    assert all(line.startswith(f"{i:06d} the quick") for i, line in enumerate(lines))


def test_a_hundred_runs_at_once(own):
    """Each writes its own log and reads its own log, all at the same time."""
    site = Site(own)
    site.api.ok("PATCH", "/api/orgs/acme", {"setDeploymentConcurrency": 100})
    runs = []
    for i in range(100):
        stack = site.stack(f"acme/many/s{i}")
        site.api.deploy(stack, "preview")
        runs.append(Runner(site, stack))
    failures = []

    def work(group):
        rng = random.Random(group)
        mine = runs[group::10]
        wanted = {run.id: [] for run in mine}
        try:
            for run in mine:
                run.step(0)
            for _ in range(6):
                for run in mine:
                    lines = [f"{run.id} {rng.getrandbits(64):x} {'z' * rng.randrange(200)}\n" for _ in range(rng.randrange(1, 200))]
                    run.log(0, *lines)
                    wanted[run.id] += lines
            for run in mine:
                run.step(0, "succeeded")
                run.finish()
                assert [x["line"] for x in site.api.log_lines(run.stack, run.id) if "line" in x] == wanted[run.id]
        except BaseException as e:  # noqa: B902
            failures.append(repr(e)[:500])

    threads = [threading.Thread(target=work, args=(group,)) for group in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert not failures, failures


# ---- what a runner may send --------------------------------------------------------------------------------------
@pytest.fixture
def run(own, stack):
    site = Site(own)
    return site.run(site.stack(stack, operationContext={"environmentVariables": {"S": {"secret": "correct horse"}}}))


def test_what_a_runner_may_send(run):
    """The server holds what its own runner promises: no NUL, masked also between two pieces of a line, 1 MiB at most."""
    run.step(0)
    run.log(0, "a\0b\n", "the correct", " horse\n", "correct\n", " horse\n", "x" * 2**20)
    page = run.site.api.get(f"{run.path}/logs?step=0")
    assert [x["line"] for x in page["lines"]] == ["ab\n", "the ", "[secret]\n", "correct\n", " horse\n", "x" * 2**20]
    for lines, why in (([{"t": 1, "l": "x" * (2**20 + 1)}], "/lines/0/l"), ([{"t": "1", "l": ""}], "/lines/0/t"), ([{"t": 1}], "/lines/0/l"), ({}, "/lines"), ([1], "/lines/0")):
        run.api.refused(400, "POST", f"/api/runner/{run.id}/log", {"attempt": run.attempt, "step": 0, "offset": 6, "lines": lines}, names=why)
    raw = b'{"attempt":%d,"step":0,"offset":6,"lines":[{"t":1,"l":"\xff"}]}' % run.attempt
    assert run.api.call("POST", f"/api/runner/{run.id}/log", data=raw).status_code == 400
    assert run.api.call("POST", f"/api/runner/{run.id}/log", data=raw.replace(b"\xff", b"\\ud800")).json()["next"] == 7
    assert run.site.api.get(f"{run.path}/logs?step=0&offset=6")["lines"][0]["line"] == "\ufffd"
    answer = run.api.call("POST", f"/api/runner/{run.id}/log", {"attempt": run.attempt, "step": 0, "offset": 7, "lines": [{"t": 1, "l": "y" * 2**19}] * 33})
    assert answer.status_code == 413, "more than 16 MiB at once"
