"""The parts of the Hugging Face Hub's HTTP API that a model's way there and back needs."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit


class Hub(http.server.ThreadingHTTPServer):
    """Repositories in memory: name -> path -> bytes, one commit each."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories = {}
        self.asked = []  # (method, path, token)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers what huggingface_hub asks."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self._path()
        if path.startswith("/api/models/"):
            org, name, what, _, *_ = [*path[12:].split("/"), "", "", ""]
            files = self.server.repositories.get(f"{org}/{name}")
            if files is None:
                return self._json({"error": "Repository not found"}, 404, "RepoNotFound")
            if what == "tree":
                return self._json([_entry(path, content) for path, content in files.items()])
            siblings = [{"rfilename": path} for path in files]
            return self._json({"id": f"{org}/{name}", "sha": _sha(files), "siblings": siblings})
        repository, resolve, rest = path[1:].partition("/resolve/")
        if not resolve:
            return self._json({}, 404)
        files = self.server.repositories[repository]
        content = files[rest.partition("/")[2]]
        return self._send(content, {"X-Repo-Commit": _sha(files), "ETag": f'"{_sha1(content)}"'})

    do_HEAD = do_GET  # noqa: N815  # http.server's spelling

    def do_POST(self):
        path = self._path()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.server.repositories.setdefault(name, {})
            return self._json({"url": f"{self.server.url}/{name}"})
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        repository = "/".join(path[12:].split("/")[:2])
        files = self.server.repositories[repository]
        if "/preupload/" in path:
            rows = [row | {"uploadMode": "regular"} for row in json.loads(body)["files"]]
            return self._json({"files": [row | {"shouldIgnore": False} for row in rows]})
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                value = entry["value"]
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "deletedFile":
                del files[entry["value"]["path"]]
        commit = f"{self.server.url}/{repository}/commit/{_sha(files)}"
        return self._json({"commitUrl": commit, "commitOid": _sha(files)})

    def _path(self):
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append((self.command, path, self.headers.get("Authorization")))
        return path

    def _json(self, content, status=200, error=""):
        headers = {"Content-Type": "application/json"}
        self._send(json.dumps(content).encode(), headers | {"X-Error-Code": error}, status)

    def _send(self, body, headers, status=200):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_args):
        pass


@contextmanager
def serving():
    """A Hub with nothing on it."""
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _sha1(content):
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def _sha(files):
    return _sha1(b"".join(path.encode() + content for path, content in sorted(files.items())))


def _entry(path, content):
    return {"type": "file", "path": path, "size": len(content), "oid": _sha1(content)}
