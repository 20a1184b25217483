# What `fast.py` consists of: reads the program and imports what it will import, once; makes `__main__` of every run
# what a fresh `python3 main.py` has made of it when the program starts; and ends a run as the interpreter would, but
# without taking everything apart first. What a program could still see of that is named in `start.rs`: such programs
# are not run by this server.
#
# `Finish` goes through CPython's own steps (`pymain_run_python`, `_PyRun_SimpleFile`, `Py_FinalizeEx`) in their order.
# Where a step has trouble, the run is left to the interpreter itself: a status other than the one seen here, a text to
# be printed, a file that cannot be written, a file that is still open.
import os
import sys

import zygote

# What stands between a program and the bottom of the stack: the frame of `fast.py`. A call of `exec` would be a second
# step, and on some versions one of another kind, with a limit that cannot be raised.
EXTRA_DEPTH = 1
# `compile` gives a tree and no code.
ONLY_TREE = 0x400
# A longer program is not looked through for imports: its tree takes far more memory than its code, which is all that a
# fresh interpreter has, and every run would be charged for it.
TREE_BYTES_MAX = 64 << 10
# A file of the program's own has one of these numbers, if any is open: the lowest free one is always taken.
OWN_FILES = range(3, 8)
# Modules whose import nobody can see but by what they offer: they print nothing, start nothing, keep no time and no
# number of a process (`random` seeds itself anew after a fork).
QUIET = set(
    "__future__ abc array ast base64 binascii bisect builtins calendar cmath codecs collections collections.abc "
    "contextlib copy csv dataclasses datetime decimal difflib enum errno fractions functools hashlib heapq io "
    "itertools json keyword math numbers operator os os.path pickle pprint queue random re secrets select shutil "
    "signal stat statistics string struct sys tempfile textwrap threading time types typing unicodedata warnings "
    "zlib numpy numpy.linalg numpy.random numpy.fft".split()
)


class Run:
    """The one run of this process."""

    link = None
    names = None
    error = None


class Text:
    """Stands for standard error while the program is compiled."""

    def __init__(self):
        self.pieces = []

    def write(self, piece):
        self.pieces.append(piece)

    def flush(self):
        pass


def serve():
    """Reads the program and serves runs. Returns in the process of a run only: the program, to be called."""
    link = zygote.Link()
    names = sys.modules["__main__"].__dict__
    path = become_main(names)
    letter, _ = link.receive()
    if letter != b"P":
        os._exit(1)
    with open("main.py", "rb") as file:
        source = file.read()
    if b"\0" in source:
        link.refuse("it has a NUL")
    text = Text()
    try:
        code = compiled(source, path, 0, text)
    except BaseException as error:
        link.refuse("it does not compile: " + type(error).__name__)
    if len(source) <= TREE_BYTES_MAX:
        try:
            import_quietly(compiled(source, path, ONLY_TREE, Text()), link)
        except RecursionError:
            # Too deep for a tree, not for code.
            pass
    del source
    numpy_random = sys.modules.get("numpy.random")
    sys.setrecursionlimit(sys.getrecursionlimit() + EXTRA_DEPTH)
    # Nobody looks: what is here already need not be gone through, and so copied, in every run.
    link.gc.collect()
    link.gc.freeze()
    link.fork_per_run()
    if numpy_random is not None:
        numpy_random.seed()
    if text.pieces:
        sys.stderr.write("".join(text.pieces))
    Run.link, Run.names = link, names
    # The code of a module is no function's: called, it takes its names for its local ones, as it does by itself.
    return type(serve)(code, names)


def become_main(names):
    """Puts `main.py` of this directory in the place of `fast.py`; its path as the interpreter writes it."""
    directory, own_path = sys.path[0], names["__file__"]
    path = os.path.join(os.getcwd(), "main.py") if sys.version_info >= (3, 9) else "main.py"
    sys.argv[:] = ["main.py"]
    if hasattr(sys, "orig_argv"):
        sys.orig_argv[1:] = ["main.py"]
    sys.path[0] = os.path.dirname(os.path.realpath("main.py"))
    sys.path_importer_cache.pop(own_path, None)
    sys.path_importer_cache[path] = None
    names["__file__"] = path
    names["__loader__"] = type(names["__loader__"])("__main__", path)
    del sys.modules[__name__]
    zygote.forget(directory)
    return path


