"""Headless Chromium over the WebDriver protocol, with the standard library alone."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def absent() -> str:
    """Why there is no browser, "" where there is one."""
    lacking = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"needs {' and '.join(lacking)} (apt-get install chromium chromium-driver)" if lacking else ""


class Browser:
    """One headless Chromium."""

    def __init__(self, profile: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.base = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            # A page that needs no network is tested by a browser that asks for none.
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={profile}",
        ]
        wanted = {
            "alwaysMatch": {
                "goog:chromeOptions": {"args": arguments, "binary": shutil.which("chromium")},
                "goog:loggingPrefs": {"browser": "ALL"},
            }
        }
        for _ in range(150):
            try:
                self.session = self._call("POST", "/session", {"capabilities": wanted})["sessionId"]
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.2)
        else:
            self.process.terminate()
            raise RuntimeError("chromedriver did not start")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()[:400]) from error

    def do(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._call(method, f"/session/{self.session}{path}", body)

    def open(self, page: Path) -> None:
        self.do("POST", "/url", {"url": page.resolve().as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        return self.do("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def emulate(self, width: int, height: int = 900, **media: str) -> None:
        """Set the viewport, and media features such as prefers_color_scheme."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.command("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
        self.command("Emulation.setEmulatedMedia", {"features": features})

    def command(self, name: str, parameters: dict[str, Any]) -> Any:
        return self.do("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def press(self, key: str) -> None:
        pressed = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.do("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": pressed}]})

    def click(self, selector: str) -> None:
        found = self.do("POST", "/element", {"using": "css selector", "value": selector})
        self.do("POST", f"/element/{found[ELEMENT]}/click", {})

    def console(self) -> list[str]:
        rows = self.do("POST", "/se/log", {"type": "browser"})
        return [row["message"] for row in rows if row["level"] in ("SEVERE", "WARNING")]

    def pdf(self) -> bytes:
        return base64.b64decode(
            self.do("POST", "/print", {"background": True, "page": {"width": 21.0, "height": 29.7}})
        )

    def close(self) -> None:
        try:
            self.do("DELETE", "")
        finally:
            self.process.terminate()
            self.process.wait(10)
