# The fork server: an interpreter that has started once, waits, and forks a process for every run.
#
# Imported by `fast.py`, which holds a program, and by `sitecustomize.py`, which holds none. File 3 is a socket to who
# asks for runs, the init of a cage. A message is one datagram, numbers are little-endian:
#   it says    `P` the program is `main.py` in this directory · `R` with standard input, output and error: run it once
#   we answer  `p` ready · `n` reason: another start must run this program · `s` pid: forked · `f` errno: not forked ·
#              `e` wait status (i32), CPU time (u64, us), greatest resident memory (u64, bytes): that process has ended
# The end of the socket is our end.
#
# The rule of this file: a program finds the interpreter as a fresh `python3 main.py` leaves it. What is imported here
# leaves `sys.modules` again, and what a fresh interpreter would not have is not there when a program starts.
import os
import sys

RUN_FILES = 3
MESSAGE_BYTES_MAX = 64


class Link:
    """The socket, and what waiting for a process takes."""

    def __init__(self):
        modules = set(sys.modules)
        import _signal
        import _socket
        import gc
        import resource

        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, 3)
        self._control_bytes = _socket.CMSG_SPACE(4 * RUN_FILES)
        self._resource = resource
        self.gc = gc
        self.signal = _signal
        for name in set(sys.modules) - modules:
            del sys.modules[name]

    def receive(self):
        """The next message's letter and files. Does not return at the end of the socket."""
        message, control, _, _ = self._socket.recvmsg(MESSAGE_BYTES_MAX, self._control_bytes)
        if not message:
            os._exit(0)
        numbers = b"".join(data for _, _, data in control)
        files = [int.from_bytes(numbers[at : at + 4], sys.byteorder) for at in range(0, len(numbers), 4)]
        return message[:1], files

    def say(self, letter, *numbers):
        """Sends a letter and numbers, each with its size in bytes."""
        self._socket.send(letter + b"".join(value.to_bytes(size, "little", signed=True) for value, size in numbers))

    def refuse(self, reason):
        """Says that another start must run this program, and ends."""
        self._socket.send(b"n" + reason.encode("utf-8", "replace"))
        os._exit(0)

    def fork_per_run(self):
        """Serves runs. Returns in the process of a run only."""
        self.say(b"p")
        while True:
            letter, files = self.receive()
            if letter != b"R" or len(files) != RUN_FILES:
                os._exit(1)
            try:
                pid = os.fork()
            except OSError as error:
                self.say(b"f", (error.errno or 0, 4))
                close(files)
                continue
            if pid == 0:
                os.setsid()
                for number, file in enumerate(files):
                    os.dup2(file, number)
                close(files)
                self._socket.close()
                return
            self.say(b"s", (pid, 4))
            close(files)
            # `wait4` imports this module, and no later program may find it there.
            sys.modules["resource"] = self._resource
            _, status, usage = os.wait4(pid, 0)
            del sys.modules["resource"]
            cpu_us = round((usage.ru_utime + usage.ru_stime) * 1000000)
            self.say(b"e", (status, 4), (cpu_us, 8), (usage.ru_maxrss * 1024, 8))


def close(files):
    for file in files:
        os.close(file)


def forget(directory):
    """Removes what importing this file from `directory` has left behind."""
    sys.path_importer_cache.pop(directory, None)
    del sys.modules[__name__]
