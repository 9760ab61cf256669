"""A weir with one simulated upstream that checks its credential, for the client libraries."""

import os
import pathlib
import socket
import subprocess
import time
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = ROOT / "target" / "debug"
KEY = "weir-test-key-1"
DIALECTS = ["openai", "anthropic", "gemini", "cohere", "bedrock"]
# Every format of an upstream, for clients of every other.
FORMATS = {"chat_completions": "openai", "responses": "openai", **{d: d for d in DIALECTS[1:]}}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(url, process):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
        try:
            urllib.request.urlopen(url, timeout=1)
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{url} does not answer")


def configuration(port, admin, upstream):
    base = {d: "/v1" if d == "openai" else "" for d in DIALECTS}
    lines = [
        "listeners:",
        f"  - address: 127.0.0.1:{port}",
        f"admin: {{ address: 127.0.0.1:{admin} }}",
        "runtime: { threads: 1 }",
        "bounds: { body: 1MiB }",
        "log: { access: ACCESS }",
        "access: keys",
        "tenants:",
        "  sdk:",
        "    keys: [{ name: tests, secret: { env: WEIR_TEST_KEY } }]",
        "providers:",
    ]
    # A 429 makes its target rest: it gets a provider of its own, so that no other test waits for it.
    for name in DIALECTS:
        for kind in ["", "-limited"]:
            lines.append(
                f"  {name}{kind}: {{ dialect: {name}, base_url: 'http://127.0.0.1:{upstream}{base[name]}',"
                " keys: [{ env: UPSTREAM_KEY }] }"
            )
    # These refuse what their provider would refuse.
    for name, dialect in FORMATS.items():
        formats = f", formats: [{name}]" if dialect == "openai" else ""
        lines.append(
            f"  via-{name}: {{ dialect: {dialect}, base_url: 'http://127.0.0.1:{upstream}{base[dialect]}'{formats},"
            " keys: [{ env: UPSTREAM_KEY }], headers: { x-mock-strict: '1' } }"
        )
    lines.append("pools:")
    lines.extend(f"  via-{name}: {{ targets: [{{ provider: via-{name} }}] }}" for name in FORMATS)
    for name in DIALECTS:
        for kind in ["", "-limited"]:
            lines.append(
                f"  {name}{kind}: {{ targets: [{{ provider: {name}{kind} }}],"
                " timeouts: { first_token: 1s, inter_token: 1s },"
                " breaker: { consecutive_failures: 0, error_percent: 0 } }"
            )
    lines.append("routes:")
    lines.extend(f"  - {{ match: {{ model: 'via-{name}-*' }}, pool: via-{name} }}" for name in FORMATS)
    for name in DIALECTS:
        for kind in ["-limited", ""]:
            model = '"*+fault:429*"' if kind else '["sim-*", "gpt-*"]'
            lines.append(
                f"  - {{ match: {{ model: {model}, when: 'request.dialect == \"{name}\"' }}, pool: {name}{kind} }}"
            )
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def weir(tmp_path_factory):
    work = tmp_path_factory.mktemp("weir")
    port, admin, upstream = free_port(), free_port(), free_port()
    env = {**os.environ, "WEIR_TEST_KEY": KEY, "UPSTREAM_KEY": "upstream-key-1"}
    log = work / "access.jsonl"
    config = work / "weir.yaml"
    config.write_text(configuration(port, admin, upstream).replace("ACCESS", str(log)))
    mock = subprocess.Popen(
        [BIN / "weir-loadtest", "mock", "--address", f"127.0.0.1:{upstream}",
         "--require-key", "--key", "upstream-key-1", "--tokens", "12"],
        env=env, stdout=subprocess.DEVNULL,
    )
    proxy = None
    try:
        wait_for(f"http://127.0.0.1:{upstream}/__mock/stats", mock)
        proxy = subprocess.Popen([BIN / "weir", "run", "--config", config], env=env)
        wait_for(f"http://127.0.0.1:{admin}/readyz", proxy)
        yield Weir(port, log)
    finally:
        for process in filter(None, [proxy, mock]):
            process.terminate()
            process.wait(20)


class Weir:
    def __init__(self, port, log):
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self.key = KEY
