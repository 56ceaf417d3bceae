"""Hostile programs: a table of attacks, and for each level of isolation whether it stops them. Each row is a test in each level that it
names: in those of `stopped` it must fail, in those of `open` it must succeed, so that the table of docs/isolation.md is true in both columns
and no row is an attack that cannot work. A further level is a further name in the rows and a row of LEVELS.

A script is a pre-run command of a real deployment. {names} are attributes of Host. What an attack has found is printed backwards, because
the log masks tokens and shows the command itself; `won` prints the sentence that says that it succeeded.
"""
import fcntl
import os
import secrets
import shutil
import socket
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

from . import process
from .git import Repository
from .runner import Site
from .waiting import wait_until

LEVELS = ("docker", "bubblewrap", "process")
MEMORY_MIB, PIDS, DISK_MIB, LOG_MIB = 256, 200, 100, 3
WON = "the-attack-succeeded"
PRELUDE = f"won() {{ echo {WON[::-1]} | rev; }}\n"


@dataclass
class Attack:
    name: str
    says: str  # what it tries, for the table
    script: str
    stopped: tuple = ("docker", "bubblewrap")
    open: tuple = ("process",)
    # What must be in the log when it is stopped, beside the absence of success.
    told: str = None
    evidence: callable = field(default=lambda host: WON)


def python(code) -> str:
    return f"python3 - <<'END'\nWON = '{WON[::-1]}'[::-1]\n{textwrap.dedent(code).strip()}\nEND"


def reads(name, says, script, of, **more):
    """Succeeds when the secret host.<of> comes out, backwards."""
    return Attack(name, says, script, evidence=lambda host: getattr(host, of)[::-1], **more)


ALL = {"stopped": ("docker", "bubblewrap", "process"), "open": ()}
# The checkout of a container lies in its own file system, and engines can seldom limit that. An engine also lets a run go on whose
# processes are ended for want of memory.
WATCHED = {"stopped": ("bubblewrap", "process"), "open": ()}
IN_SANDBOX = {"stopped": ("bubblewrap",), "open": ()}

