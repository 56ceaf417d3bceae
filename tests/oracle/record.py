"""Records the journals of real runs of the CLI, for compare.py: writes recorded.jsonl beside itself.

    python3 tests/oracle/record.py       needs a built slipway and the Node host (tools/get-pulumi --with node)

A proxy between the CLI and a server keeps what was sent and the state before it. Every update's export afterwards must
be what the CLI's replayer would make of its journal; compare.py checks that too, under "after".
"""
import gzip
import hashlib
import http.client
import http.server
import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from helpers import process, programs, where  # noqa: E402
from helpers.pulumi import Pulumi, end_all  # noqa: E402

JOURNAL = re.compile(r"(/api/stacks/[^/]+/[^/]+/[^/]+)/[a-z]+/([^/]+)/journalentries$")

PROGRAM = programs.NODE_HEAD + """
const provider = {
    async check(olds, news) { return { inputs: news }; },
    async diff(id, olds, news) {
        const changed = ["value", "fixed", "hurry"].filter(k => olds[k] !== news[k]);
        return { changes: changed.length > 0, replaces: changed.filter(k => k !== "value"), deleteBeforeReplace: changed.includes("hurry") };
    },
    async create(inputs) {
        if (inputs.value === "slow") { await new Promise(r => setTimeout(r, 60000)); }
        if (inputs.value === "fail") { throw new Error("failed"); }
        return { id: "id-" + inputs.value, outs: inputs };
    },
    async update(id, olds, news) {
        if (news.value === "fail") { throw new Error("failed"); }
        return { outs: news };
    },
    async read(id, props) { return props.gone ? {} : { id, props: { ...props, seen: (props.seen || 0) + 1 } }; },
    async delete(id, props) { if (props.stuck) { throw new Error("stuck"); } },
};
class Thing extends pulumi.dynamic.Resource {
    constructor(name, args, opts) { super(provider, name, args, opts); }
}
class Group extends pulumi.ComponentResource {
    constructor(name, opts) { super("my:index:Group", name, {}, opts); this.registerOutputs({ done: name }); }
}
"""

FIRST = """
const a = new Thing("a", { value: "1", big: 9007199254740993, float: 1.5, text: "<b>&\\u2028" });
const g = new Group("g", { dependsOn: [a] });
const b = new Thing("b", { value: a.id, seen: undefined }, { parent: g });
const c = new Thing("c", { value: pulumi.secret("hidden"), fixed: "x" }, { parent: b, dependsOn: [a] });
const d = new Thing("d", { value: "1", hurry: "x", gone: true }, { deletedWith: a });
const e = new Thing("e", { value: c.id, gone: true }, { dependsOn: [d], protect: false });
const f = new Thing("f", { value: e.id }, { dependsOn: [e], parent: d });
exports.out = f.id;
"""
SECOND = """
const a = new Thing("a2", { value: "2", big: 9007199254740993 }, { aliases: [{ name: "a" }] });
const g = new Group("g2", { aliases: [{ name: "g" }], dependsOn: [a] });
const b = new Thing("b", { value: a.id }, { parent: g, aliases: [{ parent: "urn:pulumi:dev::rec::my:index:Group::g" }] });
const c = new Thing("c", { value: "1", fixed: "y" }, { parent: b });
const d = new Thing("d", { value: "1", hurry: "y", gone: true }, { deletedWith: a });
const e = new Thing("e", { value: d.id, gone: true }, { dependsOn: [d] });
const n = new Thing("n", { value: "n" });
const o = new Thing("o", { value: n.id, gone: true }, { parent: n });
const p = new Thing("p", { value: o.id }, { parent: o, dependsOn: [o, n] });
exports.out = c.id;
"""
# (name, program, arguments, whether it fails, seconds until the CLI is killed)
RUNS = [
    ("create", FIRST, ["up", "--yes", "--skip-preview"], False, None),
    ("same", FIRST, ["up", "--yes", "--skip-preview"], False, None),
    ("refresh", None, ["refresh", "--yes", "--skip-preview"], False, None),
    ("change", SECOND, ["up", "--yes", "--skip-preview"], False, None),
    ("refresh first", SECOND, ["up", "--refresh", "--yes", "--skip-preview"], False, None),
    ("fail", SECOND.replace('{ value: "n" }', '{ value: "fail" }') + 'new Thing("q", { value: "fail" });',
     ["up", "--yes", "--skip-preview", "--continue-on-error"], True, None),
    ("stuck", SECOND + 'new Thing("s", { value: "s", stuck: true });', ["up", "--yes", "--skip-preview"], False, None),
    ("fails to delete", SECOND, ["up", "--yes", "--skip-preview"], True, None),
    ("killed", SECOND + 'const w = new Thing("w", { value: "slow" }); new Thing("v", { value: "v" });',
     ["up", "--yes", "--skip-preview"], True, 12),
    ("after the kill", FIRST, ["up", "--yes", "--skip-preview"], None, None),
    ("replaced by hand", FIRST, ["up", "--yes", "--skip-preview", "--target-replace", "**c"], None, None),
    ("target", None, ["destroy", "--yes", "--skip-preview", "--target", "**f"], None, None),
    ("destroy with the program", FIRST, ["destroy", "--yes", "--skip-preview", "--refresh"], None, None),
]


