"""A headless Chromium that tests look through: real clicks and keys, and what a page says on its console or asks for.

It is spoken to over a pipe (the DevTools protocol), so that no port is opened and nothing is to be installed.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
EXPECTED = "LF_EXPERIMENTS_EXPECT_BROWSER"
"""The variable of the environment under which a machine without a browser fails its tests."""

QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run")
SECONDS = 60
"""How long an answer may take on a busy machine."""
KEYS = {
    **{name: (code, None) for name, code in (("ArrowLeft", 37), ("ArrowUp", 38), ("ArrowRight", 39), ("ArrowDown", 40))},
    **{"Home": (36, None), "End": (35, None), "Tab": (9, None), "Enter": (13, "\r"), " ": (32, " ")},
    **{"+": (187, "+"), "-": (189, "-")},
}
"""{key: its code, and what it types}"""


def browser_or_skip() -> str:
    """The browser of this machine; without one the test is skipped, or fails where one is expected."""
    if BROWSER is None and os.environ.get(EXPECTED):
        pytest.fail(f"{EXPECTED} is set, and there is no Chromium on this machine")
    if BROWSER is None:
        pytest.skip("no Chromium on this machine")
    return BROWSER


class Tab:
    """One page in a browser, as a reader has it."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back, self._number, self._rest = to, back, 0, b""
        self.console: list[str] = []
        """What stood on the console, errors and refused requests among it."""
        self.requests: list[str] = []
        """The addresses that were asked for, but those that carry their content themselves."""
        target = self._ask("Target.createTarget", None, url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", None, targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._do(f"{domain}.enable")

    def open(self, path: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Show a file in a window of this size, and wait until it is drawn."""
        self.console, self.requests = [], []
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self._do("Emulation.setEmulatedMedia", features=scheme)
        self._do("Page.navigate", url=path.as_uri())
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")
        self.wait("document.querySelectorAll('.similarity-map:not(.ready)').length === 0")
        self.requests.remove(path.as_uri())

    def ask(self, question: str) -> Any:
        """The value of an expression in the page."""
        found = self._do("Runtime.evaluate", expression=question, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise ValueError(found["exceptionDetails"]["exception"].get("description", found["exceptionDetails"]["text"]))
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until an expression in the page is true."""
        end = time.monotonic() + SECONDS
        while not self.ask(condition):
            assert time.monotonic() < end, condition
            time.sleep(0.02)

    def place(self, element: str, right: float = 0.5, down: float = 0.5) -> tuple[float, float]:
        """Where an element is in the window (a selector), at this share of its width and height; it is scrolled to."""
        box = f"document.querySelector({json.dumps(element)})"
        self.ask(f"{box}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        x, y, width, height = self.ask(f"(({{x, y, width, height}}) => [x, y, width, height])({box}.getBoundingClientRect())")
        return x + right * width, y + down * height

    def point(self, element: str, right: float = 0.5, down: float = 0.5) -> None:
        """Move the pointer onto an element."""
        x, y = self.place(element, right, down)
        self._do("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.settle()

    def click(self, element: str, right: float = 0.5, down: float = 0.5) -> None:
        """Click on an element."""
        x, y = self.place(element, right, down)
        for kind in ("mousePressed", "mouseReleased"):
            self._do("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self.settle()

    def press(self, *keys: str, shift: bool = False) -> None:
        """Press keys, one after another, wherever the focus is."""
        for key in keys:
            code, text = KEYS.get(key, (ord(key[0].upper()), key))
            typed = {} if text is None else {"text": text}
            event = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 * shift}
            self._do("Input.dispatchKeyEvent", type="keyDown" if typed else "rawKeyDown", **event, **typed)
            self._do("Input.dispatchKeyEvent", type="keyUp", **event)
        self.settle()

    def settle(self) -> None:
        """Wait until the page has drawn what an event has changed."""
        self.ask("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def picture(self, path: Path, whole: bool = False) -> Path:
        """Write what the window shows, or the whole page, as PNG."""
        shot = self._do(
            "Page.captureScreenshot", format="png", captureBeyondViewport=whole, **({"clip": self.size()} if whole else {})
        )
        path.write_bytes(base64.b64decode(shot["data"]))
        return path

    def size(self) -> dict[str, float]:
        """The whole page as a part of itself."""
        return {"x": 0, "y": 0, **self._do("Page.getLayoutMetrics")["cssContentSize"], "scale": 1} | {"x": 0, "y": 0}

    # The protocol -----------------------------------------------------------------------------------------------------

    def _do(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._ask(method, self._session, **parameters)

    def _ask(self, method: str, session: str | None, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        order = {"id": self._number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        os.write(self._to, json.dumps(order).encode() + b"\0")
        while True:
            answer = self._hear()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer)
                return answer["result"]
            self._note(answer)

    def _hear(self) -> dict[str, Any]:
        """The next message of the browser."""
        while b"\0" not in self._rest:
            assert select.select([self._back], [], [], SECONDS)[0], "the browser does not answer"
            part = os.read(self._back, 1 << 20)
            assert part, "the browser has ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        """Keep what a page says of itself."""
        method, said = event.get("method"), event.get("params", {})
        if method == "Log.entryAdded":
            self.console.append(said["entry"]["text"])
        elif method == "Runtime.consoleAPICalled":
            self.console.append(" ".join(str(part.get("value", part.get("description"))) for part in said["args"]))
        elif method == "Runtime.exceptionThrown":
            self.console.append(said["exceptionDetails"]["exception"].get("description", "error"))
        elif method == "Network.requestWillBeSent" and not said["request"]["url"].startswith("data:"):
            self.requests.append(said["request"]["url"])


@contextmanager
def started_browser(profile: Path) -> Iterator[Tab]:
    """A browser with one tab; it ends with the block."""
    from_us, to_it = os.pipe()
    from_it, to_us = os.pipe()
    command = [browser_or_skip(), *QUIET, "--remote-debugging-pipe", f"--user-data-dir={profile}"]
    shell = f'exec 3<&{from_us} 4>&{to_us}; exec "$@"'  # it reads from 3 and writes to 4
    process = subprocess.Popen(
        ["bash", "-c", shell, "browser", *command],
        pass_fds=(from_us, to_us),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    os.close(from_us)
    os.close(to_us)
    try:
        yield Tab(to_it, from_it)
    finally:
        os.close(to_it)
        os.close(from_it)
        process.terminate()
        process.wait(SECONDS)
