#!/bin/bash
# A throw-away SMTP or LMTP server for tests (aiosmtpd), on 127.0.0.1, at a port that the kernel chooses.
#
#   deploy/lib/mail-server.sh FOLDER smtp|lmtp [CERTIFICATE KEY]   with them only after STARTTLS
#   deploy/lib/mail-server.sh --install                            puts it into .build/mail-server (from PyPI)
#   deploy/lib/mail-server.sh --find                               1 unless it is there
#
# Each mail becomes FOLDER/mail-NUMBER.eml; with FOLDER/refuse none is taken. Prints `ready PORT`, and ends with its standard input.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
place=$root/.build/mail-server
wanted=aiosmtpd==1.4.6
found() {
    [[ -x $place/bin/python ]] && "$place/bin/python" -c \
        'import sys; from importlib.metadata import version; sys.exit(version("aiosmtpd") != "1.4.6")' 2>/dev/null
}
case ${1:-} in
--find)
    found
    exit
    ;;
--install)
    found && exit
    rm -rf "$place"
    mkdir -p "$root/.build"
    python3 -m venv "$place"
    "$place/bin/python" -m pip install --quiet --disable-pip-version-check "$wanted"
    found
    exit
    ;;
esac
if (($# < 2)); then
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 64
fi
exec "$place/bin/python" - "$@" 3<&0 <<'PYTHON'
import asyncio, os, ssl, sys
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP

folder, dialect = sys.argv[1], sys.argv[2]
context = None
if len(sys.argv) > 4:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3], sys.argv[4])

class Keep:
    count = 0
    async def handle_DATA(self, server, session, envelope):
        if os.path.exists(folder + "/refuse"):
            return "451 not now"
        self.count += 1
        with open(f"{folder}/mail-{self.count}.eml", "wb") as file:
            file.write(f"X-Envelope: {envelope.mail_from} {envelope.rcpt_tos[0]} {bool(session.ssl)}\r\n".encode())
            file.write(envelope.original_content)
        return "250 kept"

async def main():
    loop = asyncio.get_running_loop()
    kind, keep = (LMTP if dialect == "lmtp" else SMTP), Keep()
    make = lambda: kind(keep, tls_context=context, require_starttls=context is not None, hostname="localhost")
    server = await loop.create_server(make, "127.0.0.1", 0)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, lambda: os.read(3, 1))
    os._exit(0)

asyncio.run(main())
PYTHON
