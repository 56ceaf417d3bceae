"""The dependency cache gives a run what an earlier run of the same project left: perhaps a hostile one. Whatever comes, the run
goes on, and nothing lands anywhere but where its key belongs."""
import json
import os
import tarfile

import pytest
import requests
from helpers import process, programs
from helpers.api import path_of
from helpers.archives import Tar, frame
from helpers.git import Repository

NODE = "tree/infra/node_modules"


class Site:
    """A server of this file with a project in Node, whose key is known."""

    def __init__(self, folder, level):
        self.level, self.folder = level, folder
        self.server = process.Server(folder / "server", "--isolation", level)
        self.api = self.server.api()
        self.repo = Repository(folder)
        files = programs.stash("hostile")
        files["Pulumi.yaml"] = files["Pulumi.yaml"].replace("runtime: yaml", "runtime: nodejs")
        files |= {"package.json": '{"name":"x","version":"1.0.0"}', "package-lock.json":
                  json.dumps({"name": "x", "version": "1.0.0", "lockfileVersion": 3, "packages": {"": {"name": "x", "version": "1.0.0"}}})}
        self.repo.commit({f"infra/{name}": text for name, text in files.items()} | {"README": "kept\n"})
        self.stack = "acme/hostile/dev"
        self.api.create_stack(self.stack)
        self.outside = folder / "outside"
        self.outside.mkdir()
        log = self.run()
        self.key = log.split("Key: ")[1].split("\n")[0]

    def run(self):
        """The two first commands look at what is there; the third fails, because the program is of no interest here."""
        # sed keeps the shell's own echo of the command out of what is compared.
        look = "cd ..; find . -name .git -prune -o -print | LC_ALL=C sort | sed s/^/found:/; ls -A ~ ~/.npm 2>/dev/null | sed s/^/home:/"
        made = self.api.deploy(self.stack, "preview", sourceContext={"git": {"repoUrl": self.repo.url, "branch": "main", "repoDir": "infra"}},
                               cacheOptions={"enable": True}, operationContext={"preRunCommands": [look, "exit 9"]})
        done = self.api.wait_status(self.stack, made["id"])
        log = self.api.log(self.stack, made["id"])
        steps = {s["name"]: s["status"] for s in done["jobs"][0]["steps"]}
        assert steps["Restore cache"] == "succeeded" and steps["Pre-run command 1"] == "succeeded", log
        assert "exit status 9" in log and "executor ended early" not in log, log
        return log

    def url(self, method, key=None):
        return self.api.post(f"{path_of(self.stack)}/deployments/cache/url", {"method": method, "key": key or self.key})["url"]

    def put(self, archive: bytes):
        assert requests.put(self.url("PUT"), data=archive).status_code == 200

    def found(self, log):
        return [line[6:] for line in log.splitlines() if line.startswith("found:")]


@pytest.fixture(scope="module", params=["process", "bubblewrap"])
def site(request, tmp_path_factory):
    made = Site(tmp_path_factory.mktemp("site"), request.param)
    yield made
    made.server.stop()


CLEAN = [".", "./README", "./infra", "./infra/Pulumi.yaml", "./infra/package-lock.json", "./infra/package.json"]


def good(tar=None):
    """What could be restored, in front of what must not be: nothing of it may stay either."""
    return (tar or Tar()).folder(NODE).folder(f"{NODE}/good").add(f"{NODE}/good/index.js", b"1").folder("home/.npm/_cacache").add("home/.npm/_cacache/x", b"2")


def test_what_is_good_is_restored(site):
    long = "deep/" * 30 + "name"
    site.put(good().add(f"{NODE}/.bin/tool", b"#!/bin/sh\n", mode=0o755, mtime=1700000000).link(f"{NODE}/.bin/short", "../good/index.js")
             .link(f"{NODE}/inside", "../../README").link(f"{NODE}/python", "/usr/bin/python3").add(f"{NODE}/{long}", b"3").archive())
    log = site.run()
    found = site.found(log)
    assert f"./infra/node_modules/{long}" in found and "./infra/node_modules/.bin/tool" in found and "./infra/node_modules/inside" in found, log
    assert "Restored tree/infra/node_modules, home/.npm/_cacache: 7 files" in log, log
    assert "home:_cacache" in log
    assert not [f for f in found if ".slipway" in f]


