import pytest
from apprise import Apprise

from flows.operations.notifications import mail_url
from storage.errors import ConfigError


@pytest.mark.parametrize(
    ("smtp", "host", "port", "secure", "user"),
    [
        ("smtp://localhost", "localhost", 25, False, None),
        ("smtp://127.0.0.1:2525", "127.0.0.1", 2525, False, None),
        ("smtps://bot:p%40ss@mail.example.org", "mail.example.org", 465, True, "bot"),
        ("smtps://bot:pw@mail.example.org:587", "mail.example.org", 587, True, "bot"),
    ],
)
def test_a_mail_server_becomes_a_url_that_apprise_sends_mail_through(
    smtp: str, host: str, port: int, secure: bool, user: str | None
) -> None:
    client = Apprise()
    assert client.add(mail_url("a.b+ops@example.org", smtp))
    (mail,) = client
    assert (mail.smtp_host, mail.port, mail.secure, mail.user) == (host, port, secure, user)
    assert mail.targets == [(False, "a.b+ops@example.org")]
    if smtp.startswith("smtps://bot:p%40ss"):
        assert mail.password == "p@ss"


@pytest.mark.parametrize("address", ["ops", "@example.org", "ops@", "a b@example.org"])
def test_what_is_no_address_is_a_mistake(address: str) -> None:
    with pytest.raises(ConfigError, match="NAME@DOMAIN"):
        mail_url(address, "smtp://localhost")


@pytest.mark.parametrize(
    "smtp", ["localhost:25", "http://localhost", "smtp://", "smtp://u:pw@localhost:mail"]
)
def test_what_is_no_mail_server_is_a_mistake_that_shows_no_password(smtp: str) -> None:
    with pytest.raises(ConfigError, match="WAVER_SMTP is not the URL"):
        mail_url("ops@example.org", smtp)
