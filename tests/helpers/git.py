"""Repositories to deploy from, and real git servers on the loopback: http with basic auth, ssh with keys."""
import base64
import getpass
import http.server
import os
import shutil
import subprocess
import threading
from pathlib import Path

from . import where
from .waiting import wait_until


def free_port() -> int:
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Repository:
    """A bare repository with a work tree beside it. `bare` is what is cloned."""

    def __init__(self, folder: Path, name="program"):
        self.bare = folder / f"{name}.git"
        self.tree = folder / f"{name}-tree"
        self.environment = where.clean_environment(folder, GIT_AUTHOR_NAME="Test", GIT_AUTHOR_EMAIL="test@example.com",
                                                   GIT_COMMITTER_NAME="Test", GIT_COMMITTER_EMAIL="test@example.com")
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--bare", "--initial-branch=main", self.bare, cwd=folder)
        self.git("init", "--quiet", "--initial-branch=main", self.tree, cwd=folder)
        self.git("remote", "add", "origin", self.bare)

    def git(self, *arguments, cwd=None) -> str:
        run = subprocess.run(["git", *map(str, arguments)], cwd=cwd or self.tree, env=self.environment, stdin=subprocess.DEVNULL,
                             capture_output=True, text=True)
        assert run.returncode == 0, f"git {arguments}: {run.stderr}"
        return run.stdout.strip()

    def commit(self, files: dict, message="change", branch="main") -> str:
        """Writes files, commits them on a branch, pushes; returns the commit."""
        if self.git("branch", "--show-current") != branch:
            self.git("checkout", "--quiet", "-B", branch)
        for name, text in files.items():
            file = self.tree / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        self.git("push", "--quiet", "--force", "origin", branch)
        return self.git("rev-parse", "HEAD")

    @property
    def url(self) -> str:
        return self.bare.as_uri()


class HttpGit:
    """`git http-backend` behind a small server that asks for a user and a password."""

    def __init__(self, root: Path, user="robot", password="s3cret-of-http"):
        self.root, self.user, self.password = root, user, password
        self.requests = []
        self.accepts = lambda header: header == self.basic
        backend = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip() + "/git-http-backend"
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def serve(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                if self.headers.get("Transfer-Encoding") == "chunked":
                    body = b""
                    while size := int(self.rfile.readline().split(b";")[0], 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                outer.requests.append((self.path, self.headers.get("Authorization")))
                if not outer.accepts(self.headers.get("Authorization")):
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="git"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                path, _, query = self.path.partition("?")
                env = {"PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(outer.root), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path,
                       "QUERY_STRING": query, "REQUEST_METHOD": self.command, "CONTENT_LENGTH": str(len(body)),
                       "CONTENT_TYPE": self.headers.get("Content-Type", ""), "REMOTE_USER": outer.user, "REMOTE_ADDR": "127.0.0.1",
                       "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                       "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                       "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
                out = subprocess.run([backend], input=body, env=env, capture_output=True).stdout
                head, _, payload = out.partition(b"\r\n\r\n")
                headers = [line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line]
                status = next((int(v.split()[0]) for k, v in headers if k == "Status"), 200)
                self.send_response(status)
                for key, value in headers:
                    if key not in ("Status", "Content-Length"):
                        self.send_header(key, value)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            do_GET = do_POST = serve

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def basic(self):
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def url(self, repository: Repository) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{repository.bare.relative_to(self.root)}"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class SshGit:
    """A real sshd on the loopback that lets one key in, for git only."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        for name in ("host", "client", "stranger"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name], check=True)
        authorized = folder / "authorized_keys"
        authorized.write_text((folder / "client.pub").read_text())
        authorized.chmod(0o600)
        folder.chmod(0o700)
        wrapper = folder / "git-only"
        # Written for an account whose login shell is anything: only git's own commands run.
        wrapper.write_text('#!/bin/sh\nexport GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0="*"\n'
                           'case "$SSH_ORIGINAL_COMMAND" in git-upload-pack\\ *) exec sh -c "$SSH_ORIGINAL_COMMAND";; esac\nexit 1\n')
        wrapper.chmod(0o755)
        config = folder / "sshd_config"
        config.write_text(f"""Port {self.port}
ListenAddress 127.0.0.1
HostKey {folder / 'host'}
PidFile {folder / 'pid'}
AuthorizedKeysFile {authorized}
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
ForceCommand {wrapper}
""")
        sshd = shutil.which("sshd") or "/usr/sbin/sshd"
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self.log = (folder / "sshd.log").open("ab")
        self.process = subprocess.Popen([sshd, "-D", "-e", "-f", str(config)], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_until(self._answers, 10, "sshd")

    def _answers(self):
        import socket
        assert self.process.poll() is None, (self.folder / "sshd.log").read_text()
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as s:
                return s.recv(4) == b"SSH-"
        except OSError:
            return False

    @property
    def key(self) -> str:
        return (self.folder / "client").read_text()

    @property
    def wrong_key(self) -> str:
        return (self.folder / "stranger").read_text()

    def url(self, repository: Repository) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{repository.bare}"

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.log.close()
