#!/bin/bash
# A throw-away identity provider for tests, on 127.0.0.1, at a port that the kernel chooses.
#
#   deploy/lib/identity-provider.sh FOLDER openid [WORD...]    oidc-provider-mock: people alice, bob, mallory
#   deploy/lib/identity-provider.sh FOLDER logout [WORD...]    idpyoidc: the same, with back-channel logout
#   deploy/lib/identity-provider.sh FOLDER saml [WORD...]      pysaml2: the same
#   deploy/lib/identity-provider.sh --install                  puts them into .build/identity-providers (from PyPI)
#   deploy/lib/identity-provider.sh --find                     1 unless they are there
#
# FOLDER is made, and deleted at the end. Prints `ready PORT`, or a line that says why not, and ends with its standard
# input, so that no server is left behind by a test that dies.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
place=$root/.build/identity-providers
wanted=(oidc-provider-mock==0.3.4 idpyoidc==5.0.0 pysaml2==7.5.5)
found() {
    [[ -x $place/bin/python ]] || return 1
    "$place/bin/python" - "${wanted[@]}" 2>/dev/null <<'PYTHON'
import sys
from importlib.metadata import version
sys.exit(any(version(name) != number for name, number in (word.split("==") for word in sys.argv[1:])))
PYTHON
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
    "$place/bin/python" -m pip install --quiet --disable-pip-version-check "${wanted[@]}"
    found
    exit
    ;;
esac
if (($# < 2)); then
    sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
    exit 64
fi
folder=$1
shift
finish() {
    # One line that says why, for the folder goes.
    [[ ! -s $folder/log ]] || [[ -f $folder/ready ]] || tail -qn 3 "$folder/log" | tr '\n' ' ' | cut -c 1-600
    cd /
    rm -rf "$folder"
}
trap finish EXIT
# Ends by its input only: a signal to the terminal's group is not for it.
trap '' INT
mkdir -p "$folder"
cd "$folder"
AUTHLIB_INSECURE_TRANSPORT=1 "$place/bin/python" "$root/deploy/lib/identity-provider.py" "$@" 2>"$folder/log"
