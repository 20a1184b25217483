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
            sys.__excepthook__(*sys.exc_info())
        finally:
            raise SystemExit(2)


run(__import__("sys"))
