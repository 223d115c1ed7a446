# shellcheck shell=bash disable=SC2034
# What a fresh Debian 12 with Swift needs besides, installed only when it is missing. Sourced, not run; needs terminal.sh.

build_packages=(libssl-dev libsqlite3-dev libsystemd-dev libp11-kit-dev libpq-dev libstemmer-dev libseccomp-dev
    libarchive-dev libxml2-dev pkg-config)
run_packages=(openssl)
# Peers that nobody here wrote, for the tests of interoperability; the server of a database; a hardware token's stand-in;
# proxies.
test_packages=(curl python3 postgresql softhsm2 opensc squid tinyproxy-bin qrencode zbar-tools
    poppler-utils python3-dateutil tzdata)
# Without these some tests are skipped: a browser for the health page.
wanted_packages=(chromium)

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
