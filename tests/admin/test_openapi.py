"""Whatever schemathesis makes of the OpenAPI document, the admin API answers what the document says."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
WEIR = ROOT / "target" / "debug" / "weir"
TOKEN = "owner-token-1"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def admin(tmp_path):
    port = free_port()
    config = tmp_path / "weir.yaml"
    config.write_text(f"""
listeners: [{{ address: 127.0.0.1:{free_port()} }}]
admin: {{ address: 127.0.0.1:{port}, tokens: [{{ name: fuzz, role: owner, secret: {{ env: OWNER }} }}] }}
log: {{ access: "off" }}
storage: {{ path: {tmp_path}/weir.db }}
identity: {{ secret: {{ env: SECRET }} }}
access: keys
tenants: {{ acme: {{ teams: {{ research: {{}} }} }} }}
providers: {{ sim: {{ dialect: openai, simulated: {{}} }} }}
pools: {{ sim: {{ targets: [{{ provider: sim }}] }} }}
routes: [{{ pool: sim }}]
""")
    environment = {**os.environ, "OWNER": TOKEN, "SECRET": "a secret of sixteen characters"}
    process = subprocess.Popen([WEIR, "run", "--config", config], env=environment)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 20
    while True:
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=1)
            break
        except OSError:
            assert time.monotonic() < deadline and process.poll() is None, "weir does not start"
            time.sleep(0.05)
    yield url
    assert process.poll() is None, "weir has ended"
    process.terminate()
    process.wait(20)


def test_no_server_error_and_nothing_beside_the_document(admin, tmp_path):
    command = [
        pathlib.Path(sys.executable).parent / "schemathesis", "run", f"{admin}/admin/v1/openapi.json",
        "--header", f"Authorization: Bearer {TOKEN}",
        "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        "--phases", "examples,coverage,fuzzing", "--max-examples", "40", "--seed", "1",
        "--suppress-health-check", "all", "--request-timeout", "10",
    ]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False)
    print(run.stdout[-8000:], run.stderr[-2000:])
    assert run.returncode == 0
    with urllib.request.urlopen(urllib.request.Request(
        f"{admin}/admin/v1/openapi.json", headers={"authorization": f"Bearer {TOKEN}"}
    )) as answer:
        document = json.load(answer)
    # schemathesis reads the document itself; all else it must have asked.
    paths = [path for path in document["paths"] if not path.endswith("openapi.json")]
    count = sum(len(document["paths"][path]) for path in paths)
    assert count >= 16 and f"Tested: {count}" in run.stdout