ATTACKS = [
    reads("token-file", "reads the agent's pool token in its file", "cat {token_file} | rev", "pool_token"),
    reads("agent-environment", "reads the agent's environment in /proc", "cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep ^AGENT_SECRET= | rev", "environment_secret"),
    reads("agent-memory", "reads the tokens in the agent's memory", python("""
        import os, re
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if b"slipway\\0agent\\0" not in open(f"/proc/{{pid}}/cmdline", "rb").read(): continue
                memory = open(f"/proc/{{pid}}/mem", "rb", 0)
                for line in open(f"/proc/{{pid}}/maps"):
                    place, rights = line.split()[:2]
                    low, high = (int(x, 16) for x in place.split("-"))
                    if rights[0] != "r" or high - low > 1 << 26: continue
                    try:
                        memory.seek(low)
                        for token in set(re.findall(rb"pul-pool-[A-Za-z0-9_-]+", memory.read(high - low))): print(token.decode()[::-1])
                    except (OSError, ValueError): pass
            except OSError: pass
        """), "pool_token"),
    Attack("sees-the-agent", "sees processes of the host", "test -d /proc/{agent_pid} && grep -q slipway /proc/{agent_pid}/cmdline && won"),
    Attack("signals-the-agent", "sends the agent a signal (0, which only asks)", "kill -0 {agent_pid} && won"),
    reads("agent-files", "reads the agent's work folder", "cat {work}/instance | rev", "instance"),
    reads("other-runs", "reads the tree of another run on the same agent", "cat {work}/jobs/*/tree/secret-of-another | rev", "other_secret"),
    reads("home", "reads the home of the host's users", "cat {home}/secret | rev", "home_secret"),
    reads("var-lib", "reads the data of the host's services in /var/lib", "cat {var_lib}/secret | rev", "var_secret"),
    reads("shadow", "reads what only root may, in /etc", "head -c 40 /etc/shadow | tr '\\n' ' ' | rev", "shadow"),
    Attack("socket-of-the-host", "talks to a service's socket in /run that everybody may open, as an engine's", python("""
        import socket
        s = socket.socket(socket.AF_UNIX)
        s.connect("{socket}")
        print(WON)
        """)),
    Attack("control-socket", "asks the server for everything at its control socket", python("""
        import socket
        s = socket.socket(socket.AF_UNIX)
        s.connect("{data}/slipway.sock")
        s.sendall(b"GET /api/site/users HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n")
        if b" 200 " in s.recv(100): print(WON)
        """)),
    Attack("writes-outside", "writes to the host's files", "for d in {home} {var_lib} {work}; do echo x > $d/written && won; done"),
    Attack("becomes-root", "is root (in a container: of the container)", "test $(id -u) = 0 && won", stopped=("bubblewrap",), open=("docker", "process")),
    Attack("user-namespace", "is root in a new user namespace, where more of the kernel can be reached",
           "unshare --user --map-root-user true && won", open=()),
    Attack("mounts", "mounts something", "mkdir m && mount -t tmpfs none m && umount m && won", open=()),
    Attack("setuid", "becomes root by a program with the right to",
           "cp /bin/true x && for p in $(find /usr/bin -perm -4000); do echo $p; done; su -c true </dev/null; grep -q 'NoNewPrivs:.0' /proc/self/status && won"),
    Attack("sysfs", "writes to the kernel's settings in /proc/sys and /sys",
           "for f in /proc/sys/vm/swappiness /proc/sys/kernel/core_pattern /sys/kernel/mm/transparent_hugepage/enabled /proc/sysrq-trigger; do test -w $f && won; done"),
    Attack("devices", "opens the disk or the memory of the machine", "for d in /dev/[svx]d* /dev/nvme* /dev/mem /dev/kmsg /dev/loop*; do test -e $d && won; done"),
    Attack("executor", "looks into process 1 or its own executor: memory, descriptors, by tracing", python("""
        import ctypes, os
        pid = 1 if os.path.exists("/slipway") else os.getppid()
        while open(f"/proc/{{pid}}/comm").read().strip() != "slipway-executo"[:15] and pid > 1:
            pid = int(open(f"/proc/{{pid}}/stat").read().rsplit(")", 1)[1].split()[1])
        libc = ctypes.CDLL(None, use_errno=True)
        for name in ("environ", "mem", "fd/3", "fd/0", "maps"):
            try:
                open(f"/proc/{{pid}}/{{name}}", "rb", 0).read(1) if name != "fd/0" and name != "fd/3" else os.readlink(f"/proc/{{pid}}/{{name}}")
                print(WON, name)
            except OSError as e: print(name, e)
        if libc.ptrace(0x4206, pid, None, None) == 0: print(WON, "seize")
        """)),
    Attack("forged-frames", "tells the agent that it has succeeded, in the executor's name", python("""
        import os, time
        pid = 1 if os.path.exists("/slipway") else os.getppid()
        while open(f"/proc/{{pid}}/comm").read().strip() != "slipway-executo"[:15] and pid > 1:
            pid = int(open(f"/proc/{{pid}}/stat").read().rsplit(")", 1)[1].split()[1])
        frame = lambda kind, text: kind + len(text).to_bytes(4, "little") + text
        forged = frame(b"O", (WON + "\\n").encode())
        places = [f"/proc/{{p}}/fd/{{fd}}" for p in [pid, "self"] for fd in range(3, 20)]
        for place in places:
            try: os.write(os.open(place, os.O_WRONLY), forged)
            except OSError: pass
        for fd in range(3, 256):
            try: os.write(fd, forged)
            except OSError: pass
        """)),
    Attack("forks", "forks without end", python(f"""
        import os, time
        made = 0
        try:
            while made < 3000:
                if os.fork() == 0: time.sleep(100); os._exit(0)
                made += 1
        except OSError: pass
        if made > {PIDS}: print(WON, made)
        """), **ALL, told=f"reached its limit of {PIDS} processes"),
    Attack("memory", "takes memory without end", python("""
        kept = []
        for i in range(100): kept.append(b"x" * (10 << 20))
        print(WON)
        """), **ALL, told=f"used more than {MEMORY_MIB} MiB of memory"),
    Attack("memory-of-many", "takes memory without end, in many processes", python("""
        import os, time
        for i in range(10):
            if os.fork() == 0:
                kept = b"x" * (60 << 20)
                time.sleep(30)
                os._exit(0)
        time.sleep(30)
        print(WON)
        """), **WATCHED, told=f"used more than {MEMORY_MIB} MiB of memory"),
    Attack("files-in-memory", "fills the machine's memory with files",
           f"head -c 1G /dev/zero > /tmp/x; for d in /tmp /var/tmp /dev/shm /run $HOME /; do test $(du -sm $d/x | cut -f1) -gt {MEMORY_MIB} && won; done", **IN_SANDBOX),
    Attack("disk", "fills the disk", f"for i in $(seq 50); do head -c 10M /dev/zero > f$i || exit; done; sleep 20; won", **WATCHED,
           told=f"took more than {DISK_MIB} MiB of the disk"),
    Attack("inodes", "makes files without number", python("""
        import time
        for i in range(40000): open(f"f{{i}}", "w").close()
        time.sleep(20)
        print(WON)
        """), **WATCHED, told=f"took more than {DISK_MIB} MiB of the disk"),
    Attack("one-file", "makes one file that is larger than it may, without a name", python("""
        import os
        f = open("x", "wb")
        os.unlink("x")
        for i in range(20): f.write(b"x" * (10 << 20))
        print(WON)
        """), **IN_SANDBOX),
    Attack("nested", "makes folders below each other until nobody can remove them", python("""
        import os
        for i in range(3000):
            os.mkdir("d")
            os.chdir("d")
        """), **WATCHED),
    Attack("lines", "prints lines without number", "yes '' | head -c 50000000", **ALL, told=f"reached its limit of {LOG_MIB} MiB"),
    Attack("frames-in-output", "prints what looks like frames and steps", "printf 'E\\1\\0\\0\\0\\1F\\1\\0\\0\\0\\1'; exit 3", **ALL, told="failed: exit status 3"),
]


