"""Run code in processes in which neither smallvit nor an MM package has been imported.

They are forked from a server that has already imported their dependencies, which take most of the
startup time of a new interpreter. Tests that depend on those imports too use ``subprocess``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from textwrap import dedent

#: Modules that the server imports. None of them is patched by smallvit at import.
LIBRARIES = ("torch", "torchvision", "timm", "sklearn.utils", "matplotlib.pyplot", "cv2", "yapf")
#: Timeout in seconds; generous, because startup is slow on a shared machine.
PATIENCE = 400


def run(code: str, *argv: object, **settings: object) -> subprocess.CompletedProcess:
    """Run code in such a process.

    Args:
        code (str): The code, which may be indented as a whole.
        *argv (object): ``sys.argv[1:]``.
        **settings (object): ``cwd`` sets a different working directory.

    Returns:
        subprocess.CompletedProcess: Exit status and output, as text.
    """
    server = _server()
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / name for name in ("stdout", "stderr")]
        request = dict(
            code=dedent(code),
            argv=["-c", *map(str, argv)],
            cwd=str(settings.get("cwd", os.getcwd())),
            environment=dict(os.environ),
            outputs=[str(path) for path in outputs],
        )
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        said = [path.read_text(errors="replace") for path in outputs]
    return subprocess.CompletedProcess(request["argv"], status, *said)


@cache
def _server() -> subprocess.Popen:
    """Start the server, which exits with this process."""
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return subprocess.Popen([sys.executable, __file__], **pipes)


def _serve() -> None:
    for name in LIBRARIES:
        with suppress(ImportError):
            import_module(name)
    strange = [name for name in sys.modules if name.startswith(("mmengine", "mmcv", "smallvit"))]
    assert not strange, strange
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            _become(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(request: dict) -> None:
    """Execute code as ``python -c`` does, then exit."""
    signal.alarm(PATIENCE)
    for descriptor, path in enumerate([os.devnull, *request["outputs"]]):
        flags = os.O_WRONLY | os.O_CREAT if descriptor else os.O_RDONLY
        os.dup2(os.open(path, flags), descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    sys.argv, sys.path[0] = request["argv"], ""
    status = 1
    try:
        exec(compile(request["code"], "<string>", "exec"), vars(sys.modules["__main__"]))
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if status and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
