"""A stand-in for the Hub's API on loopback: repositories in memory, one commit after the other.

It answers the calls that `huggingface_hub` makes for `create_repo`, `create_commit` with regular
files, `repo_info` and `hf_hub_download`. The real Hub stores large files by LFS or Xet, which it
does not imitate.
"""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub:
    """What the stand-in holds: (kind, repository) -> name -> bytes; and for parts of addresses what
    is answered in place of that: part -> status and content."""

    def __init__(self):
        self.repositories = {}
        self.refuse = None
        self.replies = {}

    @property
    def sha(self):
        content = json.dumps(sorted(map(str, self.repositories))).encode()
        return hashlib.sha1(content, usedforsecurity=False).hexdigest()


@contextmanager
def stand_in():
    """Serves a Hub within the block; gives it and its address."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def answer(self, status, content=b"", **headers):
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def body(self):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def do_POST(self):
            body = self.body()
            if hub.refuse is not None:
                self.answer(hub.refuse, {"error": "no such right"})
                return
            if self.path == "/api/repos/create":
                asked = json.loads(body)
                owner = asked.get("organization") or "me"
                repo = f"{owner}/{asked['name'].split('/')[-1]}"
                kind = asked.get("type", "model")
                hub.repositories.setdefault((kind, repo), {})
                place = repo if kind == "model" else f"{kind}s/{repo}"
                self.answer(200, {"url": f"{address}/{place}", "id": "1", "name": repo})
                return
            if self.path == "/api/validate-yaml":
                self.answer(200, {"errors": [], "warnings": []})
                return
            path = self.path.split("?")[0]
            found = re.fullmatch(r"/api/(model|dataset)s/([^/]+/[^/]+)/(\w+)/main", path)
            if found is None:
                self.answer(404, {"error": f"not imitated: {path}"})
                return
            kind, repo, action = found.groups()
            if action == "preupload":
                files = [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for f in json.loads(body)["files"]
                ]
                self.answer(200, {"files": files})
                return
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    value = entry["value"]
                    content = base64.b64decode(value["content"])
                    hub.repositories[kind, repo][value["path"]] = content
            commit = {"commitOid": hub.sha, "commitUrl": f"{address}/{repo}/commit/{hub.sha}"}
            self.answer(200, commit)

        def do_GET(self):
            path = self.path.split("?")[0]
            for part, (status, content) in hub.replies.items():
                if part in path:
                    self.answer(status, content)
                    return
            found = re.fullmatch(r"/api/(model|dataset)s/([^/]+/[^/]+)(/revision/.*)?", path)
            if found:
                kind, repo, _ = found.groups()
                files = hub.repositories.get((kind, repo))
                if files is None:
                    self.answer(404, {"error": "missing"}, X_Error_Code="RepoNotFound")
                    return
                siblings = [{"rfilename": name, "size": len(b)} for name, b in files.items()]
                self.answer(200, {"id": repo, "sha": hub.sha, "siblings": siblings, "tags": []})
                return
            found = re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/[^/]+/(.*)", path)
            if found is None:
                self.answer(404, {"error": f"not imitated: {path}"})
                return
            kind = "dataset" if found.group(1) else "model"
            content = hub.repositories[kind, found.group(2)][found.group(3)]
            etag = hashlib.sha1(content, usedforsecurity=False).hexdigest()
            self.answer(200, content, ETag=f'"{etag}"', X_Repo_Commit=hub.sha)

        do_HEAD = do_GET  # noqa: N815  (the server's name)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub, address
    finally:
        server.shutdown()
        server.server_close()
