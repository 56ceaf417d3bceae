"""No secret of a run stands in its log, in whatever form a program printed it (base/mask_encodings.c)."""
import base64
import json
import os
import random
import subprocess
import textwrap
import urllib.parse

import pytest

from helpers import encodings, where
from helpers.runner import Site

SEED = int(os.environ.get("MASK_SEED", "0")) or random.randrange(1, 2**31)
PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
ALPHABETS = [PLAIN, PLAIN + "+/=", PLAIN + "-_.~", PLAIN + "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", PLAIN + " '\"\\", PLAIN + "öñ€漢😀 <&>'", PLAIN + "\t\x1b\x07'\\", "'\"\\`$& "]
# How much may be left of a form: quotes around a value, `$` in front of them; of base64 a group before and two behind.
AROUND, AROUND_BASE64 = 8, 12
KEY = "-----BEGIN PRIVATE KEY-----\n" + "\n".join(textwrap.wrap(base64.b64encode(random.Random(7).randbytes(1190)).decode(), 64)) + "\n-----END PRIVATE KEY-----\n"


def secrets(rng, count):
    """Different enough that none is part of another."""
    made = []
    while len(made) < count:
        alphabet = rng.choice(ALPHABETS)
        value = "".join(rng.choice(alphabet) for _ in range(rng.choice([8, 12, 20, 40, 41, 42, 100])))
        if value.strip() == value and len(set(value)) > 4:
            made.append(value)
    return made


def left_of(line) -> str:
    return line.replace("[secret]", "")


def masked(tmp_path, values, text, seed=1) -> str:
    file = tmp_path / "values"
    file.write_bytes(b"".join(v.encode() + b"\0" for v in values))
    run = subprocess.run([where.build() / "tests/unit/mask_filter", file, str(seed)], input=text.encode(errors="surrogateescape"), capture_output=True, check=True)
    return run.stdout.decode()


def printed(rng, values):
    """(name, value, line) for each form of each value, each on a line of its own, between words."""
    rows = []
    for value, forms in zip(values, encodings.forms(values)):
        rows += [(name, value, f"<{rng.choice(['', 'x', 'key: '])}|{form}|>") for name, form in forms.items()]
    return rows


def check(rows, lines):
    assert len(rows) == len(lines)
    for (name, value, line), seen in zip(rows, lines):
        form = line.split("|", 1)[1].rsplit("|", 1)[0]
        assert value not in seen and form not in seen and "[secret]" in seen, f"seed {SEED}, {name}: {value!r} printed as {form!r} is seen as {seen!r}"
        left = left_of(seen).split("|", 1)[1].rsplit("|", 1)[0]
        assert len(left) <= (AROUND_BASE64 if "behind" in name else AROUND), f"seed {SEED}, {name}: of {form!r} is seen {left!r}"


@pytest.mark.parametrize("round", range(4))
def test_no_form_of_a_secret_passes(tmp_path, round):
    """Some 2,500 cases each: random values, as Python, Node, jq and bash print them, read in pieces of random length."""
    rng = random.Random(SEED + round)
    values = secrets(rng, 50)
    rows = printed(rng, values)
    assert len(rows) > 2000
    check(rows, masked(tmp_path, values, "".join(line + "\n" for _, _, line in rows), rng.randrange(2**31)).splitlines())


def test_the_lines_of_a_private_key(tmp_path):
    lines = KEY.splitlines()
    whole = KEY.encode()
    shown = {
        "as it is": KEY, "with CR": KEY.replace("\n", "\r\n"), "indented": textwrap.indent(KEY, "      "), "behind a prefix": textwrap.indent(KEY, "2026-11-26T10:00:00Z app | "),
        "JSON": json.dumps(KEY), "JSON with CR": json.dumps(KEY.replace("\n", "\r\n")), "JSON twice": json.dumps(json.dumps({"key": KEY})), "one line alone": lines[5] + "\n",
        "joined by blanks": " ".join(lines) + "\n", "reversed": "\n".join(reversed(lines)) + "\n", "base64": base64.b64encode(whole).decode() + "\n",
        "base64 with CR": base64.b64encode(whole.replace(b"\n", b"\r\n")).decode() + "\n", "base64 over lines": base64.encodebytes(whole).decode(),
        "base64 in lines of 64": "\n".join(textwrap.wrap(base64.b64encode(whole).decode(), 64)) + "\n", "base64 of it indented": base64.b64encode(textwrap.indent(KEY, "  ").encode()).decode() + "\n",
        "hex": whole.hex() + "\n", "without its last line break": KEY.strip(), "base64 of that": base64.b64encode(KEY.strip().encode()).decode() + "\n",
    }
    for name, text in shown.items():
        seen = masked(tmp_path, [KEY], text)
        for line in [*lines, *textwrap.wrap(base64.b64encode(whole).decode(), 16)]:
            assert line not in seen, f"{name}: {line} in {seen}"
        assert "[secret]" in seen


