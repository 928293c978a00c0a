"""The mail server: whether it would take what we send, without sending anything."""

from __future__ import annotations

import asyncio

from warmdesk.config import Settings
from warmdesk.doctor import Findings, Teller
from warmdesk.doctor.host import is_here
from warmdesk.mail.letters import Place, is_on
from warmdesk.mail.postman import REASONS, NotTaken, Postman
from warmdesk.schemas.settings import SystemSettings

SECONDS = 15.0
ADVICE = {
    "no_host": "correct smtp_host, or see that this host can look names up",
    "unreachable": "see that smtp_host and smtp_port are right, and that no firewall is between",
    "slow": "see that smtp_port and smtp_security belong together: tls is for 465",
    "certificate": "correct smtp_host, or name the authority by SSL_CERT_FILE",
    "no_tls": "see that smtp_port and smtp_security belong together: tls is for 465",
    "unencrypted": "have it offer STARTTLS, or send without a password",
    "no_login": "empty smtp_username, or name a port where it asks for one, such as 587",
    "login": "correct smtp_username and smtp_password",
    "nonsense": "see that smtp_port and smtp_security belong together: tls is for 465",
}

TELL = Teller("mail")


async def mail(found: Settings, values: SystemSettings) -> Findings:
    """Connect and sign in as for a mail, and go."""
    if not values.smtp_host:
        yield TELL.ok("smtp_host is empty: nothing is mailed")
        return
    if not is_on(found, values):
        yield TELL.warning(
            "nothing is mailed, though there is a mail server: base_url is empty",
            "set WARMDESK_BASE_URL, to which links in mails lead",
        )
    where = f"{values.smtp_host}:{values.smtp_port}"
    place = Place.of(found, values)
    try:
        async with Postman(values, own_host=place.host) as postman, asyncio.timeout(SECONDS):
            offer = await postman.offer()
    except (NotTaken, TimeoutError) as error:
        why = error.reason if isinstance(error, NotTaken) else "slow"
        advice = ADVICE.get(why, "look at its log")
        yield TELL.wrong(f"{where}: {REASONS[why]}", advice)
        return
    named = ", ".join(offer.extensions) or "nothing"
    if not offer.encrypted and not is_here(values.smtp_host):
        yield TELL.warning(
            f"{where} is spoken to in clear; it offers {named}",
            "set smtp_security to starttls, or to tls with port 465, where it can do that",
        )
    else:
        over = "by TLS" if offer.encrypted else "in clear, on this machine"
        signed = " after signing in" if values.smtp_username else ""
        yield TELL.ok(f"{where} takes mail {over}{signed}; it offers {named}")
