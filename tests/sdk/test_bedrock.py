"""boto3's `bedrock-runtime` client: SigV4 with the caller's key as the access key id."""

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

MESSAGES = [{"role": "user", "content": [{"text": "hello"}]}]


def runtime(url, key):
    return boto3.client(
        "bedrock-runtime", endpoint_url=url, region_name="us-east-1",
        aws_access_key_id=key, aws_secret_access_key="unused",
        config=Config(retries={"max_attempts": 1, "mode": "standard"}, read_timeout=20))


@pytest.fixture
def client(weir):
    return runtime(weir.url, weir.key)


def test_converse(client):
    answer = client.converse(modelId="sim-1", messages=MESSAGES)
    assert answer["output"]["message"]["content"][0]["text"]
    assert answer["usage"]["outputTokens"] == 12


def test_converse_stream(client):
    events = list(client.converse_stream(modelId="sim-1", messages=MESSAGES)["stream"])
    assert any("contentBlockDelta" in event for event in events)
    assert events[-1]["metadata"]["usage"]["outputTokens"] == 12


@pytest.mark.parametrize(("model", "status"), [
    ("sim-1+fault:400", 400), ("unknown-model", 404), ("sim-1+fault:429=3", 429),
    ("sim-1+fault:500", 500), ("sim-1+fault:503", 503)])
def test_typed_errors(client, model, status):
    with pytest.raises(ClientError) as raised:
        client.converse(modelId=model, messages=MESSAGES)
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_unknown_key(weir):
    with pytest.raises(ClientError) as raised:
        runtime(weir.url, "AKIAWRONG").converse(modelId="sim-1", messages=MESSAGES)
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] in (401, 403)


def test_a_broken_stream_raises(client):
    with pytest.raises(EventStreamError):
        list(client.converse_stream(modelId="sim-1+fault:cut=3", messages=MESSAGES)["stream"])
