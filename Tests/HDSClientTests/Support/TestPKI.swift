import Cryptography
import Glibc
import KMSProtocol
import Testing
import WireText

/// Throw-away certificates of a KMS and of those who would like to be it, made once by the `openssl` command.
///
/// root ─── issuing ─┬─ kms       CN and first dNSName kms.example.com, RSA 2048
///                   ├─ renewed   the same with another key
///                   ├─ other     other.example.com
///                   ├─ cn        CN other.example.com, dNSName kms.example.com
///                   ├─ ip        an iPAddress before the dNSName
///                   ├─ uri       only URI:kms://kms.example.com
///                   ├─ wildcard  *.example.com
///                   ├─ expired
///                   └─ small     RSA 1024
/// stranger: self-signed, CN and dNSName kms.example.com
struct TestPKI: Sendable {
    static let host = "kms.example.com"
    static let shared = Result { try TestPKI() }

    private let files: [String: String]

    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private init() throws {
        let folder = TemporaryFolder()
        try folder.write("make.sh", Self.script)
        guard system("bash \(folder.path)/make.sh \(folder.path) > \(folder.path)/log 2>&1") == 0 else {
            throw Failure(description: try folder.text("log"))
        }
        var files: [String: String] = [:]
        for name in Self.leaves + ["root", "issuing", "stranger"] {
            for file in ["\(name).pem", "\(name).key"] { files[file] = try folder.text(file) }
        }
        self.files = files
    }

    private static let leaves = ["kms", "renewed", "other", "cn", "ip", "uri", "wildcard", "expired", "small"]

    func text(_ file: String) throws -> String { try #require(files[file]) }
    func certificate(_ name: String) throws -> Certificate {
        try #require(try Certificate.all(inPEM: text("\(name).pem")).first)
    }
    func key(_ name: String) throws -> PrivateKey { try PrivateKey(pem: text("\(name).key")) }

    /// The details document with this leaf's key and these certificates; `change` may spoil the JWK's members.
    func details(
        _ leaf: String = "kms", chain: [String]? = nil, cluster: String = "kms://\(TestPKI.host)", kid: String? = nil,
        members: [(String, String)] = [], leavingOut: Set<String> = [], asObject: Bool = false, modulus: [UInt8]? = nil
    ) throws -> [UInt8] {
        let certificate = try certificate(leaf)
        let key = certificate.publicKey
        var jwk = JSONWriter()
        jwk.beginObject()
        let values = [
            ("kty", "RSA"), ("kid", kid ?? "kms://\(Self.host)/statickeys/\(certificate.serialNumberDecimal)"),
            ("e", Base64URL.encode(key.rsaExponent ?? [1, 0, 1])),
            ("n", Base64URL.encode(try modulus ?? #require(key.rsaModulus))),
        ]
        for (name, value) in values + members where !leavingOut.contains(name) { jwk.member(name, value) }
        let certificates = try (chain ?? [leaf, "issuing"]).map { Base64.encode(try self.certificate($0).der) }
        if !leavingOut.contains("x5c") { jwk.member("x5c", certificates) }
        jwk.endObject()
        var json = JSONWriter()
        json.beginObject()
        if !leavingOut.contains("kmsCluster") { json.member("kmsCluster", cluster) }
        json.member("kmsMachineAccountId", "4d0c0000-0000-4000-8000-000000000000")
        if asObject {
            json.name("rsaPublicKey")
            json.raw(jwk.text())
        } else if !leavingOut.contains("rsaPublicKey") {
            json.member("rsaPublicKey", jwk.text())
        }
        json.endObject()
        return json.bytes()
    }

    private static let script = """
        set -euo pipefail
        cd "$1"
        H=\(host)
        ca() { # name subject issuer extension
            local signer=()
            [[ -n $3 ]] && signer=(-CA $3.pem -CAkey $3.key)
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 30 -subj "$2" \\
                -addext "basicConstraints=critical,$4" -addext "keyUsage=critical,keyCertSign" "${signer[@]}" \\
                -keyout $1.key -out $1.pem
        }
        leaf() { # name common-name alternative-names bits days
            openssl req -newkey rsa:$4 -nodes -subj "/CN=$2" -keyout $1.key -out $1.csr
            printf 'subjectAltName=%s\\nbasicConstraints=critical,CA:FALSE\\n' "$3" > $1.ext
            openssl x509 -req -in $1.csr -CA issuing.pem -CAkey issuing.key -CAcreateserial -sha256 -days $5 \\
                -extfile $1.ext -out $1.pem
        }
        ca root "/CN=Test root" "" "CA:TRUE"
        ca issuing "/CN=Test issuing CA" root "CA:TRUE,pathlen:0"
        leaf kms $H DNS:$H 2048 20
        leaf renewed $H DNS:$H 2048 20
        leaf other other.example.com DNS:other.example.com 2048 20
        leaf cn other.example.com DNS:$H 2048 20
        leaf ip $H IP:127.0.0.1,DNS:$H 2048 20
        leaf uri $H URI:kms://$H 2048 20
        leaf wildcard '*.example.com' 'DNS:*.example.com' 2048 20
        leaf expired $H DNS:$H 2048 -1
        leaf small $H DNS:$H 1024 20
        openssl req -x509 -newkey rsa:2048 -nodes -sha256 -days 20 -subj "/CN=$H" -addext "subjectAltName=DNS:$H" \\
            -addext "basicConstraints=critical,CA:FALSE" -keyout stranger.key -out stranger.pem
        """
}
