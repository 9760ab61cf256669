"""Tokens of an OpenID Connect provider that others wrote, as its authorisation code flow issues them."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import openai
import pytest
from conftest import BIN, free_port, wait_for

REDIRECT = "http://localhost/done"


class Provider:
    def __init__(self, port):
        self.port = port
        self.issuer = f"http://localhost:{port}"
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "oidc_provider_mock", "--port", str(self.port), "--host", "127.0.0.1"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        wait_for(f"{self.issuer}/.well-known/openid-configuration", self.process)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)

    def send(self, method, path, body, kind="application/x-www-form-urlencoded"):
        data = json.dumps(body) if kind.endswith("json") else urllib.parse.urlencode(body)
        request = urllib.request.Request(self.issuer + path, data.encode(), {"content-type": kind}, method=method)
        opener = urllib.request.build_opener(NoRedirect)
        try:
            return opener.open(request, timeout=10)
        except urllib.error.HTTPError as answer:
            assert answer.code in (302, 303), answer.read()
            return answer

    def token(self, user, client="weir", **claims):
        """An id token for a user, by the authorisation code flow."""
        self.send("PUT", f"/users/{user}", claims, "application/json")
        query = urllib.parse.urlencode({
            "client_id": client, "redirect_uri": REDIRECT, "response_type": "code", "scope": "openid", "state": "s",
        })
        answer = self.send("POST", f"/oauth2/authorize?{query}", {"sub": user})
        code = urllib.parse.parse_qs(urllib.parse.urlparse(answer.headers["location"]).query)["code"][0]
        answer = self.send("POST", "/oauth2/token", {
            "grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT,
            "client_id": client, "client_secret": "any",
        })
        return json.load(answer)["id_token"]


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


@pytest.fixture
def provider():
    provider = Provider(free_port())
    provider.start()
    yield provider
    provider.stop()


@pytest.fixture
def proxy(provider, tmp_path):
    port, admin = free_port(), free_port()
    config = tmp_path / "weir.yaml"
    config.write_text(f"""
listeners: [{{ address: 127.0.0.1:{port} }}]
admin: {{ address: 127.0.0.1:{admin} }}
runtime: {{ threads: 1 }}
log: {{ access: {tmp_path}/access.jsonl }}
access: keys
tenants:
  acme: {{ teams: {{ research: {{ models: ["sim-*"] }}, sales: {{ models: [] }} }} }}
issuers:
  mock: {{ issuer: '{provider.issuer}', audience: [weir], tenant: acme, refresh: 1h, claims: {{ team: team }} }}
providers:
  sim: {{ dialect: openai, simulated: {{ ttft: 0ms, inter_token: 0ms, tokens: 5 }} }}
pools:
  sim: {{ targets: [{{ provider: sim }}] }}
routes: [{{ pool: sim }}]
""")
    process = subprocess.Popen([BIN / "weir", "run", "--config", config], env=os.environ)
    wait_for(f"http://127.0.0.1:{admin}/readyz", process)
    yield f"http://127.0.0.1:{port}/v1", tmp_path / "access.jsonl"
    process.terminate()
    process.wait(20)


def ask(url, token, model="sim-1"):
    client = openai.OpenAI(base_url=url, api_key=token, max_retries=0)
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}])


def test_a_token_of_the_provider_is_its_user(provider, proxy):
    url, log = proxy
    alice = provider.token("alice", team="research")
    assert ask(url, alice).choices[0].message.content
    with pytest.raises(openai.PermissionDeniedError):
        ask(url, alice, model="other-1")
    assert ask(url, provider.token("bob", team="sales"), model="other-1").choices
    with pytest.raises(openai.AuthenticationError):
        ask(url, provider.token("eve", team="unknown"))
    with pytest.raises(openai.AuthenticationError):
        ask(url, provider.token("alice", client="another-service", team="research"))
    deadline = time.monotonic() + 5
    while '"caller":"@mock/alice"' not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_new_keys_of_the_provider_are_found(provider, proxy):
    url, _ = proxy
    before = provider.token("alice", team="research")
    assert ask(url, before).choices
    # It makes itself new keys at each start.
    provider.stop()
    assert ask(url, before).choices, "what is known does not need the provider"
    provider.start()
    after = provider.token("alice", team="research")
    deadline = time.monotonic() + 20
    while True:
        try:
            assert ask(url, after).choices
            break
        except openai.AuthenticationError:
            assert time.monotonic() < deadline, "the new key is never read"
            time.sleep(0.2)
    with pytest.raises(openai.AuthenticationError):
        ask(url, before)
