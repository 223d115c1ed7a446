# shellcheck shell=bash disable=SC2034
# What a fresh Debian 12 with Swift needs besides, installed only when it is missing. Sourced, not run; needs terminal.sh.

build_packages=(libssl-dev libsqlite3-dev libsystemd-dev libp11-kit-dev libpq-dev libstemmer-dev libseccomp-dev
    libarchive-dev libxml2-dev libldap-dev pkg-config)
# xmlsec1 verifies the signatures of SAML providers.
run_packages=(openssl xmlsec1)
# Peers that nobody here wrote, for the tests of interoperability; the server of a database; a hardware token's stand-in;
# proxies; a directory.
test_packages=(curl python3 python3-venv postgresql softhsm2 opensc squid tinyproxy-bin qrencode zbar-tools
    poppler-utils python3-dateutil tzdata slapd ldap-utils sqlite3)
# Without these some tests are skipped: a browser for pages, what installs packages of Python, a reader of sealed volumes.
wanted_packages=(chromium python3-pip python3-cryptography)

# How programs are built that leave this machine: with Swift's libraries inside, and without the table of names that only
# loaded modules would look up (half a megabyte of each program's part of the package).
release_build=(swift build -c release --static-swift-stdlib -Xlinker --no-export-dynamic)

# Readers from PyPI that nobody here wrote, for the tests of eDiscovery exports: beside the build, by their digest.
python_packages=("bagit==1.9.0 --hash=sha256:9455006c2d1df88be95ec1fccabc5ea623389589ea4c85b3d85bd256f29d7656")

# want_python_packages: into .build/python; says so loudly where that can not be done.
want_python_packages() {
    local wanted log
    wanted=$(printf '%s\n' "${python_packages[@]}")
    if [[ $(cat .build/python/wanted 2>/dev/null) == "$wanted" ]]; then return 0; fi
    rm -rf .build/python
    mkdir -p .build/python
    log=$(mktemp)
    if python3 -m pip install -q --no-deps --require-hashes --target .build/python \
        -r <(printf '%s\n' "$wanted") >"$log" 2>&1 </dev/null; then
        printf '%s\n' "$wanted" >.build/python/wanted
        good "installed ${python_packages[*]%% *} for the tests"
    else
        tail -n 3 "$log" >&2
        warn "######################################################################"
        warn "## ${python_packages[*]%% *} can not be installed: ITS TESTS ARE SKIPPED"
        warn "######################################################################"
    fi
    rm -f "$log"
}

# want_packages NAME...: installs what is missing where that can be done, and says so loudly where not.
want_packages() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    ((${#missing[@]})) || return 0
    (require_packages "$@") && return 0
    warn "######################################################################"
    warn "## ${missing[*]} can not be installed: ITS TESTS ARE SKIPPED"
    warn "######################################################################"
}

# want_calendar_servers: real CalDAV servers, which Debian 12 has too old; says so loudly where they can not be had.
want_calendar_servers() {
    local script=deploy/lib/calendar-server.sh log
    "$script" --find && return 0
    say "installing Radicale and Xandikos into .build/calendar-servers with pip"
    log=$(mktemp)
    if "$script" --install >"$log" 2>&1 </dev/null; then
        rm -f "$log"
        good "installed Radicale and Xandikos"
        return 0
    fi
    tail -n 5 "$log" >&2
    rm -f "$log"
    warn "######################################################################"
    warn "## no calendar servers can be had from PyPI: THEIR TESTS ARE SKIPPED"
    warn "######################################################################"
}

# want_identity_providers: real providers for logins by SAML and OpenID Connect; says so loudly where they can not be had.
want_identity_providers() {
    local script=deploy/lib/identity-provider.sh log
    "$script" --find && return 0
    say "installing pysaml2, oidc-provider-mock and idpyoidc into .build/identity-providers with pip"
    log=$(mktemp)
    if "$script" --install >"$log" 2>&1 </dev/null; then
        rm -f "$log"
        good "installed identity providers"
        return 0
    fi
    tail -n 5 "$log" >&2
    rm -f "$log"
    warn "######################################################################"
    warn "## no identity providers can be had from PyPI: THEIR TESTS ARE SKIPPED"
    warn "######################################################################"
}

# want_mail_server: a real SMTP and LMTP server; says so loudly where it can not be had.
want_mail_server() {
    local script=deploy/lib/mail-server.sh
    "$script" --find && return 0
    say "installing aiosmtpd into .build/mail-server with pip"
    "$script" --install >/dev/null 2>&1 </dev/null && return 0
    warn "######################################################################"
    warn "## no mail server can be had from PyPI: ITS TESTS ARE SKIPPED"
    warn "######################################################################"
}

# require_swift: a toolchain that can build this.
require_swift() {
    command -v swift >/dev/null ||
        die "swift is not installed or not in PATH" \
            "install Swift 6.3 for Debian 12 from https://www.swift.org/install/linux/ and try again"
    local version
    version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n 1)
    local major=${version%%.*} minor=${version#*.}
    ((${major:-0} > 6 || (${major:-0} == 6 && ${minor:-0} >= 3))) ||
        die "Swift 6.3 or newer is needed, found ${version:-none}" \
            "install Swift 6.3 for Debian 12 from https://www.swift.org/install/linux/"
}

# missing_packages NAME...: those that are not installed.
missing_packages() {
    local name
    for name in "$@"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || echo "$name"
    done
}

# require_packages NAME...: installs what is missing with apt-get, through sudo when this is not root.
require_packages() {
    command -v dpkg-query >/dev/null ||
        die "this is no Debian system: there is no dpkg" "install what these Debian packages hold: $*"
    local missing
    mapfile -t missing < <(missing_packages "$@")
    if ((${#missing[@]} == 0)); then
        good "nothing to install: $* are there"
        return
    fi
    local as_root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null ||
            die "these packages are missing, and there is neither root nor sudo to install them: ${missing[*]}" \
                "run as root: apt-get install --no-install-recommends ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing ${missing[*]} with apt-get"
    local log
    log=$(mktemp)
    # shellcheck disable=SC2024 # the log belongs to the caller, not to root
    if ! { "${as_root[@]}" apt-get update -q &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        die "apt-get could not install ${missing[*]}" "see its last lines above; is a Debian 12 mirror reachable?"
    fi
    rm -f "$log"
    good "installed ${missing[*]}"
}
