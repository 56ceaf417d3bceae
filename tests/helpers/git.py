"""Repositories to deploy from, and real git servers on the loopback: http with basic auth, ssh with keys."""
import base64
import getpass
import hashlib
import http.server
import json
import os
import shutil
import ssl
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

    def submodule(self, path, url, commit, name=None, more=""):
        """A submodule, also one that git would not let one add: an entry of the tree, and what .gitmodules says of it."""
        modules = self.tree / ".gitmodules"
        text = modules.read_text() if modules.exists() else ""
        modules.write_text(text + f'[submodule "{name or path}"]\n\tpath = {path}\n\turl = {url}\n{more}')
        if not (self.tree / path).exists() and ".." not in path:
            (self.tree / path).mkdir(parents=True)
        self.git("add", "--all")
        if ".." not in path:
            self.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
        self.git("commit", "--quiet", "-m", "submodule")
        self.git("push", "--quiet", "--force", "origin", "HEAD:main")

    def import_(self, stream: bytes):
        """`git fast-import` into the bare repository: for what would take many commands."""
        subprocess.run(["git", "-c", "core.compression=0", "fast-import", "--quiet", "--force"], cwd=self.bare, env=self.environment, input=stream, check=True)

    def history(self, count: int) -> list:
        """Commits on main, each with a README of its own: their hashes, oldest first."""
        stream = ""
        for n in range(count):
            text = f"number {n}\n"
            stream += (f"commit refs/heads/main\ncommitter Test <test@example.com> {1700000000 + n} +0000\ndata 2\nn\n"
                       f"M 644 inline README\ndata {len(text)}\n{text}\n")
        self.import_(stream.encode())
        return self.git("rev-list", "--reverse", "main", cwd=self.bare).split()

    @property
    def url(self) -> str:
        return self.bare.as_uri()


