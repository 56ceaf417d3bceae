"""An HTTP proxy between runners and a server that writes down which lines of logs the server has acknowledged; and that can
lie to both, so that the test which reads its book can be tested."""
import json
import re
import socket

from helpers.network import Proxy

LOG = re.compile(r"^POST /api/runner/([0-9a-f-]+)/(log|steps|heartbeat) ")


class Recorder(Proxy):
    def __init__(self, port: int, lie=None):
        self.lie, self.lines = lie, {}  # (deployment, step) -> {offset: text}
        self.told = 0  # how many lies were told
        super().__init__(port)

    def carry(self, near):
        try:
            with near, socket.create_connection(("127.0.0.1", self.port)) as far:
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                asked, told = near.makefile("rb"), far.makefile("rb")
                while True:
                    head, body = message(asked)
                    if head is None:
                        return
                    answer = self._lie(head, body)
                    if not answer:
                        far.sendall(self._changed(head, body))
                        status, text = message(told)
                        if status is None:
                            return
                        self._record(head, body, status)
                        answer = status.encode("latin-1") + text
                    near.sendall(answer)
        except OSError:
            pass

    def _record(self, head, body, status):
        found = LOG.match(head)
        if not found or found.group(2) != "log" or " 200 " not in status.split("\r\n")[0]:
            return
        said = json.loads(body)
        with self.lock:
            book = self.lines.setdefault((found.group(1), said["step"]), {})
            for number, line in enumerate(said["lines"], said["offset"]):
                book.setdefault(number, line["l"])

    # ---- lies --------------------------------------------------------------------------------------------------------
    def _changed(self, head, body) -> bytes:
        """`forget`: of some appends the server gets less than was said."""
        found = LOG.match(head)
        if self.lie == "forget" and found and found.group(2) == "log":
            said = json.loads(body)
            if len(said["lines"]) > 1 and any("line-7\n" == line["l"] for line in said["lines"]):
                said["lines"] = [line for line in said["lines"] if line["l"] != "line-7\n"] + [{**said["lines"][-1], "l": "forged\n"}]
                body = json.dumps(said).encode()
                head = re.sub(r"(?i)content-length: *\d+", f"Content-Length: {len(body)}", head)
                self.told += 1
        return head.encode("latin-1") + body

    def _lie(self, head, body):
        """`twice`: the runner is told that its steps are known, and nobody knows of them."""
        found = LOG.match(head)
        if self.lie != "twice" or not found:
            return None
        self.told += 1
        if found.group(2) == "log":
            said = json.loads(body)
            text = json.dumps({"next": said["offset"] + len(said["lines"])}).encode()
            return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(text) + text
        return None if found.group(2) == "heartbeat" else b"HTTP/1.1 204 No Content\r\n\r\n"


def message(stream):
    """Head and body of a request or an answer; (None, None): the other side is gone."""
    lines = []
    while True:
        line = stream.readline()
        if not line:
            return None, None
        lines.append(line.decode("latin-1"))
        if line == b"\r\n":
            break
    head = "".join(lines)
    found = re.search(r"(?im)^content-length: *(\d+)", head)
    body = stream.read(int(found.group(1))) if found else b""
    if found and len(body) < int(found.group(1)):
        return None, None
    return head, body
