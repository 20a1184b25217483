# Runs the file that its first argument names as the program itself would be run, and tells its two answers, the exit
# statuses 0 and 1, from an exception that it did not catch: to Python that is status 1 too.
def run(sys):
    del sys.argv[0], globals()["run"]
    globals()["__file__"] = sys.argv[0]
    try:
        with open(sys.argv[0], "rb") as file:
            code = compile(file.read(), sys.argv[0], "exec", dont_inherit=True)
        exec(code, globals())
    except SystemExit:
        raise
    except BaseException:
        try:
            kind, error, trace = sys.exc_info()
            # Without the frame of this function, which is nobody's fault.
            sys.__excepthook__(kind, error, trace.tb_next)
        finally:
            raise SystemExit(2)


run(__import__("sys"))