class Authority:
    """A certificate authority of the test's own, and a certificate of it for the loopback. `file` is what a user trusts."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.file, self.certificate = folder / "ca.pem", folder / "server.pem"

        def openssl(*arguments):
            subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, cwd=folder)

        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", 30, "-subj", "/CN=Test authority",
                "-keyout", "ca.key", "-out", self.file)
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=127.0.0.1", "-keyout", "server.key",
                "-out", "server.csr")
        (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        openssl("x509", "-req", "-in", "server.csr", "-CA", self.file, "-CAkey", "ca.key", "-days", 30, "-extfile", "names", "-out", self.certificate)
        self.key = folder / "server.key"


class HttpGit:
    """`git http-backend` behind a small server that asks for a user and a password. With an Authority it speaks https.

    accepts      says whether an Authorization header is good
    before       is called with the path of each request that was let in; what it returns, if anything, is the answer:
                 (status, headers, body)
    protocol     the newest version of git's protocol that it knows; 0 hands out no commits by their hash
    lfs          the objects of its Git LFS, by their SHA-256
    requests     (path, Authorization) of each request; sent: the bytes of all answers
    """

    def __init__(self, root: Path, user="robot", password="s3cret-of-http", authority=None, host="127.0.0.1"):
        self.root, self.user, self.password, self.host = root, user, password, host
        self.requests, self.sent, self.protocol, self.lfs = [], 0, 2, {}
        self.accepts = lambda header: header == self.basic
        self.before = lambda path: None
        self.scheme = "https" if authority else "http"
        backend = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip() + "/git-http-backend"
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, status, headers, body=b""):
                self.send_response(status)
                for key, value in headers:
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                outer.sent += len(body)

            def body(self):
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def serve(self):
                body = self.body()
                outer.requests.append((self.path, self.headers.get("Authorization")))
                if not outer.accepts(self.headers.get("Authorization")):
                    return self.answer(401, [("WWW-Authenticate", 'Basic realm="git"')])
                given = outer.before(self.path)
                if given:
                    return self.answer(*given)
                path, _, query = self.path.partition("?")
                if path.endswith("/objects/batch"):
                    return self.answer(200, [("Content-Type", "application/vnd.git-lfs+json")], outer.lfs_batch(json.loads(body)))
                if path.startswith("/lfs-objects/"):
                    return self.answer(200, [], outer.lfs[path.rsplit("/", 1)[1]])
                env = {"PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(outer.root), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path,
                       "QUERY_STRING": query, "REQUEST_METHOD": self.command, "CONTENT_LENGTH": str(len(body)),
                       "CONTENT_TYPE": self.headers.get("Content-Type", ""), "REMOTE_USER": outer.user, "REMOTE_ADDR": "127.0.0.1",
                       "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                       "GIT_PROTOCOL": self.headers.get("Git-Protocol", "") if outer.protocol == 2 else "",
                       "GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
                       "GIT_CONFIG_KEY_1": "uploadpack.allowFilter", "GIT_CONFIG_VALUE_1": "true"}
                with subprocess.Popen([backend], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env) as run:
                    threading.Thread(target=self.feed, args=(run.stdin, body), daemon=True).start()
                    self.pass_on(run.stdout)

            @staticmethod
            def feed(pipe, body):
                try:
                    pipe.write(body)
                    pipe.close()
                except OSError:
                    pass

            def pass_on(self, out):
                headers = []
                while line := out.readline().strip():
                    headers.append(line.decode().split(": ", 1))
                self.send_response(next((int(v.split()[0]) for k, v in headers if k == "Status"), 200))
                for key, value in headers:
                    if key not in ("Status", "Content-Length"):
                        self.send_header(key, value)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                while piece := out.read1(1 << 18):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    outer.sent += len(piece)
                self.wfile.write(b"0\r\n\r\n")

            do_GET = do_POST = do_PUT = serve

        class Quiet(http.server.ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                pass  # a client that was killed

        self.server = Quiet(("127.0.0.1", 0), Handler)
        if authority:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(authority.certificate, authority.key)
            # The handshake is made by the connection's own thread, at its first byte.
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def lfs_batch(self, asked) -> bytes:
        """The answer of Git LFS's batch API."""
        objects = []
        for one in asked["objects"]:
            there = one["oid"] in self.lfs
            objects.append({**one, **({"actions": {"download": {"href": f"{self.origin}/lfs-objects/{one['oid']}"}}} if there else
                                      {"error": {"code": 404, "message": "Object does not exist"}})})
        return json.dumps({"transfer": "basic", "objects": objects}).encode()

    def lfs_pointer(self, data: bytes) -> str:
        """Keeps it; what a repository has in its place."""
        oid = hashlib.sha256(data).hexdigest()
        self.lfs[oid] = data
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n"

    @property
    def basic(self):
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    @property
    def auth(self):
        """For the settings."""
        return {"basicAuth": {"userName": self.user, "password": {"secret": self.password}}}

    @property
    def origin(self):
        return f"{self.scheme}://{self.host}:{self.server.server_port}"

    def url(self, repository: Repository) -> str:
        return f"{self.origin}/{repository.bare.relative_to(self.root)}"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class SshGit:
    """A real sshd on the loopback that lets one key in, for git only."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.passphrase = "open ~ 's3same'"
        for name in ("host", "client", "stranger", "locked"):
            phrase = self.passphrase if name == "locked" else ""
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", phrase, "-C", name, "-f", folder / name], check=True)
        authorized = folder / "authorized_keys"
        authorized.write_text((folder / "client.pub").read_text() + (folder / "locked.pub").read_text())
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
LogLevel VERBOSE
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

    @property
    def locked_key(self) -> str:
        """Good, and needs `passphrase`."""
        return (self.folder / "locked").read_text()

    def url(self, repository: Repository, host="127.0.0.1") -> str:
        return f"ssh://{getpass.getuser()}@{host}:{self.port}{repository.bare}"

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.log.close()
