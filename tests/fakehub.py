"""A Hub on 127.0.0.1 that speaks the routes which huggingface_hub calls, with faults to switch on.

The convention: only the wire is imitated. The real client talks to it from another process, by way
of ``HF_ENDPOINT``; hashes are real, so that what is damaged can be told.
"""

import base64
import hashlib
import json
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_writersTokenThatNobodyMaySee"
READ_TOKEN = "hf_readersTokenThatNobodyMaySee"
LARGE = (".safetensors", ".onnx", ".bin", ".png")
ID = r"(?P<id>[^/]+/[^/]+)"
KIND = r"/api/(?P<kind>model|space)s/"


# Listings come often, and the bundled weights are large.
@lru_cache(maxsize=64)
def git_hash(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


@lru_cache(maxsize=64)
def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Commit:
    oid: str
    files: dict[str, bytes]


@dataclass
class Repo:
    kind: str
    private: bool = False
    commits: list[Commit] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    hardware: str = "cpu-basic"
    variables: dict[str, dict[str, str]] = field(default_factory=dict)
    restarts: int = 0

    def commit(self, files: dict[str, bytes]) -> Commit:
        parent = self.commits[-1].oid if self.commits else ""
        listed = json.dumps([parent, {name: sha256(one) for name, one in files.items()}])
        self.commits.append(Commit(git_hash(listed.encode()), files))
        return self.commits[-1]

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    def find(self, revision: str) -> Commit | None:
        revision = self.tags.get(revision, revision)
        named = {one.oid: one for one in self.commits} | {"main": self.head}
        return named.get(revision)


@dataclass
class Fault:
    """What goes wrong for a repository.

    ``status`` answers ``value``; ``drop`` breaks off in the middle of a file; ``silence`` never
    answers; ``size`` and ``hash`` send other bytes than the commit lists; ``large`` lists files of
    2 GB.
    """

    kind: str
    value: int = 0
    path: str = ""


class Server(ThreadingHTTPServer):
    """Keeps its own mistakes; that a client went away is none."""

    errors: list[BaseException]

    def handle_error(self, *given: object) -> None:
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):
            self.errors.append(error)


class FakeHub:
    """The server; a context manager.

    Attributes:
        repos: By kind (``model``, ``space``) and id.
        faults: By id.
        requests: Method and path of each request, in order.
        authorizations: Every Authorization header that came.
        storage: Where large files come from by Xet's protocol, as hf_xet names it.
        xet: By sha256, the name that a file has there; what is not in it comes from this server.
        errors: Mistakes of this server.
    """

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.faults: dict[str, Fault] = {}
        self.uploads: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.authorizations: set[str] = set()
        self.users = {TOKEN: ("me", "write"), READ_TOKEN: ("me", "read")}
        self.storage = ""
        self.xet: dict[str, str] = {}
        self.errors: list[BaseException] = []
        self.stopping = threading.Event()
        self.port = 0

    def __enter__(self) -> Self:
        handler = type("Bound", (Handler,), {"hub": self})
        self.stopping.clear()
        self.server = Server(("127.0.0.1", self.port), handler)
        self.server.errors = self.errors
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def model(self, repo_id: str) -> Repo:
        return self.repos["model", repo_id]

    def space(self, repo_id: str) -> Repo:
        return self.repos["space", repo_id]

    def asked(self, repo_id: str) -> list[str]:
        """The requests that name a repository.

        A pull that was given up ends some time later, so that another's may come meanwhile.
        """
        return [line for line in self.requests if repo_id in line]

    def put(self, repo_id: str, files: dict[str, bytes], tag: str = "") -> str:
        """Make a model of these files without a client; returns the commit."""
        repo = self.repos.setdefault(("model", repo_id), Repo("model"))
        oid = repo.commit(files).oid
        if tag:
            repo.tags[tag] = oid
        return oid


