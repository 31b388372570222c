"""Runs a function in a process of its own, so that a crash of it is an outcome and not the end."""

import os
import pickle
import signal
from collections.abc import Callable
from typing import Any


def run_apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a fork of this process.

    Raises:
        AssertionError: the process died, by a signal or otherwise.
        Whatever the function raises.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            answer = (function(*arguments), None)
        except BaseException as error:
            answer = (None, error)
        with os.fdopen(writing, "wb") as file:
            try:
                content = pickle.dumps(answer)
            except Exception:  # what cannot be sent is sent as text
                content = pickle.dumps((None, AssertionError(repr(answer[1]))))
            file.write(content)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        content = file.read()
    status = os.waitpid(child, 0)[1]
    if not content:
        died = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        how = f"code {status}" if died is None else signal.Signals(died).name
        raise AssertionError(f"the process died: {how}; {function.__name__}{arguments!r:.300}")
    result, error = pickle.loads(content)
    if error is not None:
        raise error
    return result
