"""Secrets in URLs by hand: which are refused, how variables are read, what is shown."""

import pytest

from itememb_core.errors import UsageError
from itememb_core.urls import check_url, expanded, hidden, opened

SET = {"KEY": "AKIA1", "SECRET": 'a/b@c+d:e"é', "STAGE": "prod", "URL": "ftp://me:pass word@host/x"}
#: A URL with a secret, and how it is shown.
REFUSED = {
    "s3://AKIA:ab/c+d@bucket/raw": "s3://AKIA:***@bucket/raw",
    "ftp://me:p@w@host/x": "ftp://me:***@host/x",
    "ftp://${KEY}:pw@host/x": "ftp://${KEY}:***@host/x",
    "ftp://me:${KEY}x@host/x": "ftp://me:***@host/x",
    "simplecache::ftp://me:pw@host/raw": "simplecache::ftp://me:***@host/raw",
    "https://h/raw?a=1&token=x": "https://h/raw?a=1&token=***",
    "https://h/raw?X-Amz-Signature=x&b=2": "https://h/raw?X-Amz-Signature=***&b=2",
    "https://h/raw#access_token=x": "https://h/raw#access_token=***",
}
TAKEN = (
    "data/raw", "/a@b:c/raw", "s3://bucket/raw", "s3://bucket/a:b@c", "ftp://host:21/x@y",
    "ftp://me@host/x", "abfs://box@account/raw", "s3://${KEY}:${SECRET}@bucket/raw",
    "https://h/raw?token=${KEY}", "https://h/raw?page=1", "zip://a@b::memory://x:1/y",
)  # fmt: skip


@pytest.mark.parametrize("url", REFUSED)
def test_a_secret_that_is_spelled_out_is_refused_and_not_shown(url):
    with pytest.raises(UsageError) as error:
        check_url("raw", url)
    assert f"raw: {REFUSED[url]} holds a secret" in str(error.value)
    assert "${NAME}" in str(error.value)


@pytest.mark.parametrize("url", TAKEN)
def test_other_urls_are_taken_as_they_are(url):
    assert check_url("raw", url) == url


def test_a_login_goes_to_the_file_system_by_its_own_names():
    s3 = opened("s3://${KEY}:${SECRET}@bucket/${STAGE}", SET)
    assert (s3.url, s3.protocol) == ("s3://bucket/prod", "s3")
    assert s3.options == {"key": SET["KEY"], "secret": SET["SECRET"]}
    ftp = opened("simplecache::ftp://me:${SECRET}@host/x", SET)
    assert (ftp.url, ftp.protocol) == ("simplecache::ftp://host/x", "ftp")
    assert ftp.options == {"username": "me", "password": SET["SECRET"]}
    web = opened("https://me:${SECRET}@host/x", SET)
    assert web.url == "https://me:a%2Fb%40c%2Bd%3Ae%22%C3%A9@host/x"
    assert not web.options
    whole = opened("${URL}", SET)
    assert whole.url == "ftp://host/x"
    assert whole.options["password"] == "pass word"
    assert opened("/data/${STAGE}/raw", SET).url == "/data/prod/raw"


@pytest.mark.parametrize(
    ("url", "named"),
    [("s3://${NONE}:${KEY}@b/x", "NONE"), ("${}", "no name"), ("a${KEY", "without")],
)
def test_a_variable_that_is_not_set_is_named(url, named):
    for read in (expanded, opened):
        with pytest.raises(UsageError, match=named) as error:
            read(url, SET)
        assert url in str(error.value)


def test_values_are_hidden_in_every_spelling():
    url = "s3://${KEY}:${SECRET}@bucket/${STAGE}"
    text = (
        'AKIA1 a/b@c+d:e"é a/b%40c%2Bd%3Ae%22%C3%A9 a%2Fb%40c%2Bd%3Ae%22%C3%A9 a/b@c+d:e\\"\\u00e9'
    )
    assert hidden(text, url, SET) == "${KEY} ${SECRET} ${SECRET} ${SECRET} ${SECRET}"
    assert hidden("text", "s3://bucket", SET) == "text"
