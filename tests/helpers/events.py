"""A client of server-sent events, as a browser reads them."""
import http.client
import json


class Events:
    """One request. Iterating gives (event, id, data) until the server ends the stream; comments are counted."""

    def __init__(self, api, path, last_id=None, headers=None, timeout=60):
        self.connection = http.client.HTTPConnection(api.url.split("//")[1], timeout=timeout)
        head = {"Accept": "text/event-stream", **({"Authorization": f"token {api.token}"} if api.token else {}), **(headers or {})}
        if last_id is not None:
            head["Last-Event-ID"] = last_id
        self.connection.request("GET", path, headers=head)
        self.answer = self.connection.getresponse()
        self.last_id, self.comments, self.retry = last_id, 0, None

    def __iter__(self):
        return self

    def __next__(self):
        """Raises StopIteration at the end, http.client.IncompleteRead if the stream was cut off."""
        event, data, id = "message", [], None
        while True:
            line = self.answer.readline()
            if not line:
                self.close()
                if not self.answer.isclosed() and self.answer.chunk_left is not None:
                    raise http.client.IncompleteRead(b"")
                raise StopIteration
            line = line.decode().rstrip("\n")
            if not line:
                if data:
                    if id is not None:
                        self.last_id = id
                    return event, id, json.loads("\n".join(data))
                event, id = "message", None
                continue
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "":
                self.comments += 1
            elif name == "event":
                event = value
            elif name == "data":
                data.append(value)
            elif name == "id":
                id = value
            elif name == "retry":
                self.retry = int(value)

    def until(self, wanted):
        """Events up to one of that name, that one included."""
        seen = []
        for event in self:
            seen.append(event)
            if event[0] == wanted:
                return seen
        raise AssertionError(f"the stream ended without {wanted}: {seen}")

    def lines(self, count):
        """The next so many lines."""
        seen = []
        while len(seen) < count:
            event, _, data = next(self)
            if event == "lines":
                seen += [line["line"] for line in data["lines"]]
        return seen

    def close(self):
        self.connection.close()