def compiled(source, path, flags, text):
    """Compiles as the interpreter does; what that writes, warnings, goes to `text`."""
    stderr, sys.stderr = sys.stderr, text
    try:
        return compile(source, path, "exec", flags, True)
    finally:
        sys.stderr = stderr


def import_quietly(tree, link):
    """Imports, in order, what the program imports in any case and nobody can see."""
    for statement in tree.body:
        kind = type(statement).__name__
        if kind == "Import":
            modules = [alias.name for alias in statement.names]
        elif kind == "ImportFrom" and statement.level == 0:
            modules = [statement.module]
        else:
            continue
        for module in modules:
            if module not in QUIET:
                continue
            try:
                __import__(module)
            except ModuleNotFoundError as error:
                # The program will find out; a module that is there and lacks another one is half imported.
                if error.name != module:
                    link.refuse("an import failed")
            except BaseException:
                link.refuse("an import failed")


class Caught:
    """Keeps what ended the program."""

    def __enter__(self):
        pass

    def __exit__(self, kind, error, trace):
        if Run.link is None:
            # An error of the server.
            return False
        if error is not None:
            # Without the frame of `fast.py`.
            Run.error = error.with_traceback(trace.tb_next)
        return True


class Finish:
    """Ends the process."""

    def __enter__(self):
        pass

    def __exit__(self, kind, error, trace):
        if Run.link is None:
            return
        error, Run.error = Run.error, None
        left_to_interpreter = end(error)
        # Only a run that the interpreter itself shall end comes here.
        Run.link.gc.unfreeze()
        if left_to_interpreter is not None:
            raise left_to_interpreter


def end(error):
    """Ends the process, or gives what has to come out of `fast.py` so that the interpreter ends it alike."""
    is_flushed(sys_attribute("stderr"))
    is_flushed(sys_attribute("stdout"))
    status, kills = 0, False
    if isinstance(error, SystemExit):
        status = plain_status(error)
        if status is None:
            return error
    else:
        if error is not None:
            status, kills = 1, type(error) is KeyboardInterrupt
            show(error)
        for name in ("__file__", "__cached__"):
            Run.names.pop(name, None)
    if is_over() and is_written() and not has_own_file():
        if kills:
            signal = Run.link.signal
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        os._exit(status)
    if kills:
        # Shown already.
        sys.excepthook = lambda kind, error, trace: None
        return error
    return SystemExit(status) if status else None


def plain_status(error):
    """The exit status that a SystemExit asks for, if that is all it asks for."""
    code = error.code
    if code is None:
        return 0
    if type(code) in (int, bool) and -(2**31) <= code < 2**31:
        return code & 0xFF
    return None


def show(error):
    """Writes an error and its traceback as the interpreter does."""
    trace = error.__traceback__
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, trace
    if sys.version_info >= (3, 12):
        sys.last_exc = error
    sys.excepthook(type(error), error, trace)


def is_over():
    """Waits for threads and calls what is to be called at the exit."""
    try:
        threading = sys.modules.get("threading")
        if threading is not None:
            threading._shutdown()
    except BaseException:
        return False
    try:
        atexit = sys.modules.get("atexit")
        if atexit is not None:
            atexit._run_exitfuncs()
    except BaseException:
        # Shown already; it ends nothing.
        pass
    return True


def is_written():
    """Writes out what is still kept, on the standard files and on what the program has put in their places."""
    names = ("stdout", "stderr", "__stdout__", "__stderr__")
    return all([is_flushed(sys_attribute(name)) for name in names])


def is_flushed(file):
    if file is None:
        return True
    try:
        if file.closed:
            return True
    except BaseException:
        pass
    try:
        file.flush()
        return True
    except BaseException:
        return False


def sys_attribute(name):
    return getattr(sys, name, None)


def has_own_file():
    """Whether a file is open that the interpreter may have to write out."""
    for number in OWN_FILES:
        try:
            os.fstat(number)
            return True
        except OSError:
            pass
    return False
