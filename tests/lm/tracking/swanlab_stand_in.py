"""A small stand-in for the SwanLab server, for the real SDK 0.10.3: `python swanlab_stand_in.py --port 0`.

Prints its address as the first line and keeps everything in memory. GET /_state shows what it holds; POST
/_faults with a JSON list such as ["500:/api/house"] sets faults while it runs. A fault is WHAT:PREFIX, where WHAT
is an HTTP status or "silence" (the connection is accepted and never answered) and PREFIX starts the path.
Only what the SDK calls is there; the answers' shapes are read from the SDK's source.
"""

from __future__ import annotations

import argparse
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

USER = "tester"
API_KEY = "stand-in-key-that-must-stay-secret"


class StandIn(ThreadingHTTPServer):
    """The server and what it holds.

    Attributes:
        runs: by id: name, description, state, profile, scalars {key: {step: value}}, log lines.
        faults: WHAT:PREFIX, the first that fits is done.
    """

    daemon_threads = True

    def __init__(self, port: int = 0, faults: tuple[str, ...] = ()) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.projects: dict[str, str] = {}  # "user/name" -> id
        self.runs: dict[str, dict[str, Any]] = {}
        self.faults = list(faults)
        self.requests = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def state(self) -> dict[str, Any]:
        return {"projects": self.projects, "runs": self.runs, "requests": self.requests}

    def server_close(self) -> None:
        self.closing.set()
        super().server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StandIn

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def log_message(self, format: str, *args: Any) -> None:
        """Stays quiet: the tests read the output."""

    def _handle(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = json.loads(body) if body else None
        fault = next((f for f in self.server.faults if path.startswith(f.split(":", 1)[1])), None)
        if fault and fault.startswith("silence:"):
            self.server.closing.wait(600)
            self.close_connection = True
            return
        if fault:
            self._answer(int(fault.split(":", 1)[0]), {"code": "Fault", "message": "as the test wants it"})
            return
        with self.server.lock:
            self.server.requests += not path.startswith("/_")
            status, answer = self._route(self.command, path.strip("/").split("/"), data)
            self._answer(status, answer)

    def _answer(self, status: int, answer: Any) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _route(self, method: str, parts: list[str], data: Any) -> tuple[int, Any]:
        runs = self.server.runs
        match (method, *parts):
            case ("GET", "_state"):
                return 200, self.server.state()
            case ("POST", "_faults"):
                self.server.faults = list(data)
                return 200, {}
            case ("POST", "api", "login", "api_key"):
                return self._login()
            case ("GET", "api", "project", user, name):
                return self._project(user, name)
            case ("POST", "api", "projects", user):
                self.server.projects[f"{user}/{data['name']}"] = f"project-{len(self.server.projects)}"
                return 201, {}
            case ("POST", "api", "project", _, _, "experiment"):
                return self._open(data)
            case ("GET", "api", "project", _, _, "runs", run) if run in runs:
                return 200, runs[run]["head"] | {"state": runs[run]["state"]}
            case ("PUT", "api", "project", _, _, "runs", run, "profile") if run in runs:
                runs[run]["profile"].update(data)
                return 200, {}
            case ("PUT", "api", "project", _, _, "runs", run, "state") if run in runs:
                runs[run]["state"] = data["state"]
                return 200, {}
            case ("GET", "api", "house", "metrics", "summaries", _, run) if run in runs:
                return 200, self._resume_summary(runs[run])
            case ("POST", "api", "house", "metrics", "summaries"):
                return 200, {e["experimentId"]: self._summary(e["experimentId"]) for e in data["experiments"]}
            case ("POST", "api", "house", "metrics"):
                self._take(data)
                return 200, {}
            case ("POST", "api", "projects", _, _, "series"):
                return 201, {}
            case ("POST", "api", "house", "experiments", _, "heartbeat"):
                return 200, {}
        return 404, {"code": "Not_Found", "message": f"{method} {self.path}"}

    def _login(self) -> tuple[int, Any]:
        if self.headers.get("authorization") != API_KEY:
            return 401, {"code": "Unauthorized", "message": "unknown key"}
        user = {"username": USER, "name": "Tester"}
        return 200, {"sid": "session", "expiredAt": "2999-01-01T00:00:00.000Z", "userInfo": user}

    def _project(self, user: str, name: str) -> tuple[int, Any]:
        cuid = self.server.projects.get(f"{user}/{name}")
        if cuid is None:
            return 404, {"code": "Not_Found", "message": "no such project"}
        return 200, {
            "cuid": cuid,
            "name": name,
            "version": 1,
            "path": f"/{user}/{name}",
            "visibility": "PRIVATE",
            "group": {"username": user},
            "_count": {"experiments": len(self.server.runs)},
        }

    def _open(self, data: Any) -> tuple[int, Any]:
        """Creates the run (201) or resumes it (200)."""
        run = data["cuid"]
        is_new = run not in self.server.runs
        if is_new:
            head = {"cuid": run, "slug": run, "name": data["name"], "createdAt": data["createdAt"]}
            head["description"] = data.get("description", "")
            self.server.runs[run] = {"head": head, "profile": {}, "scalars": {}, "logs": []}
        self.server.runs[run]["state"] = "RUNNING"
        return (201 if is_new else 200), self.server.runs[run]["head"]

    def _take(self, data: Any) -> None:
        run = self.server.runs[data["experimentId"]]
        for metric in data["metrics"]:
            if data["type"] == "scalar":
                run["scalars"].setdefault(metric["key"], {})[int(metric["index"])] = metric["data"]
            elif data["type"] == "log":
                run["logs"].append(metric["message"])

    def _summary(self, run: str) -> dict[str, Any]:
        scalars = self.server.runs[run]["scalars"]
        return {key: {"step": max(steps), "value": steps[max(steps)]} for key, steps in scalars.items()}

    @staticmethod
    def _resume_summary(run: dict[str, Any]) -> dict[str, Any]:
        scalars = [{"key": key, "step": max(steps)} for key, steps in run["scalars"].items()]
        logs = [{"key": "LOG", "step": len(run["logs"])}] if run["logs"] else []
        return {"scalar": scalars, "media": [], "log": logs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--fault", action="append", default=[], metavar="WHAT:PREFIX")
    arguments = parser.parse_args()
    server = StandIn(arguments.port, tuple(arguments.fault))
    print(server.url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
