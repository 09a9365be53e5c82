"""Child processes that do not outlive their parent, even when that is killed.

The promise rests on Linux's parent-death signal, which follows the thread that started the child; elsewhere an
orderly end stops them.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

# Runs before the program in its process: ask for the signal, then check that the parent has not died already.
_DIE_WITH_PARENT = """\
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


def start_child(
    arguments: Sequence[str], *, stdout: IO[bytes] | int, stderr: IO[bytes] | int, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start ``arguments`` (an absolute path and its arguments) in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,  # a Ctrl-C on the terminal is the parent's business
    )


def stop_child(process: subprocess.Popen[bytes], timeout_s: float = 5.0) -> None:
    """End a child and reap it: SIGTERM, and SIGKILL when that is not enough."""
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
