"""The conversation with the host, and what a pipeline implements."""

import traceback

from ._frames import InputFile, OutputFile, as_rgb
from ._wire import VERSION, Link, WireError


class Failure(Exception):
    """A request failed; the text is for the user: what happened, to what, and what to do about it."""

    code = "pipeline_failed"


class OutOfMemory(Failure):
    """Memory ran out: the session cannot go on."""

    code = "out_of_memory"


class Pipeline:
    """A kind of processing. Its constructor loads it and takes the load parameters and a function for progress."""

    #: Keys as in ``GET /api/v1/pipelines/schemas``; only ``id`` must be there.
    schema = {}

    def __init__(self, parameters, progress):
        """Loads the pipeline. ``progress`` takes a few words for the user."""

    def start(self):
        """A :class:`Session` with fresh state."""
        raise NotImplementedError


class Session:
    """One session's run."""

    #: Pictures that a chunk waits for in video mode; 0 runs freely.
    frames = 0
    #: The newest pictures in a row, instead of some spread over all that wait.
    consecutive = False
    #: Pictures a second at which its own video should be shown; None is the rate at which they are made.
    frame_rate = None

    def generate(self, chunk, output):
        """Works on a :class:`Chunk`. May return a dict of parameters that could not be used, each with the reason."""
        raise NotImplementedError


class Chunk:
    """A chunk's input."""

    def __init__(self, request, inputs):
        #: Number of the chunk in its session, from 1.
        self.index = request["chunk"]
        #: ``"text"`` or ``"video"``.
        self.mode = request["mode"]
        #: Temporal state is to be forgotten first.
        self.reset = request.get("reset", False)
        #: Run-time parameters.
        self.parameters = request["parameters"]
        self._inputs = inputs

    def pictures(self, port="video"):
        """The pictures on an input port, oldest first."""
        return self._inputs.get(port, [])

    @property
    def ports(self):
        """The connected input ports."""
        return list(self._inputs)


class Output:
    """Takes what a chunk makes."""

    def __init__(self, link, file, free):
        self._link = link
        self._file = file
        self._free = free

    def picture(self, port, array, source=None):
        """Hands out a picture, which is on its way to the viewer at once. ``source`` is the picture of the chunk's first input port that it
        derives from, counted from 0."""
        array = as_rgb(array)
        while not self._free:
            message = self._link.read()
            if message is None or message.get("type") != "taken":
                raise WireError("the host ended within a chunk")
            self._free.append(message["slot"])
        slot = self._free.pop()
        try:
            self._file.write(slot, array)
        except (OSError, ValueError):
            self._free.append(slot)
            raise
        height, width = array.shape[:2]
        about = {} if source is None else {"source": int(source)}
        self._link.write("frame", port=port, slot=slot, width=width, height=height, **about)

    def value(self, port, value):
        """Hands out a value on a port that carries no pictures."""
        self._link.write("value", port=port, value=value)


def serve(name, version, pipelines, link=None):
    """Runs a plugin until the host has had enough. ``pipelines`` are subclasses of :class:`Pipeline`, or objects that make such things:
    anything with a ``schema`` that can be called as their constructor can."""
    link = link or Link.of_process()
    by_id = {pipeline.schema["id"]: pipeline for pipeline in pipelines}
    plugin = _Plugin(link, name, version, by_id)
    try:
        while plugin.answer(link.read()):
            pass
    except BrokenPipeError:
        pass


class _Plugin:
    def __init__(self, link, name, version, pipelines):
        self._link = link
        self._name = name
        self._version = version
        self._pipelines = pipelines
        self._loaded = None
        self._input = None
        self._output = None
        self._free = []
        self._sessions = {}

    def answer(self, message):
        """Answers one message; False when there is nothing more to come."""
        if message is None:
            return False
        kind = message.get("type")
        if kind == "bye":
            return False
        if kind == "taken":
            self._free.append(message["slot"])
        elif kind == "stop":
            self._sessions.pop(message["session"], None)
        elif kind in ("hello", "load", "start", "generate"):
            try:
                getattr(self, f"_{kind}")(message)
            except (WireError, KeyboardInterrupt, SystemExit):
                raise
            except MemoryError as error:
                self._failed("out_of_memory", str(error) or "memory ran out")
            except Failure as failure:
                self._failed(failure.code, str(failure))
            except Exception as error:  # noqa: BLE001 - whatever a pipeline raises is its failure, and the user's to see
                traceback.print_exc()
                code = "out_of_memory" if type(error).__name__ == "OutOfMemoryError" else "pipeline_failed"
                self._failed(code, f"{type(error).__name__}: {error}")
        else:
            raise WireError(f"the host said {kind}")
        return True

    def _failed(self, code, text):
        self._link.write("failed", code=code, message=text[:2000])

    def _hello(self, message):
        if message["protocol"] != VERSION:
            raise WireError(f"the host speaks version {message['protocol']} of the protocol, this plugin version {VERSION}")
        schemas = [pipeline.schema for pipeline in self._pipelines.values()]
        self._link.write("hello", protocol=VERSION, name=self._name, version=self._version, pipelines=schemas)

    def _load(self, message):
        pipeline = self._pipelines.get(message["pipeline"])
        if pipeline is None:
            raise Failure(f"this plugin has no pipeline {message['pipeline']}")
        self._input = InputFile(message["input"])
        self._output = OutputFile(message["output"])
        self._free = list(range(self._output.slots))
        self._loaded = pipeline(message["parameters"], lambda text: self._link.write("progress", text=str(text)[:500]))
        self._link.write("loaded")

    def _start(self, message):
        session = self._loaded.start()
        self._sessions[message["session"]] = session
        self._link.write("started", needs=_needs(session))

    def _generate(self, message):
        session = self._sessions.get(message["session"])
        if session is None:
            raise Failure(f"session {message['session']} was never started")
        inputs = {
            port: [self._input.read(about) for about in pictures] for port, pictures in message.get("inputs", {}).items()
        }
        before = _needs(session)
        problems = session.generate(Chunk(message, inputs), Output(self._link, self._output, self._free))
        done = {}
        if problems:
            done["problems"] = {str(key): str(reason) for key, reason in problems.items()}
        if (needs := _needs(session)) != before:
            done["needs"] = needs
        self._link.write("done", **done)


def _needs(session):
    needs = {"frames": int(session.frames), "consecutive": bool(session.consecutive)}
    if session.frame_rate is not None:
        needs["frame_rate"] = float(session.frame_rate)
    return needs
