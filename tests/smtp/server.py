"""An SMTP server for the tests: aiosmtpd, set up as the arguments say.

Usage: server.py SECURITY [CERTIFICATE KEY] [USER PASSWORD]

SECURITY is plain, starttls or tls; user and password may be left out, or are given as one argument "user:password". Prints its port, then one line of
JSON for each mail it took: envelope sender, recipients, whether the client had logged in and over TLS, and the mail as it came.
Recipients that begin with "unknown" are refused for good, those that begin with "busy" for now, and those that begin with "after" are not answered before a
mail to one that does not was taken. Ends when its standard input is closed.
"""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("unknown"):
            return "550 5.1.1 no such mailbox here"
        if address.startswith("busy"):
            return "450 4.2.0 greylisted, come back later"
        if address.startswith("after"):
            await another.wait()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        told = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "hello": session.host_name,
            "authenticated": bool(session.authenticated),
            "tls": session.ssl is not None or security == "tls",
            "mail": envelope.content.decode("utf-8"),
        }
        print(json.dumps(told), flush=True)
        if not all(address.startswith("after") for address in envelope.rcpt_tos):
            another.set()
        return "250 2.0.0 queued as 4711"


security = sys.argv[1]
rest = sys.argv[2:]
context = None
if security != "plain":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(rest[0], rest[1])
    rest = rest[2:]
account = rest[0].split(":", 1) if rest else None
another = asyncio.Event()


def authenticate(server, session, envelope, mechanism, data):
    given = [data.login.decode(), data.password.decode()]
    # Not "handled": the server itself answers one that fails.
    return AuthResult(success=given == account, handled=False)


def server():
    options = {"hostname": "mail.test", "enable_SMTPUTF8": True}
    if account:
        options.update(authenticator=authenticate, auth_required=True, auth_require_tls=security == "starttls")
    if security == "starttls":
        options.update(tls_context=context, require_starttls=True)
    return SMTP(Handler(), **options)


async def main():
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(server, "127.0.0.1", 0, ssl=context if security == "tls" else None)
    print(listening.sockets[0].getsockname()[1], flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        pass


asyncio.run(main())
