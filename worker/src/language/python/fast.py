# The fork server that holds a program: run as `python3 /z/fast.py`. Nothing here is given a name, because the program
# runs in the module that this is. `Finish` is left after `Caught` has been, so that no error is being handled then.
with __import__("fast_program").Finish(), __import__("fast_program").Caught():
    __import__("fast_program").serve()()
