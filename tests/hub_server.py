"""A hub on this machine: a real HTTP server that speaks as much of the Hugging Face hub's API as its client needs.

It serves folders as repositories, cuts transfers, sends wrong bytes, and counts what it was asked for.
"""

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class LocalHub(ThreadingHTTPServer):
    """repositories: the folder of each, by "models/OWNER/NAME" or "datasets/OWNER/NAME"; all at one commit of "main".

    cut_after: so many bytes of a file's body are sent, then the connection ends, `cuts` times a file; spoilt: files
    whose first byte is changed on the way; says_why: a 404 tells what is not there, as that of a mirror may not do;
    sent: bytes of bodies by file; asked: requests by what they are for.
    """

    def __init__(self, repositories: dict[str, Path]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories = repositories
        self.commit = COMMIT
        self.cut_after: int | None = None
        self.cuts = 0
        self.says_why = True
        self.spoilt: set[str] = set()
        self.sent: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.cut: Counter[str] = Counter()

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is to be."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serving(hub: LocalHub) -> Iterator[LocalHub]:
    """Serve until the end of the block."""
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: LocalHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path)
        content = self.rfile.read(int(self.headers["Content-Length"])).decode()
        found = re.fullmatch(r"/api/((?:models|datasets)/[^/]+/[^/]+)/paths-info/(.+)", path)
        if not found or not self._knows(found[1], found[2]):
            return
        self.server.asked["paths-info"] += 1
        folder = self.server.repositories[found[1]]
        paths = parse_qs(content)["paths"]
        self._json([_info(folder, name) for name in paths if (folder / name).is_file()])

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        if path == "/":
            self._json({}, body=body)
            return
        info = re.fullmatch(r"/api/((?:models|datasets)/[^/]+/[^/]+)/revision/(.+)", path)
        if info:
            if self._knows(info[1], info[2]):
                self.server.asked["info"] += 1
                self._json({"id": info[1].partition("/")[2], "sha": self.server.commit, "siblings": []})
            return
        file = re.fullmatch(r"/((?:datasets/)?[^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if not file:
            self._missing("EntryNotFound")
            return
        repository = file[1] if file[1].startswith("datasets/") else f"models/{file[1]}"
        if not self._knows(repository, file[2]):
            return
        place = self.server.repositories[repository] / file[3]
        if not place.is_file():
            self._missing("EntryNotFound")
            return
        self._file(file[3], place.read_bytes(), body=body)

    def _file(self, name: str, content: bytes, *, body: bool) -> None:
        first = int((re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) or [0, 0])[1])
        digest = hashlib.sha256(content).hexdigest()
        if name in self.server.spoilt:
            content = bytes([content[0] ^ 1]) + content[1:]
        part = content[first:]
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(part)))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", f'"{digest}"')
        self.send_header("X-Repo-Commit", self.server.commit)
        self.end_headers()
        if not body:
            return
        hub = self.server
        hub.asked[f"{name} from {first}"] += 1
        if hub.cut_after is not None and hub.cut[name] < hub.cuts:
            hub.cut[name] += 1
            part = part[: hub.cut_after]
            self.close_connection = True
        self.wfile.write(part)
        hub.sent[name] += len(part)

    def _knows(self, repository: str, revision: str) -> bool:
        if repository not in self.server.repositories:
            self._missing("RepoNotFound")
            return False
        if revision not in ("main", self.server.commit):
            self._missing("RevisionNotFound")
            return False
        return True

    def _missing(self, code: str) -> None:
        self.send_response(404)
        if self.server.says_why:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _json(self, content: object, *, body: bool = True) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)


def _info(folder: Path, name: str) -> dict[str, object]:
    """What the hub says of a large file (LFS)."""
    content = (folder / name).read_bytes()
    lfs = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return {"type": "file", "path": name, "size": len(content), "oid": "0" * 40, "lfs": lfs}
