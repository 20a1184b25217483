# Runs `main.py` as a module and then one case, a piece of code that calls a function of it. Given to `python -c`, with
# the function's name as argument; the case is standard input: a word that is this run's own, a line end, the code.
#
# The program gets neither standard input nor standard output. On the real output stands at the end, behind the word,
# what the case came to: `passed`, or `wrong` where its own assertion failed, and on further lines the value on the
# assertion's left side. Without such a line the program ended before its case did, whatever its exit status.
def drive():
    import _ast
    import os
    import sys

    # Kept under names of this function: the program may put others in their places.
    run, any_error, assertion_error = exec, BaseException, AssertionError
    write, leave, stderr, modules = os.write, os._exit, sys.stderr, sys.modules
    process, own = os.getpid, os.getpid()
    told = os.dup(1)
    pieces = []
    while True:
        piece = os.read(0, 1 << 20)
        if not piece:
            break
        pieces.append(piece)
    word, _, case = b"".join(pieces).partition(b"\n")
    name = sys.argv[1]
    sys.argv[:] = ["main.py"]
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)

    def with_left_side(tree):
        # A last `assert CALL == VALUE` keeps what the call gave.
        last = tree.body and tree.body[-1]
        if not isinstance(last, _ast.Assert) or not isinstance(last.test, _ast.Compare):
            return tree
        left = last.test.left
        if len(last.test.ops) == 1 and isinstance(last.test.ops[0], _ast.Eq) and isinstance(left, _ast.Call):
            place = {name: getattr(left, name) for name in left._attributes}
            target = _ast.Name(id="__left", ctx=_ast.Store(), **place)
            last.test.left = _ast.NamedExpr(target=target, value=left, **place)
        return tree

    def tell(outcome):
        # A child of the program is not what is judged.
        if process() != own:
            leave(1)
        write(told, word + outcome)

    def report(error, trace):
        import linecache
        import traceback

        lines = case.decode("utf-8", "replace").splitlines(True)
        linecache.cache["case"] = (len(case), None, lines, "case")
        traceback.print_exception(type(error), error, trace, file=stderr)
        stderr.flush()

    def fail(error):
        try:
            # The first frame is this file's.
            report(error, error.__traceback__ and error.__traceback__.tb_next)
        finally:
            leave(1)

    # Compiled before the program runs, so that it cannot meddle; told of after it, so that it is judged first.
    try:
        with open("main.py", "rb") as file:
            program = compile(file.read(), "main.py", "exec", dont_inherit=True)
    except any_error as error:
        # Without a traceback, as where the interpreter itself finds it.
        import traceback

        stderr.write("".join(traceback.format_exception_only(type(error), error)))
        stderr.flush()
        leave(1)
    bind = compile("candidate = " + name, "<function>", "exec", dont_inherit=True)
    case_error = None
    try:
        tree = compile(case, "case", "exec", _ast.PyCF_ONLY_AST, dont_inherit=True)
        code = compile(with_left_side(tree), "case", "exec", dont_inherit=True)
    except any_error as error:
        case_error = error

    module = type(sys)("main")
    module.__file__ = "main.py"
    modules["main"] = module
    names = module.__dict__
    try:
        run(program, names)
        run(bind, names)
    except any_error as error:
        fail(error)
    if case_error is not None:
        fail(case_error)
    try:
        run(code, names)
    except assertion_error as error:
        last = error.__traceback__
        while last.tb_next:
            last = last.tb_next
        if last.tb_frame.f_code.co_filename != "case":
            fail(error)
        tell(b" wrong\n")
        try:
            if last.tb_frame.f_code.co_name == "<module>" and "__left" in names:
                left = repr(names["__left"]).encode("utf-8", "replace")
                while left:
                    left = left[write(told, left):]
            report(error, error.__traceback__.tb_next)
        finally:
            leave(0)
    except any_error as error:
        fail(error)
    tell(b" passed\n")
    leave(0)


drive()
