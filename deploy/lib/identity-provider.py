"""Runs an identity provider from PyPI for tests: see identity-provider.sh. Ends with its standard input."""

import http.server
import pathlib
import subprocess
import sys
import threading
import urllib.parse

PEOPLE = {
    "alice": {"email": "alice@example.com", "email_verified": True, "name": "Alice Example"},
    "bob": {"email": "bob@example.com", "email_verified": True, "name": "Bob Example"},
    # Says Alice's address, and somebody else's.
    "mallory": {"email": "alice@example.com", "email_verified": True, "name": "Mallory"},
    "unverified": {"email": "alice@example.com", "email_verified": False, "name": "Nobody knows"},
    "foreign": {"email": "root@example.net", "email_verified": True, "name": "Of another domain"},
    "new": {"email": "new@example.com", "email_verified": True, "name": "New Example"},
}


def ready(port):
    pathlib.Path("ready").touch()
    print("ready", port, flush=True)
    sys.stdin.read()


def serve(handler):
    """A web server in a thread of its own; its port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    return server, server.server_address[1]


def openid(_words):
    from oidc_provider_mock import User, run_server_in_thread

    people = [User(sub="subject-" + name, claims=claims) for name, claims in PEOPLE.items()]
    with run_server_in_thread(user_claims=people, require_nonce=True) as server:
        ready(server.server_port)


def saml(words):
    """ENTITY SLO response|assertion|both METADATA: pysaml2's provider for the service of these metadata.

    GET /sso?SAMLRequest=...&as=NAME gives the form's fields as the page gives them, GET /logout?as=NAME the address to
    which a logout that begins here sends the browser, GET /slo takes a logout that begins there. /certificate is PEM.
    """
    entity, slo, sign, metadata = words
    import warnings

    warnings.simplefilter("ignore")
    from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT
    from saml2.config import IdPConfig
    from saml2.saml import NAMEID_FORMAT_PERSISTENT, NameID
    from saml2.server import Server

    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "certificate.pem",
         "-days", "30", "-subj", "/CN=provider"], check=True, stderr=subprocess.DEVNULL)  # fmt: skip
    pathlib.Path("service.xml").write_text(metadata)
    names = {name: NameID(format=NAMEID_FORMAT_PERSISTENT, text="subject-" + name) for name in PEOPLE}
    sessions = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def answer(self, status, text, **headers):
            body = text.encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            try:
                url = urllib.parse.urlsplit(self.path)
                query = dict(urllib.parse.parse_qsl(url.query))
                getattr(self, "at_" + url.path.strip("/"))(query)
            except Exception as error:  # The test sees what went wrong.
                self.answer(500, f"{type(error).__name__}: {error}")

        def at_certificate(self, _query):
            self.answer(200, pathlib.Path("certificate.pem").read_text())

        def at_sso(self, query):
            signature = {}
            if "Signature" in query:
                signature = {"sigalg": query["SigAlg"], "signature": query["Signature"]}
            request = idp.parse_authn_request(
                query["SAMLRequest"], BINDING_HTTP_REDIRECT, relay_state=query.get("RelayState"), **signature)
            arguments = idp.response_args(request.message)
            who = query["as"]
            response = idp.create_authn_response(
                {"mail": [PEOPLE[who]["email"]], "displayName": [PEOPLE[who]["name"]]},
                name_id=names[who], authn={"class_ref": "urn:oasis:names:tc:SAML:2.0:ac:classes:Password"},
                sign_response=sign in ("response", "both"), sign_assertion=sign in ("assertion", "both"),
                **{key: arguments[key] for key in ("in_response_to", "destination", "sp_entity_id")})
            import re

            text = str(response)
            sessions[who] = re.search('SessionIndex="([^"]*)"', text)[1]
            form = idp.apply_binding(BINDING_HTTP_POST, text, arguments["destination"], "", response=True)
            self.answer(200, form["data"], Content_Type="text/html")

        def at_logout(self, query):
            who = query["as"]
            _, request = idp.create_logout_request(
                slo, entity, name_id=names[who], session_indexes=[sessions[who]])
            info = idp.apply_binding(BINDING_HTTP_REDIRECT, str(request), slo, "relayed", sign=True)
            self.answer(303, "", Location=dict(info["headers"])["Location"])

        def at_slo(self, query):
            if "SAMLResponse" in query:
                self.answer(200, "signed out")
                return
            request = idp.parse_logout_request(
                query["SAMLRequest"], BINDING_HTTP_REDIRECT, relay_state=query.get("RelayState"),
                sigalg=query.get("SigAlg"), signature=query.get("Signature"))
            response = idp.create_logout_response(request.message, [BINDING_HTTP_REDIRECT])
            info = idp.apply_binding(
                BINDING_HTTP_REDIRECT, str(response), slo, query.get("RelayState", ""), response=True, sign=True)
            self.answer(303, request.message.name_id.text, Location=dict(info["headers"])["Location"])

    server, port = serve(Handler)
    base = f"http://127.0.0.1:{port}"
    sha256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
    idp = Server(config=IdPConfig().load({
        "entityid": base + "/metadata", "xmlsec_binary": "/usr/bin/xmlsec1", "key_file": "key.pem",
        "cert_file": "certificate.pem", "metadata": {"local": ["service.xml"]},
        "service": {"idp": {
            # By itself it signs with SHA-1.
            "signing_algorithm": sha256, "digest_algorithm": "http://www.w3.org/2001/04/xmlenc#sha256",
            "endpoints": {
                "single_sign_on_service": [(base + "/sso", BINDING_HTTP_REDIRECT)],
                "single_logout_service": [(base + "/slo", BINDING_HTTP_REDIRECT)]},
            "want_authn_requests_signed": True,
            "policy": {"default": {
                "lifetime": {"minutes": 5}, "attribute_restrictions": None,
                "name_form": "urn:oasis:names:tc:SAML:2.0:attrname-format:uri"}}}},
    }))  # fmt: skip
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ready(port)


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2:])
