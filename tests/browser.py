"""A headless Chromium, driven through the pipe of its DevTools protocol: no library needed."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


PLACE = """\
import os, sys
for k, fd in ((60, 1), (61, 2)):
    os.dup2(int(sys.argv[fd]), k)
os.dup2(60, 3)
os.dup2(61, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""  # so that what is run reads 3 and writes 4


class Browser:
    """One page; use it in a `with` block."""

    def __enter__(self):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs, self.out = os.pipe()
        self.into, theirs_out = os.pipe()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        flags += ["--remote-debugging-pipe", f"--user-data-dir={self.profile.name}"]
        command = [CHROMIUM, *flags, "about:blank"]

        place = [sys.executable, "-ISc", PLACE, str(theirs), str(theirs_out)]
        self.process = subprocess.Popen(  # without preexec_fn, which forks as threads may not be
            [*place, *command], pass_fds=(theirs, theirs_out),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs)
        os.close(theirs_out)
        self.ids, self.rest, self.session, self.faults = itertools.count(1), b"", None, []
        (target,) = [t for t in self.tell("Target.getTargets")["targetInfos"] if t["type"] == "page"][:1]
        self.session = self.tell("Target.attachToTarget", targetId=target["targetId"], flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log"):
            self.tell(f"{domain}.enable")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.out)
        os.close(self.into)
        self.profile.cleanup()

    def tell(self, method, **params):
        """The answer to a command; what the page complains of meanwhile is kept in ``faults``."""
        number = next(self.ids)
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.rest:
                read = os.read(self.into, 1 << 16)
                if not read:
                    raise RuntimeError("Chromium has ended")
                self.rest += read
            text, self.rest = self.rest.split(b"\0", 1)
            said = json.loads(text)
            if said.get("method") == "Runtime.exceptionThrown":
                self.faults.append(said["params"]["exceptionDetails"])
            if said.get("method") == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.faults.append(said["params"]["entry"])
            if said.get("id") == number:
                if "error" in said:
                    raise RuntimeError(said["error"])
                return said["result"]

    def open(self, path, width=1280, height=900, dark=False):
        """Show a file, as wide as that."""
        self.tell("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)  # fmt: skip
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.tell("Emulation.setEmulatedMedia", features=scheme)
        self.tell("Page.navigate", url=path.as_uri())
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def value(self, expression):
        """What JavaScript makes of it."""
        found = self.tell("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"])
        return found["result"].get("value")

    def wait(self, expression, seconds=30):
        """Until it is true."""
        end = time.monotonic() + seconds
        while not self.value(expression):
            assert time.monotonic() < end, f"never: {expression}; {self.faults}"
            time.sleep(0.02)

    def type(self, selector, text):
        """Into a field, in the place of what is there, as from a keyboard."""
        self.value(f"(e => {{ e.focus(); e.select() }})(document.querySelector({json.dumps(selector)}))")
        self.tell("Input.insertText", text=text)

    def press(self, key, **how):
        """A key."""
        for kind in ("rawKeyDown", "keyUp"):
            self.tell("Input.dispatchKeyEvent", type=kind, key=key, **how)

    def click(self, selector):
        """In the middle of an element."""
        place = (
            "(e => { e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2] })"
        )
        box = self.value(f"{place}(document.querySelector({json.dumps(selector)}))")
        for kind in ("mousePressed", "mouseReleased"):
            self.tell("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def picture(self, path):
        """The whole page as a PNG."""
        found = self.tell("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))
