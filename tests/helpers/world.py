"""A small internet of the test's own, made of network namespaces: nothing in it reaches the machine's network.

The thread that makes a World is in its namespaces (network, and mounts for /etc/resolv.conf) until close(); whatever it
starts meanwhile is there, too. Behind a pair of interfaces is a second network, "outside", with servers that say who they are:

    203.0.113.1:80                      the internet (TEST-NET-3)
    169.254.169.254:80, fd00:ec2::254   the metadata server of a cloud; on port 53 the resolver, as some have it
    203.0.113.7                         this machine
"""
import ctypes
import os
import socket
import subprocess
import threading
from pathlib import Path

CLONE_NEWNET, CLONE_NEWNS, CLONE_FS = 0x40000000, 0x00020000, 0x00000200
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
libc = ctypes.CDLL(None, use_errno=True)

MACHINE, INTERNET, METADATA, METADATA6 = "203.0.113.7", "203.0.113.1", "169.254.169.254", "fd00:ec2::254"

OUTSIDE = """
import socket, sys, threading
def serve(address, port):
    s = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
    while True:
        c, _ = s.accept()
        try:
            c.settimeout(5)
            c.recv(4096)
            c.sendall(f"HTTP/1.0 200 OK\\r\\n\\r\\nthis is {address}\\n".encode())
        except OSError:
            pass
        c.close()
sys.stdin.readline()
for address, port in (("203.0.113.1", 80), ("169.254.169.254", 80), ("fd00:ec2::254", 80)):
    threading.Thread(target=serve, args=(address, port), daemon=True).start()
dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
dns.bind(("169.254.169.254", 53))
print("ready", flush=True)
names = {b"internet.example": "203.0.113.1", b"inner.example": "10.77.0.1", b"machine.example": "203.0.113.7", b"meta.example": "169.254.169.254",
         b"loop.example": "127.0.0.1"}
while True:
    q, who = dns.recvfrom(2048)
    labels, at = [], 12
    while q[at]:
        labels.append(q[at + 1:at + 1 + q[at]])
        at += 1 + q[at]
    question, kind = q[12:at + 5], q[at + 1:at + 3]
    address = names.get(b".".join(labels).lower())
    found = address and kind == b"\\0\\1"
    head = q[:2] + (b"\\x81\\x80" if address else b"\\x81\\x83") + b"\\0\\1" + (b"\\0\\1" if found else b"\\0\\0") + b"\\0\\0\\0\\0"
    answer = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\1\\0\\4" + socket.inet_aton(address) if found else b""
    dns.sendto(head + question + answer, who)
"""


def ip(*words, netns=None):
    inside = ["nsenter", f"--net=/proc/{netns}/ns/net"] if netns else []
    run = subprocess.run([*inside, "ip", *words], capture_output=True, text=True)
    assert run.returncode == 0, f"ip {words}: {run.stderr}"


class World:
    def __init__(self, folder: Path):
        self.folder, self.cwd = folder, os.getcwd()
        self.before = [os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("net", "mnt")]
        assert libc.unshare(CLONE_NEWNET | CLONE_NEWNS) == 0, os.strerror(ctypes.get_errno())
        self.outside = subprocess.Popen(["unshare", "--net", "python3", "-c", OUTSIDE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.servers = []
        try:
            self._wire()
        except BaseException:
            self.close()
            raise

    def _wire(self):
        resolver = self.folder / "resolv.conf"
        resolver.write_text(f"nameserver {METADATA}\n")
        assert libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0
        assert libc.mount(str(resolver).encode(), b"/etc/resolv.conf", None, MS_BIND, None) == 0
        own = os.readlink("/proc/thread-self/ns/net")
        far = str(self.outside.pid)
        while os.readlink(f"/proc/{far}/ns/net") == own:
            pass  # unshare(1) has not done it yet
        ip("link", "set", "lo", "up")
        ip("link", "add", "near", "type", "veth", "peer", "name", "far")
        ip("link", "set", "far", "netns", far)
        ip("addr", "add", MACHINE + "/24", "dev", "near")
        ip("link", "set", "near", "up")
        ip("link", "set", "lo", "up", netns=far)
        ip("addr", "add", INTERNET + "/24", "dev", "far", netns=far)
        ip("addr", "add", METADATA + "/32", "dev", "far", netns=far)
        ip("addr", "add", METADATA6 + "/64", "dev", "far", "nodad", netns=far)
        ip("addr", "add", "fd00:ec2::7/64", "dev", "near", "nodad")
        ip("link", "set", "far", "up", netns=far)
        ip("route", "add", "default", "via", INTERNET)
        ip("route", "add", METADATA, "dev", "near")
        self.outside.stdin.write("\n")
        self.outside.stdin.flush()
        assert self.outside.stdout.readline() == "ready\n"

    def serve(self, address, port=0) -> int:
        """A server of the machine itself; returns its port."""
        s = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.servers.append(s)

        def loop():
            while True:
                try:
                    c, _ = s.accept()
                except OSError:
                    return
                with c:
                    c.settimeout(5)
                    try:
                        c.recv(4096)
                        c.sendall(f"HTTP/1.0 200 OK\r\n\r\nthis is {address}\n".encode())
                    except OSError:
                        pass
        threading.Thread(target=loop, daemon=True).start()
        return s.getsockname()[1]

    def hide(self, program):
        """It is not installed, for whoever is in this world."""
        assert libc.mount(b"/dev/null", program.encode(), None, MS_BIND, None) == 0

    def close(self):
        for s in self.servers:
            s.shutdown(socket.SHUT_RDWR)
            s.close()
        self.outside.kill()
        self.outside.wait()
        self.outside.stdin.close()
        self.outside.stdout.close()
        assert libc.unshare(CLONE_FS) == 0  # of the threads that were started meanwhile
        for fd in self.before:
            assert libc.setns(fd, 0) == 0, os.strerror(ctypes.get_errno())
            os.close(fd)
        os.chdir(self.cwd)  # entering a namespace of mounts leads to its root


def reach(address, port) -> str:
    """A shell command that prints "ADDRESS:PORT yes" or "ADDRESS:PORT no"."""
    return f"""timeout 4 bash -c 'exec 9<>/dev/tcp/{address}/{port} && printf "GET / HTTP/1.0\\r\\n\\r\\n" >&9 && grep -q "this is" <&9' 2>/dev/null && echo {address}:{port} yes || echo {address}:{port} no"""



def through_proxy(target, port=3128) -> str:
    """A shell command that asks a proxy for a way to TARGET, and prints "TARGET yes", or "TARGET" with what it said."""
    return f"""exec 9<>/dev/tcp/127.0.0.1/{port}; printf "CONNECT {target} HTTP/1.1\\r\\n\\r\\n" >&9; read -r -t 9 -u 9 x; case "$x" in *200*) read -r -u 9; printf "GET / HTTP/1.0\\r\\n\\r\\n" >&9; timeout 4 grep -q "this is" <&9 && echo {target} yes || echo {target} silent;; *) echo "{target} $x";; esac"""
