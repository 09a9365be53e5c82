"""A child that writes one step after the other, and is killed at some instant: for what must survive that."""

import os
import signal
import time


def killed_after(write_steps, n, lifetime_s):
    """Write from step ``n`` + 1 on in a child until it is killed; the last step that it acknowledged.

    write_steps: opens the store and returns the function that writes step n to it.
    """
    reading, writing = os.pipe()
    child = os.fork()  # a new interpreter would take longer than all the rest
    if child == 0:
        write = write_steps()
        while True:
            n += 1
            write(n)
            os.write(writing, n.to_bytes(4, "big"))
    os.close(writing)
    time.sleep(lifetime_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        while word := pipe.read(4):
            n = int.from_bytes(word, "big")
    return n
