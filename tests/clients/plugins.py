"""Plugins in Python, as their users and authors have them: installed from the command line, loaded by the real server, seen by aiortc.

Ends with "N passed, N failed".
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
import traceback
import unittest
from pathlib import Path

import numpy as np
from aiortc_client import PATIENCE_S, Colour, Connection, Server, middle

ROOT = Path(__file__).resolve().parents[2]
# pip fetches and builds.
INSTALL_PATIENCE_S = 300


def scope(binary: str, folder: str, *arguments: str) -> str:
    """Runs a command of the product on a data folder."""
    environment = {**os.environ, "DAYDREAM_SCOPE_DIR": folder, "SCOPE_PYTHON": sys.executable}
    done = subprocess.run(
        [binary, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=INSTALL_PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, f"scope {' '.join(arguments)}: {done.stdout}"
    return done.stdout


async def grain_moves(server: Server) -> None:
    """Grain over one colour: the mean stays, and pixels differ from each other and from frame to frame."""
    await server.load("grain")
    connection = Connection(server)
    try:
        connection.pc.addTransceiver(Colour((120, 90, 60)), direction="sendrecv")
        await connection.open({"input_mode": "video", "amount": 0.0})
        await connection.until("the plain colour", lambda frame: deviation(frame) < 3)
        await connection.send({"amount": 1.0})
        await connection.until("grain", lambda frame: deviation(frame) > 15)
        first, second = await connection.frames(2)
        assert np.abs(middle(first) - (120, 90, 60)).max() < 30, middle(first)
        assert np.abs(pixels(first) - pixels(second)).mean() > 5
        await connection.send({"amount": 7})
        await until_message(connection, "amount")
        await connection.frames(5)
    finally:
        await connection.close()


async def a_pipeline_class_is_hosted(server: Server) -> None:
    """A class with Pydantic settings, two pictures a call: one colour is left, as much as the parameter says."""
    schemas = (await server.call("/api/v1/pipelines/schemas"))["pipelines"]
    schema = schemas["tint"]
    assert (schema["name"], schema["plugin_name"], schema["usage"]) == ("Tint", "scope-hosted-example", ["postprocessor"])
    strength = schema["config_schema"]["properties"]["strength"]
    assert (strength["maximum"], strength["ui"]["is_load_param"], strength["ui"]["label"]) == (1.0, False, "Strength"), strength
    assert schema["mode_defaults"] == {"video": {"input_size": 2}}, schema["mode_defaults"]
    await server.load("tint")
    connection = Connection(server)
    try:
        connection.pc.addTransceiver(Colour((120, 90, 60)), direction="sendrecv")
        await connection.open({"input_mode": "video", "strength": 0.0})
        await connection.until("the sent colour", lambda frame: np.abs(middle(frame) - (120, 90, 60)).max() < 15)
        await connection.send({"strength": 1.0})
        await connection.until("green alone", lambda frame: np.abs(middle(frame) - (0, 90, 0)).max() < 15)
    finally:
        await connection.close()


async def the_api_installs_nothing(server: Server) -> None:
    """Plugins are listed over HTTP, and neither installed nor removed."""
    listed = await server.call("/api/v1/plugins")
    assert [plugin["name"] for plugin in listed["plugins"]] == ["grain", "scope-hosted-example"], listed
    for path, method in [("/api/v1/plugins", "POST"), ("/api/v1/plugins/grain", "DELETE")]:
        try:
            await server.call(path, method, {"package": "anything"} if method == "POST" else None)
        except Exception as error:  # noqa: BLE001 - any answer but the refusal is a failure
            assert getattr(error, "code", None) == 403, error
        else:
            raise AssertionError(f"{method} {path} was answered")


def pixels(frame) -> np.ndarray:
    picture = frame.to_ndarray(format="rgb24").astype(np.float32)
    h, w = picture.shape[:2]
    return picture[h // 3 : 2 * h // 3, w // 3 : 2 * w // 3]


def deviation(frame) -> float:
    return float(pixels(frame).std(axis=(0, 1)).mean())


async def until_message(connection: Connection, word: str) -> None:
    for _ in range(PATIENCE_S * 10):
        if any(word in str(message) for message in connection.messages if message.get("type") != "state"):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"no message about {word}: {connection.messages}")


CHECKS = [
    ("a plugin with numpy changes pictures and follows its parameter", grain_moves),
    ("a pipeline class written for another host runs unchanged", a_pipeline_class_is_hosted),
    ("the API lists plugins and installs none", the_api_installs_nothing),
]


async def main() -> int:
    binary = os.environ.get("SCOPE_BIN", str(ROOT / "target/release/scope"))
    suite = unittest.defaultTestLoader.discover(str(ROOT / "sdk/python/tests"))
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=0).run(suite)
    failed = len(result.failures) + len(result.errors)
    passed = result.testsRun - failed
    with tempfile.TemporaryDirectory(prefix="scope-plugins-") as folder:
        scope(binary, folder, "plugins", "install", "--yes", str(ROOT / "examples/plugins/grain"))
        scope(binary, folder, "plugins", "install", "--yes", str(ROOT / "sdk/python/tests/hosted"))
        print(scope(binary, folder, "plugins", "list"))
        server = Server(binary, folder)
        try:
            await server.ready()
            for name, check in CHECKS:
                begun = time.monotonic()
                try:
                    await asyncio.wait_for(check(server), PATIENCE_S * 3)
                    passed += 1
                    print(f"ok   {name} ({time.monotonic() - begun:.1f} s)")
                except Exception:
                    failed += 1
                    print(f"FAIL {name}")
                    traceback.print_exc(file=sys.stdout)
            if failed:
                print(f"--- server\n{server.output()}")
        finally:
            server.close()
        scope(binary, folder, "plugins", "remove", "--yes", "grain")
        assert "grain" not in scope(binary, folder, "pipelines")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
