"""POST of deployment settings against RFC 7396: random documents, and the algorithm of the RFC's section 2 written down here
anew. Two kinds of object count as one value: a secret, and executorImage."""
import copy
import os
import random

import pytest
from helpers.api import path_of

STEPS = int(os.environ.get("SETTINGS_MERGES", "300"))


class Leaf:
    """What the algorithm must not look into: it is replaced, never merged."""

    def __init__(self, shown):
        self.shown = shown

    def __eq__(self, other):
        return isinstance(other, Leaf) and self.shown == other.shown

    def __repr__(self):
        return f"Leaf({self.shown!r})"


def merge_patch(target, patch):
    """RFC 7396, section 2, line by line."""
    if isinstance(patch, dict):
        if not isinstance(target, dict):
            target = {}
        for name, value in patch.items():
            if value is None:
                if name in target:
                    del target[name]
            else:
                target[name] = merge_patch(target.get(name), value)
        return target
    return patch


# What a settings document is made of, as far as the rules of single members (one revision, one source) leave it alone.
def text(rng):
    return rng.choice(["", "a", "b", "c d", "ü\"\\/~", "x" * 40])


def secret(rng):
    return {"secret": rng.choice(["s1", "s2", "s3"])}


def strings(rng):
    return [text(rng) for _ in range(rng.randrange(3))]


def boolean(rng):
    return rng.random() < 0.5


def image(rng):
    if rng.random() < 0.4:
        return text(rng)
    found = {}
    if rng.random() < 0.8:
        found["reference"] = text(rng)
    if rng.random() < 0.5:
        found["credentials"] = {k: f(rng) for k, f in (("username", text), ("password", secret)) if rng.random() < 0.6}
    return found


def variable(rng):
    return text(rng) if rng.random() < 0.5 else secret(rng)


AUTH = {"accessToken": secret, "sshAuth": {"sshPrivateKey": secret, "password": secret}, "basicAuth": {"userName": variable, "password": secret}}
SHAPE = {
    "tag": text,
    "executorContext": {"executorImage": image, "executorRootPath": text, "workingDirectory": text},
    "sourceContext": {"git": {"repoUrl": text, "branch": text, "repoDir": lambda rng: rng.choice(["", "a", "a/b"]), "gitAuth": AUTH}},
    "operationContext": {
        "preRunCommands": strings,
        "environmentVariables": {name: variable for name in ("A", "B", "C", "secret", "ciphertext")},
        "options": {"skipInstallDependencies": boolean, "deleteAfterDestroy": boolean, "shell": text},
        "oidc": {"aws": {"roleArn": text, "policyArns": strings}, "azure": {"clientId": text}, "gcp": {"projectId": text}}},
    "cacheOptions": {"enable": boolean},
    "gitHub": {"deployCommits": boolean, "paths": strings, "deployPullRequest": lambda rng: rng.randrange(3)},
}


def random_document(rng, shape, nulls, density):
    found = {}
    names = list(shape)
    rng.shuffle(names)
    for name in names:
        if rng.random() > density:
            continue
        if rng.random() < nulls:
            found[name] = None
        elif isinstance(shape[name], dict):
            found[name] = random_document(rng, shape[name], nulls, density)
        else:
            found[name] = shape[name](rng)
    return found


def opaque(value, name=""):
    """A document as the algorithm is to see it."""
    if isinstance(value, dict) and (set(value) == {"secret"} and isinstance(value["secret"], str) and name != "environmentVariables"):
        return Leaf("[secret]")
    if name == "executorImage" and value is not None:
        return Leaf(shown(value, image=True))
    return {k: opaque(v, k) for k, v in value.items()} if isinstance(value, dict) else value


def shown(value, name="", image=False):
    """As it comes back: secrets closed; nothing within an image is merged, but its nulls and markers are the same."""
    if isinstance(value, Leaf):
        return value.shown
    if isinstance(value, dict):
        if image and set(value) == {"secret"}:
            return {"secret": "[secret]"}
        return {k: shown(v, k, image) for k, v in value.items()}
    return {"secret": "[secret]"} if value == "[secret]" and image else value


def stripped(value):
    """An answer without ciphertext, a secret as the oracle shows it."""
    if isinstance(value, dict):
        if set(value) == {"secret", "ciphertext"} and value["secret"] == "[secret]":
            return "[secret]"
        return {k: stripped(v) for k, v in value.items()}
    return value


def plain(value):
    if isinstance(value, Leaf):
        return plain(value.shown)
    if isinstance(value, dict):
        return "[secret]" if value == {"secret": "[secret]"} else {k: plain(v) for k, v in value.items()}
    return value


def ciphertexts(value, path=()):
    if isinstance(value, dict):
        if set(value) == {"secret", "ciphertext"} and value["secret"] == "[secret]":
            return {path: value["ciphertext"]}
        return {p: c for k, v in value.items() for p, c in ciphertexts(v, (*path, k)).items()}
    return {}


def touches(patch, path):
    """Whether the patch says anything about that place."""
    for name in path:
        if not isinstance(patch, dict) or name not in patch:
            return False
        patch = patch[name]
        if name == "executorImage":
            return True
    return True


def test_the_oracle_knows_the_examples_of_the_rfc():
    for target, patch, wanted in [
            ({"a": "b"}, {"a": "c"}, {"a": "c"}), ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}), ({"a": "b"}, {"a": None}, {}),
            ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}), ({"a": ["b"]}, {"a": "c"}, {"a": "c"}), ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
            ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}), ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
            (["a", "b"], ["c", "d"], ["c", "d"]), ({"a": "b"}, ["c"], ["c"]), ({"a": "foo"}, None, None), ({"a": "foo"}, "bar", "bar"),
            ({"e": None}, {"a": 1}, {"e": None, "a": 1}), ([1, 2], {"a": "b", "c": None}, {"a": "b"}), ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}})]:
        assert merge_patch(copy.deepcopy(target), patch) == wanted


@pytest.mark.parametrize("seed", [1, 2])
def test_post_merges_as_the_rfc_says(api, stack, seed):
    rng = random.Random(seed)
    path = api.create_stack(stack) + "/deployments/settings"
    assert path == path_of(stack) + "/deployments/settings"
    model, before, seen = None, {}, {"kept": 0, "null": 0, "image": 0}
    for step in range(STEPS // 2):
        if rng.random() < 0.02:
            model, method, patch = None, "PUT", random_document(rng, SHAPE, 0, 0.6)
        else:
            method, patch = "POST", random_document(rng, SHAPE, 0.25, rng.choice([0.2, 0.5, 0.9]))
        model = merge_patch(model, opaque(patch))
        answer = api.ok(method, path, patch)
        answer = {k: v for k, v in answer.items() if k not in ("version", "source")}
        where = f"seed {seed}, step {step}: {method} {patch}"
        assert stripped(answer) == plain(model), where
        # A secret that the patch says nothing about has kept its very ciphertext.
        now = ciphertexts(answer)
        for at, text_ in before.items():
            if method == "POST" and not touches(patch, at) and at in now:
                assert now[at] == text_, f"{where}: {at}"
                seen["kept"] += 1
        before = now
        seen["null"] += "None" in str(patch)
        seen["image"] += isinstance((answer.get("executorContext") or {}).get("executorImage"), dict)
        assert {k: v for k, v in api.get(path).items() if k not in ("version", "source")} == answer
    assert all(n > 20 for n in seen.values()), seen
