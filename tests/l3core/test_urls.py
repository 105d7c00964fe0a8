"""URLs: which are taken, as what, and where a redirect must not lead."""

import pytest

from l3core.errors import UsageError
from l3core.urls import RefusedError, checked_url, folder_of, is_local, is_web, object_url, redirected


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("https://example.org/a/b.wav", "https://example.org/a/b.wav"),
        ("HTTPS://Example.ORG/A.wav", "https://example.org/A.wav"),
        ("http://example.org:80/a.wav", "http://example.org/a.wav"),
        ("https://example.org:8443/a.wav", "https://example.org:8443/a.wav"),
        ("https://example.org/a%20b%2fc.wav", "https://example.org/a%20b%2fc.wav"),
        ("https://example.org/Köln 1.wav", "https://example.org/Köln 1.wav"),
        ("https://example.org/get?id=1/2&q=", "https://example.org/get?id=1/2&q="),
        ("https://example.org/what?.wav", "https://example.org/what?.wav"),
        ("https://example.org/@user/a..b.wav", "https://example.org/@user/a..b.wav"),
        ("https://archive.example/2020/http://x.org/a.wav",) * 2,
        ("http://[2001:db8::1]:8000/a.wav", "http://[2001:db8::1]:8000/a.wav"),
        ("https://example.org/?file=a.wav&monkey=1", "https://example.org/?file=a.wav&monkey=1"),
    ],
)
def test_a_url_stays_as_it_is_written(given, taken):
    assert is_web(given)
    assert object_url(given) == taken
    assert object_url(taken) == taken


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://user:hush@example.org/a.wav", "a user or password in a URL would be recorded"),
        ("https://hush@example.org/a.wav", "a user or password"),
        ("https://user:hush@example.org:x/a.wav", "is no URL"),
        ("https:///a.wav", "is no URL"),
        ("https://example.org:99999/a.wav", "is no URL"),
        ("https://[::1/a.wav", "is no URL"),
        ("https://example.org/a\nb.wav", "is no URL"),
        ("https://example.org/a.wav#t=10", "write %23"),
        ("https://example.org/a#1.wav", "write %23"),
        ("https://example.org/base/../a.wav", r"without \. and \.\."),
        ("https://example.org/base/%2e%2E/a.wav", r"without \. and \.\."),
        ("https://example.org/./a.wav", r"without \. and \.\."),
        ("https://example.org/a.wav?X-Amz-Signature=hush", "'X-Amz-Signature' in its query looks like"),
        ("https://example.org/a.wav?x=1&X-Goog-Credential=hush", "'X-Goog-Credential'"),
        ("https://example.org/a.wav?sv=2024&sig=hush", "'sig'"),
        ("https://example.org/a.wav?Signature=hush", "'Signature'"),
        ("https://example.org/a.wav?download=1;token=hush", "'token'"),
        ("https://example.org/a.wav?%74oken=hush", "'token'"),
        ("https://example.org/a.wav?access_token=hush", "'access_token'"),
        ("https://example.org/a.wav?apiKey=hush", "'apiKey'"),
        ("https://example.org/a.wav?key=hush", "'key'"),
    ],
)
def test_a_url_that_is_refused_is_told_without_its_secret(url, problem):
    with pytest.raises(UsageError, match=problem) as caught:
        checked_url(url)
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://example.org/*.wav", "web servers do not list, so a URL is no pattern"),
        ("https://example.org/[12].wav", "%5B"),
        ("https://example.org/get?name=*", "is no pattern"),
        ("https://example.org/folder/", "web servers do not list folders"),
        ("https://example.org/", "web servers do not list folders"),
        ("https://example.org", "web servers do not list folders"),
    ],
)
def test_neither_patterns_nor_folders(url, problem):
    with pytest.raises(UsageError, match=problem):
        object_url(url)


def test_the_folder_of_an_object():
    assert folder_of("https://example.org/a/b.wav") == "https://example.org/a"
    assert folder_of("https://example.org/a/get?id=1/2") == "https://example.org/a"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.8.9.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # metadata of a cloud's machine
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:a9fe:a9fe",
        "2002:7f00:1::",  # 6to4 of 127.0.0.1
        "64:ff9b::7f00:1",  # NAT64 of 127.0.0.1
        # other ways to write 127.0.0.1
        "127.1",
        "127.0.0.1.",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
    ],
)
def test_local_addresses(host):
    assert is_local(host)


@pytest.mark.parametrize(
    "host",
    ["93.184.216.34", "2606:2800:220:1::1", "::ffff:5db8:d822", "64:ff9b::5db8:d822", "example.org", ""],
)
def test_other_addresses_and_names(host):
    assert not is_local(host)


@pytest.mark.parametrize(
    ("place", "target", "url"),
    [
        ("https://a.org/x/y.wav", "z.wav", "https://a.org/x/z.wav"),
        ("https://a.org/x/y.wav", "//b.org/z.wav", "https://b.org/z.wav"),
        ("http://a.org/x", "https://a.org/x?X-Amz-Signature=1", "https://a.org/x?X-Amz-Signature=1"),
        ("https://a.org/x", "/z#part", "https://a.org/z"),
    ],
)
def test_where_a_redirect_leads(place, target, url):
    assert redirected(place, target) == url


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("http://a.org/hush", r"from https to http \(a.org\)"),
        ("file:///etc/hush", r"not on the web \(file:\)"),
        ("ftp://a.org/hush", r"not on the web \(ftp:\)"),
        ("https://user:hush@a.org/", r"a user or password \(a.org\)"),
        ("https://[::1/hush", "no URL"),
    ],
)
def test_where_a_redirect_must_not_lead(target, problem):
    with pytest.raises(RefusedError, match=problem) as caught:
        redirected("https://a.org/x", target)
    assert "hush" not in str(caught.value)
