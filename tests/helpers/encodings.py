"""The forms in which real programs print a value: made by them, not by us."""
import base64
import html
import json
import re
import shlex
import subprocess
import urllib.parse

NODE = """
const util = require("util");
const values = JSON.parse(require("fs").readFileSync(0));
console.log(JSON.stringify(values.map(v => ({
    "JSON.stringify": JSON.stringify(v), "JSON.stringify twice": JSON.stringify(JSON.stringify(v)),
    "encodeURIComponent": encodeURIComponent(v), "encodeURI": encodeURI(v), "util.inspect": util.inspect(v, {breakLength: Infinity}),
    "URLSearchParams": new URLSearchParams([["", v]]).toString().slice(1), "base64url": Buffer.from(v).toString("base64url"),
}))));
"""

JQ = """[.[] | {"@sh": @sh, "@uri": @uri, "@json": @json, "@html": @html, "@csv": ([.]|@csv), "@base64": @base64}]"""

# Each prints a form and a NUL.
BASH = r"""
while IFS= read -r -d '' v; do
    printf '%q\0' "$v"; printf '%s\0' "${v@Q}"; printf '%s\0' "${v@E}" >/dev/null
    t=$(declare -p v); printf '%s\0' "${t#declare -- v=}"
    { t=$(set -x; : "$v") ; } 2>&1 | sed -z 's/^+* : //; s/\n$//'; printf '\0'
done
"""
BASH_NAMES = ["printf %q", "${v@Q}", "declare -p", "set -x"]


def _ran(arguments, stdin, **environment) -> bytes:
    return subprocess.run(arguments, input=stdin, capture_output=True, check=True, env={"PATH": "/usr/local/bin:/usr/bin:/bin", **environment}).stdout


def _bash(values, locale):
    out = _ran(["bash", "-c", BASH], b"".join(v.encode() + b"\0" for v in values), LC_ALL=locale).split(b"\0")[:-1]
    assert len(out) == len(values) * len(BASH_NAMES)
    rows = [out[i:i + len(BASH_NAMES)] for i in range(0, len(out), len(BASH_NAMES))]
    return [{f"bash {name} in {locale}": text.decode(errors="surrogateescape") for name, text in zip(BASH_NAMES, row)} for row in rows]


def _lower_hex(text):
    return re.sub("%[0-9A-F]{2}", lambda m: m.group().lower(), text)


def _python(v) -> dict:
    raw = v.encode()
    found = {"raw": v, "json": json.dumps(v), "json, UTF-8": json.dumps(v, ensure_ascii=False), "json twice": json.dumps(json.dumps(v)),
             "repr": repr(v), "shlex.quote": shlex.quote(v), "html.escape": html.escape(v), "YAML": "'" + v.replace("'", "''") + "'",
             "hex": raw.hex(), "HEX": raw.hex().upper(), "double quotes": '"' + re.sub(r'([\\"$`])', r"\\\1", v) + '"'}
    for name, encode in (("quote", urllib.parse.quote), ("quote_plus", urllib.parse.quote_plus), ("quote of all", lambda t: urllib.parse.quote(t, safe=""))):
        found[name] = encode(v)
        found[f"{name}, small"] = _lower_hex(encode(v))
    for before in range(3):
        # What stands before and behind shares a group with the value: four characters on each side may be left.
        text = b"\xff\x00"[:before] + raw + b"\xff\xff"
        found[f"base64 behind {before}"] = base64.b64encode(text).decode()
        found[f"base64url behind {before}"] = base64.urlsafe_b64encode(text).decode()
    found["base64"] = base64.b64encode(raw).decode()
    found["base64 without padding"] = found["base64"].rstrip("=")
    return found


def forms(values) -> list:
    """For each value {name: form}. Values hold no NUL, and no line break."""
    node = json.loads(_ran(["node", "-e", NODE], json.dumps(values).encode()))
    jq = json.loads(_ran(["jq", "-c", JQ], json.dumps(values).encode()))
    made = [_python(v) for v in values]
    for more in (node, jq, _bash(values, "C.UTF-8"), _bash(values, "C")):
        for one, other in zip(made, more):
            one.update(other)
    return made
