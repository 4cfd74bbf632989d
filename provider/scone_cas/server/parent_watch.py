"""Ties the processes of a CAS together: when the supervisor is gone, however it went, the others stop too."""

import os
import signal
import threading


def watch(descriptor: int, *, at_once: bool = False) -> None:
    """End this process when the other end of the pipe closes: by SIGTERM, or `at_once` without any grace."""

    def wait() -> None:
        while True:
            try:
                if os.read(descriptor, 1):
                    continue
            except OSError:
                pass
            break
        if at_once:
            os._exit(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()