def short(v):
    """Serialized code and stacks are long, name this machine, and say nothing here."""
    if isinstance(v, str):
        return v if len(v) < 300 else "long:" + hashlib.sha256(v.encode()).hexdigest()[:16]
    if isinstance(v, dict):
        return {k: short(x) for k, x in v.items() if k not in ("stackTrace", "sourcePosition")}
    return [short(x) for x in v] if isinstance(v, list) else v


class Recorder(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, server, token):
        super().__init__(("127.0.0.1", 0), Handler)
        self.host = server.split("//")[1].rstrip("/")
        self.token = token
        self.updates = {}  # id -> case, in order

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection(self.host, timeout=120)
        connection.request(method, path, body, headers or {"Authorization": f"token {self.token}"})
        answer = connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()

    def export(self, stack):
        return json.loads(self.ask("GET", stack + "/export")[2])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        journal = JOURNAL.match(self.path)
        if journal and self.command == "PATCH":
            stack, update = journal.groups()
            case = self.server.updates.get(update)
            if not case:
                case = self.server.updates[update] = {"stack": stack, "base": self.server.export(stack)["deployment"], "batches": []}
            text = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            case["batches"].append(json.loads(text))
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection", "transfer-encoding", "content-length")}
        status, answer_headers, answer = self.server.ask(self.command, self.path, body, headers)
        self.send_response(status)
        for k, v in answer_headers:
            if k.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                self.send_header(k, v)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = do_HEAD = forward


def main():
    folder = Path(tempfile.mkdtemp(prefix="slipway-record."))
    environment = where.clean_environment(folder)
    server = process.Program(folder, "dev", ["dev", "--data", folder / "data", "--listen", "127.0.0.1:0", "--isolation", "process"],
                             environment)
    try:
        url = server.wait_line(r"listening on (http://\S+)").group(1)
        token = (folder / "data" / "admin-token").read_text().strip()
        recorder = Recorder(url, token)
        threading.Thread(target=recorder.serve_forever, daemon=True).start()
        cli = Pulumi(folder, f"http://127.0.0.1:{recorder.server_port}", token)
        cli.write(programs.node("rec", FIRST, PROGRAM)).with_node_modules()
        cli.run("stack", "init", "acme/rec/dev", quiet=False)
        cases = []
        for name, program, arguments, fails, kill_after in RUNS:
            if program:
                cli.write(programs.node("rec", program, PROGRAM))
            seen = set(recorder.updates)
            if kill_after:
                child = cli.start(*arguments)
                time.sleep(kill_after)
                process.kill_session(child.pid)
                child.wait()
                cli.run("cancel", "--yes", "acme/rec/dev", expect=None)
            else:
                run = cli.run(*arguments, expect=None)
                if fails is not None and fails != (run.returncode != 0):
                    print(f"{name}: ended with {run.returncode}\n{run.stdout[-1500:]}{run.stderr[-1500:]}", file=sys.stderr)
            for update in [u for u in recorder.updates if u not in seen]:
                case = recorder.updates[update]
                after = recorder.export(case.pop("stack"))
                cases.append({"name": name, **case, "after": after})
                print(f"{name}: {sum(len(b['entries']) for b in case['batches'])} entries in {len(case['batches'])} batches, "
                      f"{len(after['deployment'].get('resources') or [])} resources after", file=sys.stderr)
        (HERE / "recorded.jsonl").write_text("".join(json.dumps(short(c), sort_keys=True) + "\n" for c in cases))
    finally:
        end_all()
        os.kill(server.process.pid, 15)
        server.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
