import Cryptography
import Glibc
import TLSChannel
import Testing
import WireText

/// Throw-away certificates for all tests of this target, made once by the `openssl` command in a folder of their own.
///
/// root ─┬─ issuing (pathLen 0) ─┬─ server   localhost, 127.0.0.1
///       │                       ├─ other    other.example
///       │                       ├─ expired, early
///       └─ loose (no pathLen) ──── loose-server
/// stranger (another root) ──────── stranger-server
struct TestPKI: Sendable {
    static let shared = Result { try TestPKI() }

    private let files: [String: String]

    private init() throws {
        var template = Array("/tmp/hds-transport-pki-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw Failure(step: "mkdtemp") }
        let folder = String(cString: made)
        defer { _ = system("rm -rf \(folder)") }
        guard let script = fopen(folder + "/make.sh", "w") else { throw Failure(step: "make.sh") }
        fputs(Self.script, script)
        fclose(script)
        guard system("bash \(folder)/make.sh \(folder) > \(folder)/log 2>&1") == 0 else {
            throw Failure(step: (try? Self.read(folder + "/log")) ?? "openssl")
        }
        var files: [String: String] = [:]
        for name in Self.names {
            for file in ["\(name).pem", "\(name).key"] { files[file] = try Self.read(folder + "/" + file) }
        }
        self.files = files
    }

    private static let names = [
        "root", "issuing", "loose", "server", "other", "expired", "early", "loose-server", "stranger",
        "stranger-server",
    ]

    struct Failure: Error { let step: String }

    func certificate(_ name: String) throws -> Certificate {
        try #require(try Certificate.all(inPEM: text("\(name).pem")).first)
    }

    func key(_ name: String) throws -> PrivateKey { try PrivateKey(pem: text("\(name).key")) }

    func pin(_ name: String) throws -> SPKIPin { try #require(SPKIPin(digest: certificate(name).spkiSHA256)) }

    /// A server's chain of these certificates with the key of the first.
    func identity(_ chain: String...) throws -> TLSServerIdentity {
        TLSServerIdentity(certificateChain: try chain.map(certificate), privateKey: try key(chain[0]))
    }

    func trust(
        _ root: String = "root", pins: [String] = [], requirePathLengthZero: Bool = false
    ) throws -> TLSTrust {
        TLSTrust(
            roots: [try certificate(root)], pins: try pins.map(pin), requirePathLengthZero: requirePathLengthZero)
    }

    /// The PEM text of `NAME.pem` or `NAME.key`.
    func text(_ file: String) throws -> String { try #require(files[file]) }

    private static func read(_ path: String) throws -> String {
        guard let handle = fopen(path, "r") else { throw Failure(step: path) }
        defer { fclose(handle) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while case let count = fread(&buffer, 1, buffer.count, handle), count > 0 { bytes += buffer[..<count] }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static let script = """
        set -euo pipefail
        cd "$1"
        cat > ca.cnf <<'END'
        [req]
        distinguished_name = name
        prompt = no
        [name]
        [ca]
        default_ca = all
        [all]
        database = index.txt
        rand_serial = yes
        new_certs_dir = .
        default_md = sha256
        policy = any
        unique_subject = no
        [any]
        commonName = supplied
        [root]
        basicConstraints = critical, CA:TRUE
        keyUsage = critical, keyCertSign
        subjectKeyIdentifier = hash
        [issuing]
        basicConstraints = critical, CA:TRUE, pathlen:0
        keyUsage = critical, keyCertSign
        subjectKeyIdentifier = hash
        [server]
        basicConstraints = critical, CA:FALSE
        extendedKeyUsage = serverAuth
        subjectAltName = DNS:localhost, IP:127.0.0.1
        [other]
        basicConstraints = critical, CA:FALSE
        extendedKeyUsage = serverAuth
        subjectAltName = DNS:other.example
        END
        touch index.txt
        request() {
            openssl req -config ca.cnf -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \\
                -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
        }
        # make NAME PROFILE ISSUER [START END]
        make() {
            request "$1"
            openssl ca -config ca.cnf -batch -notext -extensions "$2" -in "$1.csr" -out "$1.pem" \\
                -cert "$3.pem" -keyfile "$3.key" \\
                -startdate "${4:-20240101000000Z}" -enddate "${5:-20480101000000Z}"
        }
        for name in root stranger; do
            request $name
            openssl ca -config ca.cnf -batch -notext -extensions root -in $name.csr -out $name.pem \\
                -selfsign -keyfile $name.key -startdate 20240101000000Z -enddate 20480101000000Z
        done
        make issuing issuing root
        make loose root root
        make server server issuing
        make other other issuing
        make expired server issuing 20240101000000Z 20240201000000Z
        make early server issuing 20470101000000Z 20480101000000Z
        make loose-server server loose
        make stranger-server server stranger
        """
}