class Handler(BaseHTTPRequestHandler):
    """Answers a request by the first of ``ROUTES`` that fits."""

    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *given: object) -> None:
        pass

    def answer(self) -> None:
        self.parts = urlsplit(self.path)
        self.body = self.read_body()
        self.hub.requests.append(f"{self.command} {self.parts.path}")
        self.user, self.role = None, ""
        if authorization := self.headers.get("Authorization"):
            self.hub.authorizations.add(authorization)
            token = authorization.removeprefix("Bearer ")
            if token not in self.hub.users:
                text = f"Invalid credentials in Authorization header: {token}"
                return self.refuse(401, "", text)
            self.user, self.role = self.hub.users[token]
        for method, pattern, action in ROUTES:
            found = re.fullmatch(pattern, self.parts.path)
            if found and self.command in method.split():
                given = found.groupdict().items()
                groups = {name: unquote(value) for name, value in given if value}
                self.id = groups.get("id") or self.named_in_body()
                self.kind = groups.get("kind") or "model"
                return None if self.fails() else action(self, groups)
        return self.refuse(404, "", f"no route {self.command} {self.parts.path}")

    do_GET = do_HEAD = do_POST = do_PUT = answer

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def named_in_body(self) -> str:
        if self.parts.path != "/api/repos/create":
            return parse_qs(self.parts.query).get("id", [""])[0]
        wanted = json.loads(self.body)
        return f"{wanted['organization']}/{wanted['name']}"

    def fails(self) -> bool:
        """Commit the fault of a repository, if it has one; whether that is the answer."""
        self.fault = fault = self.hub.faults.get(self.id, Fault(""))
        if not re.search(fault.path, self.parts.path):
            self.fault = Fault("")
            return False
        if fault.kind == "status":
            wait = {"Retry-After": "1800"} if fault.value == 429 else {}
            self.refuse(fault.value, "", f"refused {self.headers.get('Authorization')}", **wait)
        elif fault.kind == "silence":
            self.hub.stopping.wait()
            self.close_connection = True
        elif fault.kind == "drop" and self.command == "PUT":
            self.close_connection = True
        else:
            return False
        return True

    def send(self, code: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def say(self, value: Any = None, code: int = 200, **headers: str) -> None:
        content = json.dumps({} if value is None else value).encode()
        self.send(code, content, {"Content-Type": "application/json", **headers})

    def refuse(self, status: int, kind: str, text: str, **headers: str) -> None:
        told = {"X-Error-Message": text} | ({"X-Error-Code": kind} if kind else {})
        self.say({"error": text}, status, **told, **headers)

    def repo(self) -> Repo | None:
        """The repository that is asked for, unless it is hidden; then the answer is given."""
        repo = self.hub.repos.get((self.kind, self.id))
        if repo is None or (repo.private and self.user is None):
            self.refuse(404 if self.user else 401, "RepoNotFound", "Repository not found")
            return None
        return repo

    def may_write(self) -> bool:
        allowed = self.role == "write" and self.id.startswith(f"{self.user}/")
        if not allowed:
            status = 403 if self.user else 401
            self.refuse(status, "", f"not with {self.headers.get('Authorization')}")
        return allowed

    def whoami(self, groups: dict[str, str]) -> None:
        if self.user is None:
            return self.refuse(401, "", "Unauthorized")
        auth = {"accessToken": {"role": self.role}}
        return self.say({"name": self.user, "orgs": [], "auth": auth})

    def create(self, groups: dict[str, str]) -> None:
        wanted = json.loads(self.body)
        kind = wanted.get("type", "model")
        prefix = "spaces/" if kind == "space" else ""
        url = {"url": f"{self.hub.url}/{prefix}{self.id}"}
        if not self.may_write():
            return None
        if (kind, self.id) in self.hub.repos:
            return self.say(url, 409)
        repo = Repo(kind, wanted.get("visibility") == "private")
        repo.hardware = wanted.get("hardware", repo.hardware)
        repo.variables = {one["key"]: one for one in wanted.get("variables", ())}
        repo.commit({".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"})
        self.hub.repos[kind, self.id] = repo
        return self.say(url)

    def auth_check(self, groups: dict[str, str]) -> None:
        if self.repo() and self.may_write():
            self.say()

    def info(self, groups: dict[str, str]) -> None:
        if (repo := self.repo()) is None:
            return None
        if (commit := repo.find(groups.get("revision", "main"))) is None:
            return self.refuse(404, "RevisionNotFound", "Invalid rev id")
        siblings = [describe(name, one) for name, one in commit.files.items()]
        if self.fault.kind == "large":
            siblings = [one | {"size": 2_000_000_000} for one in siblings]
        told = {"id": self.id, "sha": commit.oid, "private": repo.private, "siblings": siblings}
        hardware = {"current": repo.hardware, "requested": repo.hardware}
        runtime = {"runtime": {"stage": "RUNNING", "hardware": hardware}}
        return self.say(told | (runtime if repo.kind == "space" else {}))

    def preupload(self, groups: dict[str, str]) -> None:
        if not (repo := self.repo()) or not self.may_write():
            return
        files = []
        for one in json.loads(self.body)["files"]:
            name, is_large = one["path"], one["path"].endswith(LARGE)
            there = repo.head.files.get(name)
            oid = there if there is None else (sha256 if is_large else git_hash)(there)
            mode = "lfs" if is_large else "regular"
            files.append({"path": name, "shouldIgnore": False, "uploadMode": mode, "oid": oid})
        self.say({"files": files})

    def batch(self, groups: dict[str, str]) -> None:
        objects = []
        for one in json.loads(self.body)["objects"]:
            entry = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.hub.uploads:
                upload = f"{self.hub.url}/_upload/{one['oid']}?id={self.id}"
                verify = f"{self.hub.url}/_verify?id={self.id}"
                entry["actions"] = {"upload": {"href": upload}, "verify": {"href": verify}}
            objects.append(entry)
        self.say({"transfer": "basic", "objects": objects})

    def upload(self, groups: dict[str, str]) -> None:
        if sha256(self.body) != groups["oid"]:
            return self.refuse(400, "", "these bytes have another hash")
        self.hub.uploads[groups["oid"]] = self.body
        return self.say()

    def verify(self, groups: dict[str, str]) -> None:
        told = json.loads(self.body)
        is_there = len(self.hub.uploads.get(told["oid"], b"")) == told["size"]
        self.say(code=200 if is_there else 404)

    def make_commit(self, groups: dict[str, str]) -> None:
        if not (repo := self.repo()) or not self.may_write():
            return None
        files = dict(repo.head.files)
        if self.fault.kind == "overtaken":
            repo.commit(files)
        for line in self.body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "header":
                if value.get("parentCommit") not in (None, repo.head.oid):
                    return self.refuse(412, "", "A commit has happened since")
            elif operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploads[value["oid"]]
            elif operation["key"] == "deletedFile":
                del files[value["path"]]
        oid = repo.commit(files).oid
        url = f"{self.hub.url}/{self.id}/commit/{oid}"
        return self.say({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})

    def tag(self, groups: dict[str, str]) -> None:
        if not (repo := self.repo()) or not self.may_write():
            return None
        name = json.loads(self.body)["tag"]
        if name in repo.tags:
            return self.refuse(409, "", "Tag reference exists already")
        commit = repo.find(groups["revision"])
        assert commit is not None
        repo.tags[name] = commit.oid
        return self.say()

    def refs(self, groups: dict[str, str]) -> None:
        if repo := self.repo():
            tags = [
                {"name": name, "ref": f"refs/tags/{name}", "targetCommit": oid}
                for name, oid in repo.tags.items()
            ]
            self.say({"branches": [], "converts": [], "tags": tags})

    def resolve(self, groups: dict[str, str]) -> None:
        if (repo := self.repo()) is None:
            return None
        if (commit := repo.find(groups["revision"])) is None:
            return self.refuse(404, "RevisionNotFound", "Invalid rev id")
        name = groups["path"]
        if (content := commit.files.get(name)) is None:
            return self.refuse(404, "EntryNotFound", "Entry not found")
        kind = self.fault.kind
        etag = (sha256 if name.endswith(LARGE) else git_hash)(content)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
        if stored := self.hub.xet.get(etag):
            token = f"{self.hub.url}/api/models/{self.id}/xet-read-token/{commit.oid}"
            headers |= {"X-Xet-Hash": stored, "X-Xet-Refresh-Route": token}
        if kind == "size":
            content += content
        if kind == "hash":
            content = content[:-1] + bytes([content[-1] ^ 1])
        start = re.match(r"bytes=(\d+)-", self.headers.get("Range") or "")
        first = int(start[1]) if start else 0
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        if kind == "drop" and self.command == "GET":
            self.close_connection = True
            if first:
                return None
            whole = {"Content-Length": str(len(content))}
            return self.send(200, content[: len(content) // 2], headers | whole)
        return self.send(206 if first else 200, content[first:], headers)

    def storage_token(self, groups: dict[str, str]) -> None:
        told = {"Cas-Url": self.hub.storage, "Access-Token": "t", "Token-Expiration": "9999999999"}
        self.say(**{f"X-Xet-{name}": value for name, value in told.items()})

    def variables(self, groups: dict[str, str]) -> None:
        if not (repo := self.repo()) or not self.may_write():
            return
        if self.command == "POST":
            given = json.loads(self.body)
            repo.variables[given["key"]] = given
        self.say(repo.variables)

    def hardware(self, groups: dict[str, str]) -> None:
        if (repo := self.repo()) and self.may_write():
            repo.hardware = json.loads(self.body)["flavor"]
            self.say({"stage": "BUILDING"})

    def restart(self, groups: dict[str, str]) -> None:
        if (repo := self.repo()) and self.may_write():
            repo.restarts += 1
            self.say({"stage": "RUNNING_BUILDING"})

    def accept(self, groups: dict[str, str]) -> None:
        self.say({"errors": [], "warnings": []})


def describe(name: str, content: bytes) -> dict[str, Any]:
    """A file as a listing gives it."""
    told = {"rfilename": name, "size": len(content), "blobId": git_hash(content)}
    if not name.endswith(LARGE):
        return told
    lfs = {"sha256": sha256(content), "size": len(content), "pointerSize": 134}
    return told | {"blobId": git_hash(lfs["sha256"].encode()), "lfs": lfs}


PREFIX = r"/(?:(?P<kind>space)s/)?"
ROUTES: list[tuple[str, str, Callable[[Handler, dict[str, str]], None]]] = [
    ("GET", "/api/whoami-v2", Handler.whoami),
    ("POST", "/api/repos/create", Handler.create),
    ("POST", "/api/validate-yaml", Handler.accept),
    ("POST", "/startup-report", Handler.accept),  # not the Hub's but ZeroGPU's
    ("GET", KIND + ID + "/auth-check/write", Handler.auth_check),
    ("GET", KIND + ID + "/refs", Handler.refs),
    ("POST", KIND + ID + "/preupload/main", Handler.preupload),
    ("POST", KIND + ID + "/commit/main", Handler.make_commit),
    ("POST", KIND + ID + "/tag/(?P<revision>[^/]+)", Handler.tag),
    ("GET POST", KIND + ID + "/variables", Handler.variables),
    ("POST", KIND + ID + "/hardware", Handler.hardware),
    ("POST", KIND + ID + "/restart", Handler.restart),
    ("GET", KIND + ID, Handler.info),
    ("GET", KIND + ID + "/xet-read-token/[0-9a-f]+", Handler.storage_token),
    ("GET", KIND + ID + "/revision/(?P<revision>[^/]+)", Handler.info),
    ("POST", PREFIX + ID + r"\.git/info/lfs/objects/batch", Handler.batch),
    ("PUT", "/_upload/(?P<oid>[0-9a-f]{64})", Handler.upload),
    ("POST", "/_verify", Handler.verify),
    ("GET HEAD", PREFIX + ID + "/resolve/(?P<revision>[^/]+)/(?P<path>.+)", Handler.resolve),
]
