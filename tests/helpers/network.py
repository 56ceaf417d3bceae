"""TCP proxies on the loopback, between a runner and its server: what all have, and a wire that can be cut."""
import select
import socket
import threading


class Proxy:
    """Takes connections for the server at `port`; carry(near) has a thread for each."""

    def __init__(self, port: int):
        self.port, self.lock, self.open = port, threading.Lock(), True
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while self.open:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.carry, args=(near,), daemon=True).start()

    def close(self):
        self.open = False
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()


class Wire(Proxy):
    """Passes everything on to `port`, until it is cut: then it takes connections and bytes, and nothing comes out."""

    def __init__(self, port: int):
        self.cut, self.pairs = False, []
        super().__init__(port)

    def carry(self, near):
        far = None
        with self.lock:
            self.pairs.append(near)
        try:
            if not self.cut:
                far = socket.create_connection(("127.0.0.1", self.port))
            while True:
                ready, _, _ = select.select([s for s in (near, far) if s], [], [], 0.5)
                for one in ready:
                    data = one.recv(65536)
                    if not data:
                        return
                    if self.cut or not far or (one is near and not self.passes(data)):
                        continue
                    (far if one is near else near).sendall(data)
        except (OSError, ValueError):
            pass
        finally:
            for s in (near, far):
                if s:
                    s.close()
            with self.lock:
                if near in self.pairs:
                    self.pairs.remove(near)

    def passes(self, data: bytes) -> bool:
        """Whether what a client says gets through."""
        return True

    def swallow(self):
        """From now on nothing gets through, and nobody is told."""
        self.cut = True

    def heal(self):
        """Whoever asks anew gets through; the old connections are reset, as by a router that has forgotten them."""
        self.cut = False
        with self.lock:
            for s in self.pairs:
                try:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        super().close()
        self.heal()
