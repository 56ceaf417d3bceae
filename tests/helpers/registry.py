"""A registry of images on the loopback: one image, perhaps behind a user and a password. Engines trust 127.0.0.0/8 without TLS."""
import base64
import gzip
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Registry:
    """The image team/app:1 of the given root file system (a tar archive)."""

    def __init__(self, root: bytes, user=None, password=None):
        layer = gzip.compress(root, 1)
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Env": ["FROM_REGISTRY=yes"]},
                             "rootfs": {"type": "layers", "diff_ids": [digest(root)]}}).encode()
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        manifest = json.dumps({"schemaVersion": 2, "mediaType": kind,
                               "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config), "digest": digest(config)},
                               "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": len(layer),
                                           "digest": digest(layer)}]}).encode()
        self.digest = digest(manifest)
        self.asked = []
        wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode() if user else None
        blobs = {digest(config): config, digest(layer): layer}
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, status, body=b"", **headers):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def do_GET(self):
                registry.asked.append(self.path)
                if wanted and self.headers.get("Authorization") != wanted:
                    self.answer(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}', WWW_Authenticate='Basic realm="team"',
                                Content_Type="application/json")
                elif self.path == "/v2/":
                    self.answer(200, b"{}", Docker_Distribution_Api_Version="registry/2.0")
                elif self.path in ("/v2/team/app/manifests/1", f"/v2/team/app/manifests/{registry.digest}"):
                    self.answer(200, manifest, Content_Type=kind, Docker_Content_Digest=registry.digest)
                elif self.path.startswith("/v2/team/app/blobs/") and self.path.rsplit("/", 1)[1] in blobs:
                    self.answer(200, blobs[self.path.rsplit("/", 1)[1]], Content_Type="application/octet-stream")
                else:
                    self.answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}', Content_Type="application/json")

            do_HEAD = do_GET

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.name = f"127.0.0.1:{self.server.server_address[1]}/team/app"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
