"""Runs an identity provider from PyPI for tests: see identity-provider.sh. Ends with its standard input."""

import pathlib
import sys

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


def openid(_words):
    from oidc_provider_mock import User, run_server_in_thread

    people = [User(sub="subject-" + name, claims=claims) for name, claims in PEOPLE.items()]
    with run_server_in_thread(user_claims=people, require_nonce=True) as server:
        ready(server.server_port)


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2:])
