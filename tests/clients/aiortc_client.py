"""A client that is no browser: aiortc talks to the real server as scripts and bridges do.

Starts SCOPE_BIN on a free port with tiny models and otherwise an empty data folder, plays each check below, and ends with
"N passed, N failed". TINY_MODELS writes the models; it lies beside SCOPE_BIN after `cargo build --release --workspace --examples`.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from fractions import Fraction

import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, VideoStreamTrack
from av import VideoFrame

DOG = "a dog walking in grass"
DRAGON = "a dragon flying through clouds"
HUE_TOLERANCE = 6
RGB_TOLERANCE = 14
FRAMES = 30
# Browser suites, builds and this test share a few cores.
PATIENCE_S = 30


def hue_of(text: str) -> int:
    """The test card's hue of a prompt: 32-bit FNV-1a of its trimmed text without the last four bits, modulo 360."""
    value = 0x811C9DC5
    for byte in text.strip().encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return (value >> 4) % 360


def hue(rgb: np.ndarray) -> float:
    r, g, b = (float(c) for c in rgb)
    top, span = max(r, g, b), max(r, g, b) - min(r, g, b)
    if span == 0:
        return 0.0
    sector = (g - b) / span % 6 if top == r else (b - r) / span + 2 if top == g else (r - g) / span + 4
    return sector * 60


def hue_distance(a: float, b: float) -> float:
    d = abs(a - b) % 360
    return min(d, 360 - d)


def middle(frame: VideoFrame) -> np.ndarray:
    """Mean colour of the picture's middle, clear of the counter, the reference and the input of the test card."""
    pixels = frame.to_ndarray(format="rgb24")
    h, w = pixels.shape[:2]
    return pixels[int(h * 0.3) : int(h * 0.8), int(w * 0.1) : int(w * 0.9)].reshape(-1, 3).mean(axis=0)