OUT = "../" * 40
HOSTILE = {
    # name: (what stands in the archive, the reason that the log gives)
    "an absolute name": (lambda t, o: t.raw(header("/etc/slipway-was-here")), "does not belong to this key"),
    "a way up": (lambda t, o: t.add(f"{NODE}/../../../x", b"x"), "does not belong to this key"),
    "a way up at once": (lambda t, o: t.add(OUT + "tmp/slipway-was-here", b"x"), "does not belong to this key"),
    "a way up at the end": (lambda t, o: t.folder(f"{NODE}/.."), "does not belong to this key"),
    "a dot": (lambda t, o: t.add(f"{NODE}/./x", b"x"), "does not belong to this key"),
    "two slashes": (lambda t, o: t.add(f"{NODE}//x", b"x"), "does not belong to this key"),
    "another place of the tree": (lambda t, o: t.add("tree/infra/Pulumi.yaml", b"name: stolen"), "does not belong to this key"),
    "the hooks of git": (lambda t, o: t.add("tree/.git/hooks/post-checkout", b"#!/bin/sh\n", mode=0o755), "does not belong to this key"),
    "another place of the home": (lambda t, o: t.add("home/.bashrc", b"x"), "does not belong to this key"),
    "another root": (lambda t, o: t.add("root/.ssh/authorized_keys", b"x"), "does not belong to this key"),
    "other letters": (lambda t, o: t.add("tree/infra/Node_Modules/x", b"x"), "does not belong to this key"),
    "other letters of the root": (lambda t, o: t.add("TREE/infra/node_modules/x", b"x"), "does not belong to this key"),
    "a longer name": (lambda t, o: t.add("tree/infra/node_modules.evil", b"x"), "does not belong to this key"),
    "a link out of the tree": (lambda t, o: t.link(f"{NODE}/out", OUT + "tmp"), "leads to"),
    "an absolute link": (lambda t, o: t.link(f"{NODE}/out", str(o)), "leads to"),
    "a link to the host's secrets": (lambda t, o: t.link(f"{NODE}/out", "/etc/shadow"), "leads to"),
    "a link back out of the programs": (lambda t, o: t.link(f"{NODE}/out", "/usr/../etc"), "leads to"),
    "a file through a link": (lambda t, o: t.link(f"{NODE}/d", "../..").add(f"{NODE}/d/x", b"x"), "Not a directory"),
    "a file through a link to a program's folder": (lambda t, o: t.link(f"{NODE}/d", "/usr/local/lib").add(f"{NODE}/d/x", b"x"), "Not a directory"),
    "a folder through a link": (lambda t, o: t.link(f"{NODE}/d", "..").folder(f"{NODE}/d/x/y"), "Not a directory"),
    "a link in place of a folder": (lambda t, o: t.link(f"{NODE}/good", ".."), "File exists"),
    "a file over a link": (lambda t, o: t.link(f"{NODE}/l", "../README").add(f"{NODE}/l", b"x"), "File exists"),
    "a file twice": (lambda t, o: t.add(f"{NODE}/good/index.js", b"other"), "File exists"),
    "a place that is a link": (lambda t, o: Tar().link(NODE, "../README"), "is not a folder"),
    "a place that is a file": (lambda t, o: Tar().add(NODE, b"x"), "is not a folder"),
    "a hard link": (lambda t, o: t.add(f"{NODE}/h", kind=tarfile.LNKTYPE, target=f"{NODE}/good/index.js"), "a hard link"),
    "a hard link to the host": (lambda t, o: t.add(f"{NODE}/h", kind=tarfile.LNKTYPE, target="/etc/shadow"), "a hard link"),
    "a character device": (lambda t, o: t.add(f"{NODE}/n", kind=tarfile.CHRTYPE, devmajor=1, devminor=3), "damaged|a device"),
    "a block device": (lambda t, o: t.add(f"{NODE}/n", kind=tarfile.BLKTYPE, devmajor=8, devminor=0), "damaged|a device"),
    "a named pipe": (lambda t, o: t.add(f"{NODE}/p", kind=tarfile.FIFOTYPE), "a named pipe"),
    "set-user-id": (lambda t, o: t.add(f"{NODE}/s", b"x", mode=0o4755), "of the mode 4755"),
    "set-group-id": (lambda t, o: t.add(f"{NODE}/s", b"x", mode=0o2755), "of the mode 2755"),
    "a folder that is closed": (lambda t, o: t.folder(f"{NODE}/s", mode=0), "of the mode 0000"),
    "a sparse file": (lambda t, o: t.add(f"{NODE}/s", kind=b"S"), "a sparse file"),
    "a sparse file in a record": (lambda t, o: t.add(f"{NODE}/s", b"x", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.realsize": "99999999999999"}), "extension"),
    "a name of GNU": (lambda t, o: t.raw(header("././@LongLink", kind=b"L", size=4) + b"abcd".ljust(512, b"\0")), "extension"),
    "a record for all": (lambda t, o: t.raw(header("g", kind=b"g", size=16)), "extension"),
    "a record of an owner": (lambda t, o: t.add(f"{NODE}/s", b"x", pax_headers={"uid": "0", "SCHILY.xattr.security.capability": "x"}), "extension"),
    "a record that names another file": (lambda t, o: t.add(f"{NODE}/s", b"x", pax_headers={"path": "/tmp/slipway-was-here"}), "does not belong"),
    "eight gigabytes that do not come": (lambda t, o: t.raw(header(f"{NODE}/big", size=0o77777777777)), "ends too early"),
    "seventeen gigabytes": (lambda t, o: t.raw(header(f"{NODE}/big", size=17 << 30)), "damaged|more than"),
    "a size in another notation": (lambda t, o: t.raw(header(f"{NODE}/big", field=b"\x80" + b"\0" * 10 + b"\x01")), "damaged"),
    "a negative size": (lambda t, o: t.raw(header(f"{NODE}/big", field=b"-0000000001\0")), "damaged"),
    "an unreachable depth": (lambda t, o: t.add(f"{NODE}/" + "d/" * 500 + "x", b"x"), "does not belong"),
    "a name that no file system takes": (lambda t, o: t.add(f"{NODE}/" + "n" * 300, b"x"), "does not belong"),
    "a wrong sum": (lambda t, o: t.raw(header(f"{NODE}/x", sum_off=1)), "damaged"),
    "noise": (lambda t, o: t.raw(os.urandom(512)), "damaged"),
}


def header(name, size=0, kind=b"0", field=None, sum_off=0):
    """A header by hand, where tarfile would not write it."""
    h = bytearray(512)
    h[0:len(name)] = name.encode()
    h[100:108], h[108:116], h[116:124] = b"0000644\0", b"0000000\0", b"0000000\0"
    h[124:136] = field or b"%011o\0" % size
    h[136:148] = b"%011o\0" % 0
    h[148:156], h[156:157], h[257:265] = b" " * 8, kind, b"ustar\x0000"
    h[148:156] = b"%06o\0 " % (sum(h) + sum_off)
    return bytes(h)


def check_refused(site, log, reason):
    line = next(l for l in log.splitlines() if "nothing was restored" in l)
    assert any(r in line for r in reason.split("|")), line
    assert site.found(log) == CLEAN, "nothing stays of an archive that was refused"
    assert "home:_cacache" not in log and "home:.slipway" not in log
    assert not list(site.outside.iterdir()) and not os.path.exists("/tmp/slipway-was-here") and not os.path.exists("/etc/slipway-was-here")


# Each attack where nothing else would stop it; with a sandbox around it, those that go for the host.
@pytest.mark.parametrize("site,what", [("process", what) for what in HOSTILE] + [("bubblewrap", what) for what in HOSTILE if "host" in what or "link" in what],
                         indirect=["site"])
def test_what_is_hostile_is_not(site, what):
    make, reason = HOSTILE[what]
    site.put(make(good(), site.outside).archive())
    check_refused(site, site.run(), reason)


DAMAGED = {
    "nothing": (lambda whole: b"", "ends too early"),
    "text": (lambda whole: b"Not Found" * 100, "zstd"),
    "cut in half": (lambda whole: whole[:len(whole) // 2], "ends too early"),
    "without its last byte": (lambda whole: whole[:-1], "ends too early"),
    "something behind it": (lambda whole: whole + whole, "follows the end"),
    "without an end": (lambda whole: frame(good().plain()[:-1024]), "ends too early"),
    "a window of a gigabyte": (lambda whole: frame(good().plain(), window=20 << 3), "zstd"),
    "a bomb": (lambda whole: frame(good().plain()[:-1024] + header(f"{NODE}/big", size=8 << 30), repeat=8 << 30), "times as large"),
    "a bomb of headers": (lambda whole: frame(good().plain()[:-1024] + header(f"{NODE}/big", size=4 << 30), repeat=5 << 30), "times as large"),
}


@pytest.mark.parametrize("what", list(DAMAGED))
def test_what_is_damaged_is_not_restored(site, what):
    make, reason = DAMAGED[what]
    site.put(make(good().archive()))
    check_refused(site, site.run(), reason)
