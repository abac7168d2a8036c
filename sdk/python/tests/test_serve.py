"""The conversation as the host leads it, in one process."""

import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from scope_plugin import Failure, OutOfMemory, Pipeline, Session, serve  # noqa: E402
from scope_plugin._frames import as_rgb  # noqa: E402
from scope_plugin._wire import Link, WireError  # noqa: E402

SLOT_BYTES = 1 << 16


class Brighten(Pipeline):
    schema = {"id": "brighten"}

    def __init__(self, parameters, progress):
        if parameters.get("missing"):
            raise Failure("the weights are missing. Download them")
        progress("Warming up…")

    def start(self):
        return BrightenSession()


class BrightenSession(Session):
    frames = 2

    def generate(self, chunk, output):
        if chunk.parameters.get("fail") == "memory":
            raise OutOfMemory("1 GiB was not to be had")
        if chunk.parameters.get("fail"):
            raise ValueError("too bright")
        for index, picture in enumerate(chunk.pictures()):
            output.picture("video", picture.array.astype(np.float32) + 10.4, source=index)
        self.frames = 3
        return {"unknown": "is not known here"} if "unknown" in chunk.parameters else None


class Conversation:
    """Messages to a plugin, and what it answers."""

    def __init__(self, folder):
        self.input = folder / "input"
        self.output = folder / "output"
        self.output.write_bytes(bytes(2 * SLOT_BYTES))
        self.input.write_bytes(b"")
        self.sent = b""

    def say(self, kind, **fields):
        body = json.dumps({"type": kind, **fields}).encode()
        self.sent += struct.pack("<I", len(body)) + body
        return self

    def load(self, **parameters):
        output = {"path": str(self.output), "slots": 2, "slot_bytes": SLOT_BYTES}
        self.say("hello", protocol=1, host="test")
        return self.say("load", pipeline="brighten", parameters=parameters, input=str(self.input), output=output)

    def generate(self, count, **parameters):
        pixels = np.arange(count * 2 * 4 * 3, dtype=np.uint8).reshape(count, 2, 4, 3)
        self.input.write_bytes(pixels.tobytes())
        about = [{"offset": i * 24, "width": 4, "height": 2, "captured_at_us": i} for i in range(count)]
        self.say("generate", session=1, chunk=1, mode="video", parameters=parameters, inputs={"video": about})
        return pixels

    def answers(self):
        out = io.BytesIO()
        serve("test", "1", [Brighten], Link(io.BytesIO(self.sent), out))
        data, messages = out.getvalue(), []
        while data:
            (length,) = struct.unpack("<I", data[:4])
            messages.append(json.loads(data[4 : 4 + length]))
            data = data[4 + length :]
        return messages

    def picture(self, slot):
        start = slot * SLOT_BYTES
        return np.frombuffer(self.output.read_bytes()[start : start + 24], np.uint8).reshape(2, 4, 3)


class ServeTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.talk = Conversation(Path(folder.name))

    def test_pictures_come_back_changed_in_places_that_were_free(self):
        self.talk.load().say("start", session=1)
        pixels = self.talk.generate(3)
        # The third picture waits for a place.
        self.talk.say("taken", slot=1).say("bye")
        answers = self.talk.answers()
        self.assertEqual([a["type"] for a in answers], ["hello", "progress", "loaded", "started"] + ["frame"] * 3 + ["done"])
        self.assertEqual(answers[0]["pipelines"], [{"id": "brighten"}])
        self.assertEqual(answers[3]["needs"], {"frames": 2, "consecutive": False})
        self.assertEqual([(a["slot"], a["source"]) for a in answers[4:7]], [(1, 0), (0, 1), (1, 2)])
        np.testing.assert_array_equal(self.talk.picture(0), pixels[1] + 10)
        np.testing.assert_array_equal(self.talk.picture(1), pixels[2] + 10)
        self.assertEqual(answers[7]["needs"], {"frames": 3, "consecutive": False})

    def test_whatever_is_raised_is_a_failed_request_and_the_next_one_is_answered(self):
        self.talk.load().say("start", session=1)
        self.talk.generate(1, fail=True)
        self.talk.generate(1, fail="memory")
        self.talk.generate(1, unknown=1)
        self.talk.say("stop", session=1)
        self.talk.generate(1)
        stderr, sys.stderr = sys.stderr, io.StringIO()
        try:
            answers = self.talk.answers()[4:]
        finally:
            sys.stderr = stderr
        self.assertEqual(answers[0], {"type": "failed", "code": "pipeline_failed", "message": "ValueError: too bright"})
        self.assertEqual(answers[1]["code"], "out_of_memory")
        self.assertEqual([a["type"] for a in answers[2:4]], ["frame", "done"])
        self.assertEqual(answers[3]["problems"], {"unknown": "is not known here"})
        self.assertIn("never started", answers[4]["message"])

    def test_a_failed_load_says_what_to_do(self):
        answers = self.talk.load(missing=True).answers()
        self.assertEqual(answers[1]["message"], "the weights are missing. Download them")

    def test_messages_that_are_none_end_the_conversation(self):
        for sent in [b"\x05", b"\xff\xff\xff\xff", b"\x05\0\0\0ab", b"\x02\0\0\0[]", b"\x02\0\0\0{x"]:
            with self.assertRaises(WireError):
                serve("test", "1", [Brighten], Link(io.BytesIO(sent), io.BytesIO()))
        self.assertRaises(WireError, self.talk.say("dance").answers)
        self.talk.sent = b""
        self.assertRaises(WireError, self.talk.say("hello", protocol=9).answers)

    def test_pictures_of_any_kind_become_bytes(self):
        grey = np.array([[0.4, 254.6], [np.nan, 999.0]])
        np.testing.assert_array_equal(as_rgb(grey)[..., 0], [[0, 255], [0, 255]])
        self.assertEqual(as_rgb(np.zeros((2, 2, 3), np.uint8)[:, ::-1]).flags.c_contiguous, True)
        for shape in [(2,), (2, 2, 4), (0, 2, 3)]:
            with self.assertRaises(ValueError):
                as_rgb(np.zeros(shape))

    def test_prints_do_not_reach_the_host(self):
        code = (
            "from scope_plugin import Pipeline, serve\n"
            "import os\n"
            "class P(Pipeline):\n"
            "    schema = {'id': 'p'}\n"
            "    def __init__(self, parameters, progress):\n"
            "        print('loud'); os.write(1, b'louder')\n"
            "serve('p', '1', [P])\n"
        )
        output = {"path": str(self.talk.output), "slots": 2, "slot_bytes": SLOT_BYTES}
        self.talk.say("load", pipeline="p", parameters={}, input=str(self.talk.input), output=output)
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "src")}
        done = subprocess.run(
            [sys.executable, "-c", code], input=self.talk.sent, capture_output=True, env=environment, check=True
        )
        self.assertEqual(json.loads(done.stdout[4:]), {"type": "loaded"})
        self.assertIn(b"loud\n", done.stderr)
        self.assertIn(b"louder", done.stderr)


if __name__ == "__main__":
    unittest.main()
