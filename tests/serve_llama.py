"""llama.cpp's own HTTP server (llama-server), run as `python -m tests.serve_llama FILE PORT`: a real OpenAI-compatible one."""

from __future__ import annotations

import sys
import time


def main(file: str, port: int, slots: int, context: int) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = file
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_parallel = slots
    params.n_ctx = context * slots
    params.kv_unified = False
    params.ctx_shift = False
    params.cache_ram_mib = 0
    params.warmup = False
    params.ui = False
    params.use_jinja = True
    params.verbosity = -1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main(sys.argv[1], *(int(one) for one in sys.argv[2:]))
