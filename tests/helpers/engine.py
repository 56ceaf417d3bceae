"""A container engine of the tests: a real dockerd with folders of its own, and images made of this machine's programs.

One for all workers of a run: several at once would fight over the packet filter. The first worker that needs it starts it,
the last one that used it stops it.
"""
import fcntl
import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import time
from pathlib import Path
from urllib.parse import quote

from . import where
from .waiting import wait_until

LABEL = "slipway.instance"


class _Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("engine", timeout=120)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(120)
        self.sock.connect(str(self.path))


def needed_by(program) -> set:
    """The shared libraries and the loader of a program of this machine."""
    words = subprocess.run(["ldd", program], capture_output=True, text=True).stdout.split()
    return {word for word in words if word.startswith("/")}


def root_file_system(programs, files=(), folders=()) -> bytes:
    """A tar archive: the programs of this machine (name -> place inside), their libraries, the executor's libraries, small files."""
    wanted = dict(programs)
    for source in [*programs.values(), str(where.build() / "slipway-executor")]:
        for library in needed_by(source):
            wanted[library.lstrip("/")] = library
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for link in ("bin", "sbin", "lib", "lib64"):
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, f"usr/{link}"
            tar.addfile(entry)
        for folder, mode in [("etc", 0o755), ("proc", 0o755), ("sys", 0o755), ("dev", 0o755), ("root", 0o700), ("tmp", 0o1777), *folders]:
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        for place, source in sorted(wanted.items()):
            first = place.split("/", 1)[0]
            entry = tar.gettarinfo(os.path.realpath(source), arcname=f"usr/{place}" if first in ("bin", "sbin", "lib", "lib64") else place)
            entry.uid = entry.gid = 0
            entry.type, entry.linkname = tarfile.REGTYPE, ""
            with open(os.path.realpath(source), "rb") as file:
                entry.size = os.fstat(file.fileno()).st_size
                tar.addfile(entry, file)
        for place, (text, uid, mode) in dict(files).items():
            entry = tarfile.TarInfo(place)
            data = text.encode() if isinstance(text, str) else text
            entry.size, entry.uid, entry.gid, entry.mode = len(data), uid, uid, mode
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


PASSWD = "root:x:0:0:root:/root:/bin/sh\nworker:x:1234:1235:a user:/home/worker:/bin/sh\n"
SMALL = {f"bin/{name}": f"/bin/{name}" for name in ("sh", "cat", "ls", "id", "sleep", "mkdir", "touch", "env")}


class Engine:
    def __init__(self, folder: Path):
        self.folder = folder
        self.socket = folder / "s"
        self.host = f"unix://{self.socket}"

    # --- the daemon; the lock is held by the caller

    def _start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        log = (self.folder / "log").open("ab")
        # Its mounts are its own: what else happens on the machine must not take a container's root away.
        daemon = subprocess.Popen(["unshare", "--mount", "dockerd", "--data-root", self.folder / "data", "--exec-root", self.folder / "x", "--host", self.host,
                                   "-p", self.folder / "pid", "--bridge", "none"],
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        log.close()

        def answers():
            assert daemon.poll() is None, "dockerd ended:\n" + (self.folder / "log").read_text()[-4000:]
            try:
                return self.call("GET", "/_ping", check=False)[0] == 200
            except OSError:
                return False
        wait_until(answers, 60, "dockerd")

    def _stop(self):
        for container in self.containers():
            self.call("DELETE", f"/containers/{container['Id']}?force=1&v=1", check=False)
        for network in self.call("GET", "/networks")[1]:
            self.call("DELETE", f"/networks/{network['Id']}", check=False)
        pid = int((self.folder / "pid").read_text())
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not Path(f"/proc/{pid}").exists() or Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z",
                   60, "the end of dockerd")
        for mount in reversed([line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]):
            if mount.startswith(str(self.folder) + "/"):
                subprocess.run(["umount", "-l", mount])
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- its API

    def call(self, method, path, body=None, data=None, check=True):
        connection = _Connection(self.socket)
        try:
            payload = data if data is not None else None if body is None else json.dumps(body)
            connection.request(method, "/v1.41" + path, payload, {"Content-Type": "application/x-tar" if data is not None else "application/json"})
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        try:
            decoded = json.loads(raw) if raw else None
        except ValueError:
            decoded = raw
        assert not check or answer.status < 400, f"{method} {path}: {answer.status} {raw[:400]}"
        return answer.status, decoded

    def containers(self, label=None) -> list:
        filters = f"&filters={quote(json.dumps({'label': [label]}))}" if label else ""
        return self.call("GET", f"/containers/json?all=1{filters}")[1]

    def networks(self, label) -> list:
        return self.call("GET", f"/networks?filters={quote(json.dumps({'label': [label]}))}")[1]

    def volumes(self) -> list:
        return self.call("GET", "/volumes")[1]["Volumes"] or []

    def has(self, name) -> bool:
        return self.call("GET", f"/images/{name}/json", check=False)[0] == 200

    def make(self, name, *changes, programs=None, files=(), folders=()) -> str:
        """An image, once: `changes` are lines of a Dockerfile."""
        if not self.has(name):
            repository, tag = name.rsplit(":", 1)
            more = "".join(f"&changes={quote(change)}" for change in changes)
            archive = root_file_system(SMALL | (programs or {}), {"etc/passwd": (PASSWD, 0, 0o644), "etc/group": ("root:x:0:\nworker:x:1235:\n", 0, 0o644),
                                                                  **dict(files)}, folders)
            self.call("POST", f"/images/create?fromSrc=-&repo={quote(repository)}&tag={tag}{more}", data=archive)
        return name

    def small(self) -> str:
        """sh and seven programs beside it, no git, no pulumi; runs as root."""
        return self.make("slipway-test/small:1")

    def plain(self) -> str:
        """An image whose user is not root, and whose root that user cannot write to."""
        return self.make("slipway-test/plain:1", "USER worker", "ENV FROM_IMAGE=yes PATH=/usr/bin:/opt/own", "WORKDIR /opt",
                         folders=[("home", 0o755), ("opt", 0o755)])


class shared:
    """with shared(folder) as engine: …"""

    def __init__(self, base: Path):
        self.base = base
        self.users = base / "engine.users"

    def _locked(self):
        lock = (self.base / "engine.lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock

    def __enter__(self) -> Engine:
        self.engine = Engine(self.base / "engine")
        with self._locked():
            users = int(self.users.read_text()) if self.users.exists() else 0
            if users == 0:
                self.engine._start()
            self.users.write_text(str(users + 1))
        return self.engine

    def __exit__(self, *_):
        with self._locked():
            users = int(self.users.read_text()) - 1
            self.users.write_text(str(users))
            if users == 0:
                self.engine._stop()
