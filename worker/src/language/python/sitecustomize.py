# The fork server that holds no program: `python3 main.py`, stopped while `site` looks for a `sitecustomize` and finds
# this file over PYTHONPATH. The process of a run goes on where a fresh interpreter does when it has looked for one:
# it reads, compiles, runs and finalises the program by itself.
import os
import sys


def serve(directory):
    """Returns in the process of a run only: what the search for the real `sitecustomize` came to."""
    import zygote

    sys.path.remove(directory)
    del os.environ["PYTHONPATH"]
    zygote.forget(directory)
    link = zygote.Link()
    # The import system takes what stands under this name at the end for the module that it has loaded.
    del sys.modules["sitecustomize"]
    found = None
    try:
        import sitecustomize
    except BaseException as error:
        found = error.with_traceback(None)
    link.fork_per_run()
    return found


found = serve(os.path.dirname(__file__))
if found is not None:
    raise found
