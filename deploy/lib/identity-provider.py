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


class Handler(http.server.BaseHTTPRequestHandler):
    """Calls at_NAME for a path whose last part is NAME, and tells what went wrong there."""

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
            name = url.path.rsplit("/", 1)[1].replace("-", "_").replace(".json", "")
            getattr(self, "at_" + name)(dict(urllib.parse.parse_qsl(url.query)))
        except Exception as error:
            self.answer(500, f"{type(error).__name__}: {error}")

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        self.path += "?" + self.rfile.read(length).decode()
        self.do_GET()


def openid(_words):
    from oidc_provider_mock import User, run_server_in_thread

    people = [User(sub="subject-" + name, claims=claims) for name, claims in PEOPLE.items()]
    with run_server_in_thread(user_claims=people, require_nonce=True) as server:
        ready(server.server_port)


def logout(words):
    """CLIENT SECRET CALLBACK LOGOUT: idpyoidc's provider, where everybody is Alice.

    GET /end gives the back-channel logout of the last login as idpyoidc would send it: the address, and the token.
    """
    client, secret, callback, logout_uri = words
    import json
    import warnings

    warnings.simplefilter("ignore")
    from idpyoidc.server import Server
    from idpyoidc.server.client_authn import ClientSecretBasic
    from idpyoidc.server.configure import OPConfiguration
    from idpyoidc.server.oidc.authorization import Authorization
    from idpyoidc.server.oidc.provider_config import ProviderConfiguration
    from idpyoidc.server.oidc.session import Session
    from idpyoidc.server.oidc.token import Token
    from idpyoidc.server.oidc.userinfo import UserInfo as UserInfoEndpoint
    from idpyoidc.server.user_info import UserInfo

    sessions = []

    class Provider(Handler):
        def process(self, name, query, **http_info):
            endpoint = provider.get_endpoint(name)
            request = endpoint.parse_request(query, http_info={"headers": http_info})
            if "error" in request:
                return request
            return endpoint.process_request(request)

        def json(self, answer):
            arguments = answer.get("response_args", answer)
            status = 400 if "error" in arguments else 200
            self.answer(status, json.dumps(dict(arguments), default=str), Content_Type="application/json")

        def at_openid_configuration(self, _query):
            self.json(provider.get_endpoint("provider_config").process_request())

        def at_jwks(self, _query):
            self.answer(200, provider.keyjar.export_jwks_as_json(""))

        def at_authorization(self, query):
            answer = self.process("authorization", query)
            sessions.append(answer["session_id"])
            arguments = urllib.parse.urlencode(dict(answer["response_args"]))
            self.answer(303, "", Location=answer["return_uri"] + "?" + arguments)

        def at_token(self, query):
            self.json(self.process("token", query, authorization=self.headers["Authorization"]))

        def at_userinfo(self, query):
            self.json(self.process("userinfo", query, authorization=self.headers["Authorization"]))

        def at_end(self, _query):
            url, token = provider.get_endpoint("session").logout_all_clients(sessions[-1])["blu"][client]
            self.answer(200, url + "\n" + token)

    def keys(*names):
        kinds = [{"type": "OCT", "use": ["enc"], "kid": name} for name in names]
        return {"kwargs": {"keys": {"key_defs": kinds}, "iterations": 1}}

    server, port = serve(Provider)
    base = f"http://127.0.0.1:{port}"
    package = "idpyoidc.server."
    people = {"alice": {key: value for key, value in PEOPLE["alice"].items()}}
    provider = Server(OPConfiguration(base_path=".", conf={
        "issuer": base, "httpc_params": {}, "subject_types_supported": ["public"],
        "key_conf": {"uri_path": "jwks.json", "key_defs": [
            {"type": "RSA", "use": ["sig"]}, {"type": "EC", "crv": "P-256", "use": ["sig"]}]},
        "token_handler_args": {
            "jwks_def": {"key_defs": [{"type": "oct", "bytes": "24", "use": ["enc"], "kid": "code"}]},
            "code": {"lifetime": 600, "kwargs": {"crypt_conf": keys("password", "salt")}},
            "token": {"class": package + "token.jwt_token.JWTToken",
                      "kwargs": {"lifetime": 3600, "add_claims_by_scope": True, "aud": [base]}},
            "id_token": {"class": package + "token.id_token.IDToken", "kwargs": {}}},
        "endpoint": {
            "provider_config": {"path": ".well-known/openid-configuration", "class": ProviderConfiguration,
                                "kwargs": {"client_authn_method": None}},
            "authorization": {"path": "authorization", "class": Authorization, "kwargs": {}},
            "token": {"path": "token", "class": Token,
                      "kwargs": {"client_authn_methods": {"client_secret_basic": ClientSecretBasic}}},
            "userinfo": {"path": "userinfo", "class": UserInfoEndpoint, "kwargs": {}},
            "session": {"path": "end_session", "class": Session, "kwargs": {
                "post_logout_uri_path": "post_logout", "signing_alg": "RS256",
                "logout_verify_url": base + "/verify_logout", "client_authn_method": None}}},
        "authentication": {"anon": {
            "acr": "urn:oasis:names:tc:SAML:2.0:ac:classes:InternetProtocolPassword",
            "class": package + "user_authn.user.NoAuthn", "kwargs": {"user": "alice"}}},
        "userinfo": {"class": UserInfo, "kwargs": {"db": people}},
        "authz": {"class": package + "authz.AuthzHandling", "kwargs": {"grant_config": {
            "expires_in": 43200, "usage_rules": {
                "authorization_code": {"supports_minting": ["access_token", "id_token"], "max_usage": 1},
                "access_token": {}}}}},
        "add_on": {"pkce": {"function": package + "oauth2.add_on.pkce.add_support",
                            "kwargs": {"essential": True, "code_challenge_methods": {"S256": None}}}},
        "session_params": {"encrypter": keys("password", "salt")},
    }), cwd=".")  # fmt: skip
    provider.context.cdb[client] = {
        "client_id": client, "client_secret": secret, "redirect_uris": [(callback, {})],
        "token_endpoint_auth_method": "client_secret_basic", "response_types_supported": ["code"],
        "allowed_scopes": ["openid", "email", "profile"], "backchannel_logout_uri": logout_uri,
    }  # fmt: skip
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ready(port)


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

    class Provider(Handler):
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

    server, port = serve(Provider)
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