class Server:
    """The product, in a process and, unless one is given, a data folder of its own."""

    def __init__(self, binary: str, data: str | None = None, models: str | None = None) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = tempfile.TemporaryDirectory(prefix="scope-aiortc-")
        self.log_path = os.path.join(self.folder.name, "output.txt")
        self.log = open(self.log_path, "wb")
        environment = {**os.environ, "DAYDREAM_SCOPE_DIR": data or self.folder.name}
        command = [binary, "-N", "--port", str(self.port), "--no-stun"]
        if models:
            command += ["--models-dir", models]
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=subprocess.STDOUT)

    async def ready(self) -> None:
        for _ in range(200):
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}")
            try:
                await self.call("/health")
                return
            except (urllib.error.URLError, ConnectionError):
                await asyncio.sleep(0.1)
        raise RuntimeError("the server does not answer")

    async def call(self, path: str, method: str = "GET", body: object = None) -> object:
        def blocking() -> object:
            request = urllib.request.Request(
                f"http://127.0.0.1:{self.port}{path}",
                method=method,
                data=None if body is None else json.dumps(body).encode(),
                headers={} if body is None else {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
                text = response.read()
            return json.loads(text) if text else None

        return await asyncio.to_thread(blocking)

    async def load(self, pipeline: str, **parameters: object) -> None:
        await self.call("/api/v1/pipeline/load", "POST", {"pipeline_ids": [pipeline], "load_params": parameters})
        for _ in range(PATIENCE_S * 5):
            status = await self.call("/api/v1/pipeline/status")
            if status["status"] == "loaded":
                return
            assert status["status"] == "loading", status
            await asyncio.sleep(0.2)
        raise AssertionError("the pipeline is not loaded")

    def output(self) -> str:
        with open(self.log_path, errors="replace") as log:
            return log.read()[-8000:]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()
        self.folder.cleanup()


class Colour(VideoStreamTrack):
    """One colour, 15 frames a second, with a mark that moves so that no two frames are the same."""

    def __init__(self, rgb: tuple[int, int, int]) -> None:
        super().__init__()
        self.rgb = rgb
        self.count = 0
        self.begun = time.monotonic()

    async def recv(self) -> VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        await asyncio.sleep(max(0.0, self.begun + self.count / 15 - time.monotonic()))
        pixels = np.empty((240, 320, 3), dtype=np.uint8)
        pixels[:] = self.rgb
        x = self.count * 4 % 300
        pixels[:16, x : x + 16] = 255
        frame = VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts = self.count * 6000
        frame.time_base = Fraction(1, 90_000)
        self.count += 1
        return frame


class Connection:
    """One session: an offer, a data channel, and the frames that come back."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.channel = self.pc.createDataChannel("parameters", ordered=True)
        self.messages: list[dict] = []
        self.session_id = ""
        self.channel.on("message", lambda text: self.messages.append(json.loads(text)))

    async def open(self, parameters: dict) -> None:
        offer = await self.pc.createOffer()
        await self.pc.setLocalDescription(offer)
        local = self.pc.localDescription
        body = {"sdp": local.sdp, "type": local.type, "initialParameters": parameters}
        answer = await self.server.call("/api/v1/webrtc/offer", "POST", body)
        self.session_id = answer["sessionId"]
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp=answer["sdp"], type=answer["type"]))

    @property
    def track(self):
        return self.pc.getTransceivers()[0].receiver.track

    def codec(self) -> str:
        """What was agreed on, as the answer says it."""
        lines = self.pc.remoteDescription.sdp.splitlines()
        first = next(line for line in lines if line.startswith("m=video")).split()[3]
        return next(line for line in lines if line.startswith(f"a=rtpmap:{first} ")).split()[1].split("/")[0]

    async def frames(self, count: int) -> list[VideoFrame]:
        async def receive() -> list[VideoFrame]:
            return [await self.track.recv() for _ in range(count)]

        return await asyncio.wait_for(receive(), PATIENCE_S)

    async def until(self, what: str, check: Callable[[VideoFrame], bool]) -> None:
        async def receive() -> None:
            while not check(await self.track.recv()):
                pass

        try:
            await asyncio.wait_for(receive(), PATIENCE_S)
        except TimeoutError:
            seen = middle(await self.track.recv())
            raise AssertionError(f"{what}: not within {PATIENCE_S} s; last seen rgb {seen.round()}, hue {hue(seen):.0f}") from None

    async def hue(self, text: str) -> None:
        wanted = hue_of(text)
        await self.until(f"hue {wanted}", lambda frame: hue_distance(hue(middle(frame)), wanted) <= HUE_TOLERANCE)

    async def send(self, parameters: dict) -> None:
        for _ in range(PATIENCE_S * 10):
            if self.channel.readyState == "open":
                break
            await asyncio.sleep(0.1)
        assert self.channel.readyState == "open", self.channel.readyState
        self.channel.send(json.dumps(parameters))

    async def told(self, what: str, check: Callable[[dict], bool]) -> None:
        for _ in range(PATIENCE_S * 10):
            if any(check(message) for message in self.messages):
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"{what}: not within {PATIENCE_S} s; told {self.messages[-8:]}")

    async def close(self) -> None:
        await self.pc.close()
        if self.session_id:
            await self.server.call(f"/api/v1/webrtc/offer/{self.session_id}", "DELETE")


async def watches_and_prompts(server: Server) -> None:
    """A receiver without a graph or pipeline ids gets what is loaded, and its prompts change it."""
    await server.load("testcard")
    connection = Connection(server)
    try:
        connection.pc.addTransceiver("video", direction="recvonly")
        await connection.open({"input_mode": "text", "prompts": [{"text": DOG, "weight": 100}]})
        frames = await connection.frames(FRAMES)
        assert {(frame.width, frame.height) for frame in frames} == {(512, 512)}
        times = [frame.pts for frame in frames]
        assert times == sorted(times), times
        await connection.hue(DOG)
        await connection.send({"prompts": [{"text": DRAGON, "weight": 100}], "_id": "take-1"})
        await connection.hue(DRAGON)
        assert any(m["type"] == "applied" and m["id"] == "take-1" for m in connection.messages), connection.messages
        await connection.send({"paused": True})
        await asyncio.sleep(1)
        assert any(m["type"] == "state" and m["state"] == "paused" for m in connection.messages), connection.messages
    finally:
        await connection.close()
    sessions = await server.call("/api/v1/sessions")
    assert sessions["sessions"] == [], sessions


async def sends_and_receives(server: Server, codec: str) -> None:
    """Frames that go in come out of passthrough, in the codec that the client prefers."""
    await server.load("passthrough")
    connection = Connection(server)
    try:
        track = Colour((200, 40, 40))
        transceiver = connection.pc.addTransceiver(track, direction="sendrecv")
        capabilities = RTCRtpSender.getCapabilities("video").codecs
        wanted = [c for c in capabilities if c.mimeType.lower() in (f"video/{codec.lower()}", "video/rtx")]
        transceiver.setCodecPreferences(wanted)
        await connection.open({"input_mode": "video"})
        assert connection.codec() == codec, connection.codec()

        def near(frame: VideoFrame) -> bool:
            return bool(np.abs(middle(frame) - np.array(track.rgb)).max() <= RGB_TOLERANCE)

        await connection.until("the sent colour", near)
        frames = await connection.frames(FRAMES)
        assert all(near(frame) for frame in frames)
        assert {(frame.width, frame.height) for frame in frames} == {(320, 240)}
        track.rgb = (40, 60, 200)
        await connection.until("the next colour", near)
    finally:
        await connection.close()


async def drives_a_family(server: Server, pipeline: str) -> None:
    """Text alone, then a video: frames come, prompts are taken, and what is wrong is told by name while the video goes on."""
    await server.load(pipeline, width=96, height=64)
    for mode in ("text", "video"):
        connection = Connection(server)
        try:
            if mode == "video":
                connection.pc.addTransceiver(Colour((200, 40, 40)), direction="sendrecv")
            else:
                connection.pc.addTransceiver("video", direction="recvonly")
            await connection.open({"input_mode": mode, "prompts": [{"text": DOG, "weight": 100}]})
            frames = await connection.frames(FRAMES)
            assert {(frame.width, frame.height) for frame in frames} == {(96, 64)}
            spread = frames[-1].to_ndarray(format="rgb24").std()
            assert spread > 1, f"a picture of one colour: {spread}"
            await connection.send({"prompts": [{"text": DRAGON, "weight": 100}], "_id": "take"})
            await connection.told("the prompt", lambda m: m["type"] == "applied" and m["id"] == "take")
            await connection.send({"denoising_step_list": "fast", "noise_scale": 0.5, "_id": "half"})
            await connection.told(
                "the wrong parameter",
                lambda m: m["type"] == "error" and [p["key"] for p in m.get("parameters", [])] == ["denoising_step_list"],
            )
            await connection.told("the right one beside it", lambda m: m["type"] == "applied" and m["id"] == "half")
            await connection.frames(FRAMES)
        finally:
            await connection.close()


def family(pipeline: str) -> tuple[str, Callable[[Server], Awaitable[None]]]:
    return f"drives {pipeline}", lambda server: drives_a_family(server, pipeline)


FAMILIES = ["streamdiffusionv2", "longlive", "krea-realtime-video", "reward-forcing", "memflow"]
CHECKS: list[tuple[str, Callable[[Server], Awaitable[None]]]] = [
    ("receives the test card and prompts it", watches_and_prompts),
    ("sends to passthrough and receives, VP8", lambda server: sends_and_receives(server, "VP8")),
    ("sends to passthrough and receives, H.264", lambda server: sends_and_receives(server, "H264")),
    *map(family, FAMILIES),
]


async def main() -> int:
    here = os.path.dirname(os.path.abspath(__file__))
    binary = os.environ.get("SCOPE_BIN", os.path.join(here, "../../target/release/scope"))
    writer = os.environ.get("TINY_MODELS", os.path.join(os.path.dirname(binary), "examples/tiny_models"))
    models = tempfile.TemporaryDirectory(prefix="scope-models-")
    subprocess.run([writer, models.name], check=True)
    server = Server(binary, models=models.name)
    failed = 0
    try:
        await server.ready()
        for name, check in CHECKS:
            begun = time.monotonic()
            try:
                await asyncio.wait_for(check(server), PATIENCE_S * 3)
                print(f"ok   {name} ({time.monotonic() - begun:.1f} s)")
            except Exception:
                failed += 1
                print(f"FAIL {name}")
                traceback.print_exc(file=sys.stdout)
        if failed:
            print(f"--- server\n{server.output()}")
    finally:
        server.close()
        models.cleanup()
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
