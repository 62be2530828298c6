"""A real HTTP server on loopback with the routes of the Hugging Face Hub that bnnzoo needs.

Repositories are in memory: a commit is a dictionary of files. All files are committed inline, as
the Hub does with small text files.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_secret"


@dataclass
class Repository:
    """A repository: its commits by id, and the newest one of each branch."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Adds a commit and returns its id."""
        state = {**self.commits.get(self.branches.get(branch, ""), {}), **files}
        content = repr((len(self.commits), sorted(state.items()))).encode()
        oid = hashlib.sha1(content).hexdigest()
        self.commits[oid] = state
        self.branches[branch] = oid
        return oid

    def find(self, revision: str) -> str | None:
        """Returns the id of a branch or commit."""
        oid = self.branches.get(revision, revision)
        return oid if oid in self.commits else None


class HubServer(ThreadingHTTPServer):
    """Serves repositories by `owner/name`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path.partition("?")[0])
        if file is None:
            return self.answer(404, {"error": "Not Found"}, {"X-Error-Code": "RepoNotFound"})
        name, revision, path = file.groups()
        repository = self.server.repositories.get(name)
        if repository is None or (repository.private and not self.has_token()):
            return self.answer(401, {"error": "no"}, {"X-Error-Code": "RepoNotFound"})
        oid = repository.find(revision)
        if oid is None:
            return self.answer(404, {"error": "no"}, {"X-Error-Code": "RevisionNotFound"})
        data = repository.commits[oid].get(path)
        if data is None:
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": oid}
            return self.answer(404, {"error": "no"}, headers)
        etag = hashlib.sha256(data).hexdigest()
        self.answer(200, data, {"ETag": f'"{etag}"', "X-Repo-Commit": oid})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append(f"POST {self.path}")
        if self.path == "/api/validate-yaml":
            return self.answer(200, {"warnings": [], "errors": []})
        if not self.has_token():
            return self.answer(401, {"error": "Invalid username or password."})
        if self.path == "/api/repos/create":
            wanted = json.loads(body)
            name = "/".join(filter(None, [wanted.get("organization"), wanted["name"]]))
            if name in self.server.repositories:
                return self.answer(409, {"error": "exists", "url": f"{self.server.url}/{name}"})
            private = wanted.get("private") or wanted.get("visibility") == "private"
            self.server.repositories[name] = Repository(private=bool(private))
            return self.answer(200, {"url": f"{self.server.url}/{name}"})
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/([^/?]+)", self.path)
        if found is None or found[1] not in self.server.repositories:
            return self.answer(404, {"error": "Not Found"})
        repository = self.server.repositories[found[1]]
        if found[2] == "preupload":
            files = json.loads(body)["files"]
            modes = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files
            ]
            return self.answer(200, {"files": modes})
        lines = [json.loads(line) for line in body.splitlines()]
        files = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"])
            for line in lines
            if line["key"] == "file"
        }
        oid = repository.commit(files, found[3])
        url = f"{self.server.url}/{found[1]}/commit/{oid}"
        self.answer(200, {"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})

    def has_token(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
