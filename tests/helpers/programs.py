"""Pulumi programs for the tests: no cloud, no plugin, only what the CLI and the Node SDK bring along."""


def yaml(project, resources="", outputs="", config="", runtime="yaml", description="a test") -> dict:
    text = f"name: {project}\nruntime: {runtime}\ndescription: {description}\n"
    for head, body in (("config", config), ("resources", resources), ("outputs", outputs)):
        if body:
            text += f"{head}:\n" + "".join(f"  {line}\n" if line else "\n" for line in body.strip("\n").splitlines())
    return {"Pulumi.yaml": text}


def stash(project, value="one", name="kept") -> dict:
    """One Stash and one output `value`."""
    return yaml(project, f"{name}:\n  type: pulumi:Stash\n  properties:\n    input: {value}", f"value: ${{{name}.output}}\nplain: {value}")


def many(project, count, bytes_each=8192) -> dict:
    """`count` Stash resources that hold `bytes_each` bytes."""
    resources = "\n".join(f"r{i}:\n  type: pulumi:Stash\n  properties:\n    input: \"{i:06d}{'x' * (bytes_each - 6)}\"" for i in range(count))
    return yaml(project, resources, f"count: {count}")


def secrets(project) -> dict:
    """A secret of the configuration, kept in a Stash and shown as an output; and a plain value."""
    return yaml(project,
                "hidden:\n  type: pulumi:Stash\n  properties:\n    input: ${password}\n"
                "shown:\n  type: pulumi:Stash\n  properties:\n    input: ${plain}",
                "hidden: ${hidden.output}\nshown: ${shown.output}",
                "password:\n  type: string\n  secret: true\nplain:\n  type: string\n  default: nothing")


def reference(project, other) -> dict:
    """Reads the outputs of another stack (org/project/stack)."""
    return yaml(project, f"other:\n  type: pulumi:pulumi:StackReference\n  properties:\n    name: {other}",
                "hidden: ${other.outputs[\"hidden\"]}\nshown: ${other.outputs[\"shown\"]}")


def failing(project) -> dict:
    """Fails while it runs, after one resource was created."""
    return yaml(project, "kept:\n  type: pulumi:Stash\n  properties:\n    input: one\n"
                         "broken:\n  type: pulumi:Stash\n  properties:\n    input:\n      fn::fromBase64: '*** ${kept.output}'")


NODE_HEAD = '"use strict";\nconst pulumi = require("@pulumi/pulumi");\n'

# A dynamic resource: `delay` seconds for a create, fails when told to.
NODE_DYNAMIC = NODE_HEAD + """
const fs = require("fs");
const provider = {
    async create(inputs) {
        if (inputs.started) { require("fs").writeFileSync(inputs.started, "started"); }
        await new Promise(resolve => setTimeout(resolve, (inputs.delay || 0) * 1000));
        if (inputs.fail) { throw new Error(inputs.fail); }
        return { id: "id-" + inputs.value, outs: inputs };
    },
    async update(id, olds, news) {
        await new Promise(resolve => setTimeout(resolve, (news.delay || 0) * 1000));
        if (news.fail) { throw new Error(news.fail); }
        return { outs: news };
    },
    async delete() {},
};
class Thing extends pulumi.dynamic.Resource {
    constructor(name, args, opts) { super(provider, name, args, opts); }
}
const config = new pulumi.Config();
"""


def node(project, body, head=NODE_DYNAMIC) -> dict:
    return {"Pulumi.yaml": f"name: {project}\nruntime: nodejs\nmain: index.js\ndescription: a test in Node\n",
            "package.json": '{"name": "%s", "private": true, "main": "index.js"}\n' % project,
            "index.js": head + body}


def slow(project, seconds, started=None) -> dict:
    """Creates one thing at once and then one that takes `seconds`; writes the file `started` when that begins."""
    path = f'"{started}"' if started else "undefined"
    return node(project, f"""
const quick = new Thing("quick", {{ value: "quick" }});
const slow = new Thing("slow", {{ value: "slow", delay: {seconds}, started: {path} }}, {{ dependsOn: quick }});
exports.slow = slow.id;
""")


# A provider whose cloud is a folder: a thing is a file there, its value the text of the file. So a thing can be made,
# changed and taken away behind Pulumi's back, and imported. For cli.with_folder_provider().
FOLDER_PROVIDER = """#!/usr/bin/env node
"use strict";
const fs = require("fs"), path = require("path");
const provider = require("@pulumi/pulumi/provider");
// This SDK forgets that an import reads without properties.
const requests = require("@pulumi/pulumi/proto/provider_pb").ReadRequest.prototype, properties = requests.getProperties;
requests.getProperties = function () { return properties.call(this) || new (require("google-protobuf/google/protobuf/struct_pb").Struct)(); };
const file = id => path.join(process.env.FOLDER_CLOUD, id);
const write = (id, value) => fs.writeFileSync(file(id), String(value));
const urnName = urn => urn.split("::").pop();
provider.main({
    version: "1.0.0",
    schema: JSON.stringify({ name: "folder", version: "1.0.0", resources: { "folder:index:Thing": {
        inputProperties: { value: { type: "string" } }, requiredInputs: ["value"], properties: { value: { type: "string" } }, required: ["value"] } } }),
    async check(urn, olds, news) { return { inputs: news }; },
    async diff(id, urn, olds, news) { return { changes: olds.value !== news.value }; },
    async create(urn, inputs) { const id = urnName(urn); write(id, inputs.value); return { id, outs: inputs }; },
    async read(id) {
        if (!fs.existsSync(file(id))) { return { id: "", props: {} }; }
        const value = fs.readFileSync(file(id), "utf8");
        return { id, inputs: { value }, props: { value } };
    },
    async update(id, urn, olds, news) { write(id, news.value); return { outs: news }; },
    async delete(id) { fs.rmSync(file(id), { force: true }); },
}, ["--logtostderr"].concat(process.argv.slice(2)));
"""


def folder_things(project, cli, **things) -> dict:
    """A program of things (name=value) of the folder provider, which cli.with_folder_provider() put in place."""
    files = yaml(project, "\n".join(f"{name}:\n  type: folder:Thing\n  properties:\n    value: {value}" for name, value in things.items()))
    files["Pulumi.yaml"] += f"plugins:\n  providers:\n    - name: folder\n      path: {cli.home / 'tools'}\n"
    return files
