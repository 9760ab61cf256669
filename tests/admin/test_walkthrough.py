"""The walk-through of conf/identity.md, followed literally."""

import csv
import json
import os
import re
import subprocess

from test_openapi import ROOT, WEIR, free_port


def test_it_goes_as_written(tmp_path):
    text = (ROOT / "conf" / "identity.md").read_text()
    text = text[text.index("## A walk-through"):]
    # The ports are the machine's, and may be taken.
    for port in ("8080", "9090"):
        text = text.replace(port, str(free_port()))
    admin = re.search(r"admin:\n  address: (\S+)", text).group(1)
    yaml, = re.findall(r"```yaml\n(.*?)```", text, re.S)
    steps = re.findall(r"```sh\n(.*?)```", text, re.S)
    assert len(steps) >= 7
    (tmp_path / "weir.yaml").write_text(yaml)
    binaries = tmp_path / "bin"
    binaries.mkdir()
    # The default address of the admin listener is another here; everything else is as written.
    (binaries / "weir").write_text(
        f'#!/bin/sh\ncase $1 in keys|access|audit) what=$1; shift; exec {WEIR} "$what" --admin {admin} "$@";; esac\n'
        f'exec {WEIR} "$@"\n'
    )
    (binaries / "weir").chmod(0o755)
    # A subshell negated by `!` does not end a script by itself.
    script = "set -eu\ntrap 'kill %1' EXIT\n" + "\n".join(steps)
    script = re.sub(r"^! (weir .*)$", r"if \1; then exit 1; fi", script, flags=re.M)
    environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"}
    run = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    print(run.stdout[-4000:], run.stderr[-4000:])
    assert run.returncode == 0
    assert '"action": "access.approve"' in run.stdout and '"broken"' not in run.stdout
    assert '"outcome": "refused"' in run.stdout
    # The monthly report: two teams, three keys, and what each has used.
    lines = run.stdout.splitlines()
    begin = next(at for at, line in enumerate(lines) if line.startswith("tenant,team,key,requests"))
    report = {row["key"]: row for row in csv.DictReader(lines[begin:begin + 5]) if row["tenant"] == "acme"}
    assert {key: row["team"] for key, row in report.items()} == {
        "notebooks": "research", "batch": "research", "assistant": "sales"
    }
    # Each was answered with 20 tokens; `notebooks` with its first and its second key.
    used = {key: int(row["output_tokens"]) for key, row in report.items()}
    assert used == {"notebooks": 60, "batch": 20, "assistant": 20}, report
    asked = json.loads((tmp_path / "report.json").read_text())["items"]
    assert {row["key"]: row["output_tokens"] for row in asked if row["tenant"] == "acme"} == used
    with (tmp_path / "requests.csv").open() as file:
        assert sum(row["status"] == "200" for row in csv.DictReader(file)) == 5