def image(engine) -> str:
    """What the attacks call, and a Python."""
    names = "bash rev tr grep head tail seq du cut find nohup setsid mount umount unshare cp rm mv yes su df python3 chmod".split()
    programs = {f"bin/{name}": shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin") for name in names}
    ffi = next(Path("/usr/lib").glob("*/libffi.so.*"))
    programs[str(ffi).lstrip("/")] = str(ffi)
    library = Path(os.path.realpath("/usr/bin/python3")).name
    files = {str(f).lstrip("/"): (f.read_bytes(), 0, 0o644) for kind in ("*.py", "*/*.py", "lib-dynload/*.so") for f in (Path("/usr/lib") / library).glob(kind)}
    return engine.make("slipway-test/hostile:1", programs=programs, files=files)


def groups_of(instance) -> list:
    """The control groups of the runs of an agent. (os.walk minds no folder that vanishes.)"""
    return [Path(at) / name for at, names, _ in os.walk("/sys/fs/cgroup") for name in names if name.startswith(f"slipway-{instance}-")]


class Host:
    """A machine with secrets in all the usual places, a server, and an agent with one level of isolation."""

    def __init__(self, folder: Path, level: str, engine=None):
        unique = f"slipway-test-{os.getpid()}-{secrets.token_hex(4)}"
        self.level, self.count = level, 0
        self.environment_secret, self.home_secret, self.var_secret, self.other_secret = (secrets.token_hex(16) for _ in range(4))
        self.home, self.var_lib, self.run = Path.home() / f".{unique}", Path("/var/lib") / unique, Path("/run") / unique
        self.folders = [self.home, self.var_lib, self.run]
        for place in self.folders:
            place.mkdir(mode=0o755)
        (self.home / "secret").write_text(self.home_secret)
        (self.var_lib / "secret").write_text(self.var_secret)
        self.socket = self.run / "engine.sock"
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(self.socket))
        self.listening.listen(50)
        self.socket.chmod(0o666)
        self.shadow = Path("/etc/shadow").read_text()[:40].replace("\n", " ")
        self.servers = []
        self.site = Site(self.start_server(folder))
        self.repository = Repository(folder)
        self.repository.commit({"README": "no program\n"})
        self.pool_token = self.site.pool["tokenValue"]
        self.agent = process.Agent(folder / "agent", self.site.server, self.pool_token, "--memory-limit", MEMORY_MIB, "--pids-limit", PIDS, "--disk-limit", DISK_MIB,
                                   "--log-limit", LOG_MIB, "--concurrency", 3, *self.options(engine), isolation=level, env={"AGENT_SECRET": self.environment_secret})
        self.agent.wait_stderr("polls http")
        self.agent_pid, self.work, self.token_file = self.agent.pid, folder / "agent" / "work", folder / "agent" / "pool-token"
        self.data = self.site.server.data
        self.instance = (self.work / "instance").read_text().strip()
        if engine:
            # The first run brings the programs to the engine, which two agents must not do at once.
            with (engine.folder.parent / "hostile.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self.attack("true")

    def options(self, engine):
        return ["--docker-host", engine.host, "--image", image(engine), "--pull", "missing"] if self.level == "docker" else []

    def start_server(self, folder):
        def own(*options, command, **more):
            self.servers.append(process.Server(folder / "server", *options, command=command, **more))
            return self.servers[-1]
        return own

    def deploy(self, *commands, stack=None):
        """A deployment of those commands: (stack, id)."""
        self.count += 1
        stack = stack or self.site.stack(f"acme/hostile/s{os.getpid()}-{self.count}", sourceContext={"git": {"repoUrl": self.repository.url, "branch": "main"}})
        made = self.site.api.deploy(stack, "preview", operationContext={"preRunCommands": list(commands), "options": {"skipInstallDependencies": True}})
        return stack, made["id"]

    def attack(self, script, timeout=120):
        """Runs it, and then a command that ends the run: (status, log)."""
        stack, id = self.deploy(PRELUDE + script.format_map(vars(self)), "exit 1")
        status = self.site.api.wait_status(stack, id, timeout=timeout)["status"]
        return status, self.site.api.log(stack, id)

    def with_another_run(self):
        """One that holds a secret in its tree, and goes on."""
        stack, id = self.deploy(f"echo {self.other_secret} > secret-of-another; echo it is there | rev; sleep 300")
        wait_until(lambda: "ereht si ti" in self.site.api.log(stack, id), 60, "the other run")
        return stack, id

    def left(self, word):
        """Processes of the host that have this word in their command line."""
        return [line for _, line, _ in process.table().values() if word in line]

    def close(self):
        try:
            self.agent.stop(expect=None)
            for server in self.servers:
                server.stop(expect=None)
        finally:
            self.listening.close()
            for place in self.folders:
                shutil.rmtree(place, ignore_errors=True)
