import Diagnostics
import TLSChannel
import WireText

// The profile as a file that an administrator hands out, and as lines that a person compares.
extension DomainProfile {
    package static func read(file path: String) throws -> DomainProfile {
        try DomainProfile(json: try PlainFile(reading: path).all(maximumBytes: 1 << 20))
    }

    /// The JSON of the file; it holds no secret.
    package var fileText: String {
        var json = JSONWriter(reserving: 16 << 10)
        write(to: &json)
        return json.text() + "\n"
    }

    /// What is pinned, in words and values.
    package var summary: [(label: String, value: String)] {
        [
            ("domain", domain), ("authorization server", issuer), ("its certificate", DomainPins.describe(issuerTrust)),
            ("core", core), ("its certificate", DomainPins.describe(coreTrust)), ("KMS", kmsCluster),
            ("roots of the KMS", DomainPins.fingerprints(kmsRoots)),
            ("hosts of meetings", joinHosts.isEmpty ? "the core's" : joinHosts.joined(separator: ", ")),
        ]
    }

    /// Whether a text that somebody was given elsewhere names one of the KMS's roots: SHA-256, colons and case do not
    /// matter.
    package func hasRoot(fingerprint: String) -> Bool {
        func digits(_ text: String) -> String { text.lowercased().filter { $0 != ":" && $0 != " " } }
        return kmsRoots.contains { digits(DomainPins.fingerprint($0)) == digits(fingerprint) }
    }
}

extension ServerTrust {
    /// - Parameter caFile: certificates in PEM form; nil for those of this machine.
    package static func read(caFile: String?, pins: [String] = []) throws -> ServerTrust {
        var parsed: [SPKIPin] = []
        for text in pins {
            guard let pin = SPKIPin(text) else {
                throw DomainProfile.invalid("pin", expected: "sha256/BASE64", found: text.loggable)
            }
            parsed.append(pin)
        }
        guard let caFile else { return ServerTrust(roots: [], pins: parsed) }
        let bytes = try PlainFile(reading: caFile).all(maximumBytes: 1 << 20)
        let roots = try DomainProfile.certificates([String(decoding: bytes, as: UTF8.self)], caFile)
        return ServerTrust(roots: roots, pins: parsed)
    }
}
