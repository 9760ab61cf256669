"""weir before upstreams that others wrote."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
BIN = ROOT / "target" / "debug"
PY = pathlib.Path(sys.executable).parent
sys.path.append(str(ROOT / "tests" / "sdk"))  # the conversations
AIMOCK = ROOT / "target" / "real" / "node" / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
# What each of them speaks, and the path before which.
UPSTREAMS = {
    "aimock": {"chat_completions": "/v1", "responses": "/v1", "anthropic": "", "gemini": "",
               "cohere": "", "bedrock": ""},
    "llmock": {"chat_completions": "/v1", "responses": "/v1", "anthropic": "/anthropic",
               "gemini": "/gemini", "cohere": "/cohere"},
    "katan": {"chat_completions": "/v1", "anthropic": "", "bedrock": ""},
    "llama": {"chat_completions": "/v1", "responses": "/v1", "anthropic": ""},
}
DIALECT = {"chat_completions": "openai", "responses": "openai"}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(url, process, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with {process.returncode}")
        try:
            urllib.request.urlopen(url, timeout=1)
            return
        except urllib.error.HTTPError as error:
            if error.code != 503:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer")


def command(name, port):
    return {
        "aimock": ["node", AIMOCK, "-p", port, "-f", HERE / "aimock.json"],
        "llmock": [PY / "llmock", "serve", "--host", "127.0.0.1", "--port", port, "--log-level", "warning"],
        "katan": [PY / "llm-katan", "--model", "tiny", "--backend", "echo", "--host", "127.0.0.1",
                  "--port", port, "--providers", "openai,anthropic,bedrock", "--log-level", "warning"],
        "llama": [sys.executable, HERE / "llama.py", port],
    }[name]


def configuration(port, admin, ports):
    lines = [
        "listeners:", f"  - address: 127.0.0.1:{port}", f"admin: {{ address: 127.0.0.1:{admin} }}",
        "runtime: { threads: 1 }", "access: open", "log: { access: ACCESS }", "providers:",
    ]
    pools, routes = ["pools:"], ["routes:"]
    for upstream, formats in UPSTREAMS.items():
        for name, path in formats.items():
            own = f", formats: [{name}]" if name in DIALECT else ""
            lines.append(
                f"  {upstream}-{name}: {{ dialect: {DIALECT.get(name, name)}, "
                f"base_url: 'http://127.0.0.1:{ports[upstream]}{path}'{own}, keys: [{{ env: UPSTREAM_KEY }}] }}")
            pools.append(
                f"  {upstream}-{name}: {{ targets: [{{ provider: {upstream}-{name} }}],"
                " breaker: { consecutive_failures: 0, error_percent: 0 },"
                " timeouts: { first_token: 60s, total: 120s } }")
            routes.append(f"  - {{ match: {{ model: '{upstream}-{name}*' }}, pool: {upstream}-{name} }}")
    return "\n".join(lines + pools + routes) + "\n"


class Weir:
    def __init__(self, port, log, ports):
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self.ports = ports


@pytest.fixture(scope="session")
def weir(tmp_path_factory):
    work = tmp_path_factory.mktemp("weir")
    env = {**os.environ, "UPSTREAM_KEY": "upstream-key-1", "HOME": str(work)}
    ports = {name: free_port() for name in UPSTREAMS}
    port, admin = free_port(), free_port()
    log, config = work / "access.jsonl", work / "weir.yaml"
    config.write_text(configuration(port, admin, ports).replace("ACCESS", str(log)))
    running = []

    def start(arguments, url):
        output = open(work / f"{len(running)}.log", "w")
        process = subprocess.Popen([str(a) for a in arguments], env=env, stdout=output, stderr=output)
        running.append(process)
        wait_for(url, process)

    try:
        for name in UPSTREAMS:
            start(command(name, ports[name]), f"http://127.0.0.1:{ports[name]}/health")
        start([BIN / "weir", "run", "--config", config], f"http://127.0.0.1:{admin}/readyz")
        yield Weir(port, log, ports)
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="session")
def calls_when_it_has_to(weir):
    """Whether the small model makes the call that is required of it, asked without weir."""
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    question = {
        "model": "any",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "What is the weather in Oslo?"}],
        "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": city}}],
        "tool_choice": "required",
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{weir.ports['llama']}/v1/chat/completions",
        data=json.dumps(question).encode(), headers={"content-type": "application/json"})
    answer = json.load(urllib.request.urlopen(request, timeout=120))
    return bool(answer["choices"][0]["message"].get("tool_calls"))
