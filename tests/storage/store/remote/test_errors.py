import botocore.exceptions
import pytest
from s3fs.errors import translate_boto_error

from storage.errors import StoreError
from storage.store.remote.errors import remote_errors

URL = "s3://bucket/store"


def answer(code: str) -> Exception:
    """The exception that s3fs raises for a server's answer; its message names an object."""
    facts = {"Error": {"Code": code, "Message": "90005_Question_1.mp4"}}
    return translate_boto_error(botocore.exceptions.ClientError(facts, "GetObject"))


def message_of(error: Exception) -> str:
    with pytest.raises(StoreError) as caught, remote_errors(URL):
        raise error
    message = str(caught.value)
    assert message.startswith(f"The store {URL!r} ")
    assert message.endswith(".")
    assert "90005" not in message
    return message


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (answer("NoSuchBucket"), "create the bucket, or name another with --store"),
        (answer("InvalidAccessKeyId"), "does not accept the credentials (InvalidAccessKeyId)"),
        (answer("SignatureDoesNotMatch"), "check AWS_ACCESS_KEY_ID and its secret"),
        (answer("ExpiredToken"), "does not accept the credentials (ExpiredToken)"),
        (answer("AccessDenied"), "list, read, write and delete its objects"),
        (answer("403"), "access denied"),
        (answer("SlowDown"), "is busy (SlowDown): run again"),
        (answer("InvalidBucketName"), "cannot be used (InvalidBucketName)"),
        (botocore.exceptions.NoCredentialsError(), "set AWS_ACCESS_KEY_ID"),
        (botocore.exceptions.ProfileNotFound(profile="other"), "or AWS_PROFILE"),
        (
            botocore.exceptions.EndpointConnectionError(
                endpoint_url="https://s3.example:9000/bucket/90005_Question_1.mp4"
            ),
            "cannot be reached at https://s3.example:9000: check the network",
        ),
        (botocore.exceptions.ConnectTimeoutError(endpoint_url="http://a/b"), "at http://a:"),
        (TimeoutError("90005_Question_1.mp4"), "cannot be reached: check the network"),
        (OSError(5, "90005_Question_1.mp4"), "cannot be used (OSError)"),
    ],
)
def test_an_error_of_the_store_is_one_sentence_without_names(error, expected):
    assert expected in message_of(error)


@pytest.mark.parametrize(
    "error",
    [answer("NoSuchKey"), answer("404"), FileExistsError("x"), ValueError("x"), StoreError("x")],
)
def test_a_missing_object_and_faults_of_the_program_pass_through(error):
    with pytest.raises(type(error)) as caught, remote_errors(URL):
        raise error
    assert caught.value is error