def test_the_key_within_a_json_document(tmp_path):
    """Google's credentials are JSON with a key in it: whoever reads them prints the key's lines."""
    document = json.dumps({"type": "service_account", "private_key": KEY})
    seen = masked(tmp_path, [document], KEY)
    for line in KEY.splitlines()[1:-1]:
        assert line not in seen


@pytest.mark.parametrize("kib", [20, 100])
def test_a_large_secret(tmp_path, kib):
    """A document as a secret must not make the run fail for want of room; the usual forms of it are masked."""
    rng = random.Random(SEED)
    value = json.dumps({f"k{i}": "".join(rng.choice(ALPHABETS[3]) for _ in range(100)) for i in range(kib * 9)})
    shown = [value, json.dumps(value), urllib.parse.quote(value, safe=""), base64.b64encode(b"x" + value.encode()).decode()]
    for line, text in zip(masked(tmp_path, [value], "".join(text + "\n" for text in shown)).splitlines(), shown, strict=True):
        assert "[secret]" in line and len(line) < 100, line


def test_text_without_secrets_stays_as_it_is(tmp_path):
    rng = random.Random(SEED)
    text = "".join(rng.choice(ALPHABETS[5] + "\n") for _ in range(200000)) + "\n"
    assert masked(tmp_path, secrets(rng, 50), text) == text


def test_the_server_masks_what_a_runner_sends(own):
    """A runner that does not mask: the stored log has no secret of the settings either."""
    rng = random.Random(SEED)
    site = Site(own)
    values = [v for v in secrets(rng, 20) if v.isprintable()]
    stack = site.stack("acme/masking/dev", operationContext={"environmentVariables": {f"V{i}": {"secret": v} for i, v in enumerate(values)}})
    run = site.run(stack)
    rows = [row for row in printed(rng, values) if row[2].isprintable()]
    run.step(0)
    for at in range(0, len(rows), 50):
        run.log(0, *[line + "\n" for _, _, line in rows[at:at + 50]])
    run.step(0, "succeeded")
    run.finish()
    text = site.api.call("GET", f"{run.path}/logs/text").text
    check(rows, [line for line in text.splitlines() if line.startswith("<")])


SHOW = """
import base64, json, os, sys, time, urllib.parse
v, k = os.environ["TOKEN_VALUE"], os.environ["KEY_VALUE"]
for text in (v, json.dumps(v), urllib.parse.quote(v, safe=""), repr(v), base64.b64encode(v.encode()).decode(), base64.b64encode(b"user:" + v.encode()).decode(), v.encode().hex(),
             k, json.dumps(k), base64.b64encode(k.encode()).decode(), base64.encodebytes(k.encode()).decode()):
    print("begin", text, "end", flush=True)
for c in v:
    sys.stdout.write(c); sys.stdout.flush(); time.sleep(.002)
print()
"""


def test_a_run_that_prints_its_secrets(own, repo):
    """The whole way: program, executor, agent, server, stored log; from the environment, the shell's trace, and its failure's message."""
    api = own("--isolation", "process").api()
    value = "p\"a's\\s <w&ö>/r=d$!" + PLAIN[:20]
    repo.commit({"show.py": SHOW})
    api.create_stack("admin/masking/run")
    context = {"environmentVariables": {"TOKEN_VALUE": {"secret": value}, "KEY_VALUE": {"secret": KEY}, "PIN": {"secret": "07"}},
               "preRunCommands": ["python3 show.py", "env | base64", "set -x; : \"$TOKEN_VALUE\"; printf '%q\\n' \"$TOKEN_VALUE\"", "echo \"$KEY_VALUE\" | sed 's/^/    /'; exit 3"]}
    _, log = api.run("admin/masking/run", "preview", expect="failed", sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}}, operationContext=context)
    assert log.count("begin [secret]") >= 2 and "== Pre-run command 4" in log
    assert "values shorter than 3 bytes cannot be masked: PIN" in log
    whole = base64.b64encode(value.encode()).decode()
    for part in [value, json.dumps(value)[1:-1], PLAIN[:20], whole[:-4], value.encode().hex(), *KEY.splitlines(), *textwrap.wrap(base64.b64encode(KEY.encode()).decode(), 76)]:
        assert part not in log, part
