import Cryptography
import Diagnostics
import SecretMemory
import WireText

/// The one file in which a `SigningKeyRing` outlives the process: PEM blocks, each under lines that say what it is.
///
/// ```
/// key: current
/// kid: Xr3…
/// created: 2026-03-01T00:00:00.000Z
/// since: 2026-03-31T00:00:00.000Z
/// -----BEGIN PRIVATE KEY-----
/// …
/// ```
/// One file and not one per key, so that one rename changes the whole state: a crash leaves the ring before or after.
/// Retired keys are there by their public half alone. Reading checks that each `kid` is the key's own thumbprint, so a file
/// pieced together by hand is found. Mode 0600; one with more is refused.
enum SigningKeyFile {
    static let kind = "signing key file"
    static let maximumBytes = 256 << 10

    static func read(_ path: String) throws -> (ring: SigningKeyRing, identity: FileAccess.Identity) {
        var (bytes, identity) = try FileAccess.read(path, maximumBytes: maximumBytes, forbidden: 0o077, kind: kind)
        defer { wipe(&bytes) }
        return (try parse(bytes, file: path), identity)
    }

    static func write(_ ring: SigningKeyRing, to path: String) throws {
        var bytes = try encode(ring)
        defer { wipe(&bytes) }
        try FileAccess.replace(path, with: bytes, kind: kind)
    }

    static func encode(_ ring: SigningKeyRing) throws -> [UInt8] {
        var bytes = Array(
            """
            # Signing keys of hds-auth. The program writes this file; a change by hand makes it unreadable.
            # Roll the keys with: hds-auth roll-keys

            """.utf8)
        func head(_ role: String, _ lines: [(String, Timestamp)], kid: String) -> [UInt8] {
            let lines = ["key: \(role)", "kid: \(kid)"] + lines.map { "\($0): \($1.iso8601)" }
            return Array(("\n" + lines.joined(separator: "\n") + "\n").utf8)
        }
        func append(_ key: PrivateKey) throws {
            let pem = try key.pem()
            pem.withUnsafeBytes { bytes.append(contentsOf: $0) }
        }
        // Enough room, so that growing leaves no copy of a private key in freed memory.
        bytes.reserveCapacity(4096 + ring.retired.count * 512)
        bytes += head("current", [("created", ring.current.created), ("since", ring.since)], kid: ring.current.kid)
        try append(ring.current.privateKey)
        bytes += head("next", [("created", ring.next.created)], kid: ring.next.kid)
        try append(ring.next.privateKey)
        for key in ring.retired {
            bytes += head("retired", [("until", key.until)], kid: key.kid)
            bytes += Array(key.publicKey.pem.utf8)
        }
        return bytes
    }

    static func parse(_ bytes: [UInt8], file: String) throws -> SigningKeyRing {
        var current: (SigningKeyRing.SigningKey, since: Timestamp)?
        var next: SigningKeyRing.SigningKey?
        var retired: [SigningKeyRing.RetiredKey] = []
        var kids: Set<String> = []
        for entry in try Entry.all(in: bytes, file: file) {
            let kid = try entry.text("kid")
            let publicKey: PublicKey
            switch entry.role {
            case "current", "next":
                let key = try entry.privateKey()
                publicKey = key.publicKey
                let signingKey = SigningKeyRing.SigningKey(key, created: try entry.time("created"))
                if entry.role == "current", current == nil {
                    current = (signingKey, try entry.time("since"))
                } else if entry.role == "next", next == nil {
                    next = signingKey
                } else {
                    throw entry.refusal("a second \(entry.role) key")
                }
            case "retired":
                publicKey = try entry.publicKey()
                retired.append(.init(kid: kid, publicKey: publicKey, until: try entry.time("until")))
            default: throw entry.refusal("an unknown kind of key")
            }
            guard publicKey.kind == .p256, SigningKeyRing.thumbprint(publicKey) == kid else {
                throw entry.refusal("a key that does not belong to its kid")
            }
            guard kids.insert(kid).inserted else { throw entry.refusal("a key that is there twice") }
        }
        guard let current, let next else {
            throw DiagnosedError(
                .signingKeyFile, fault: .store, "\(file): the current or the next signing key is missing",
                hint: "restore the file from a backup, or move it away: new keys are made and all users sign in again")
        }
        return SigningKeyRing(current: current.0, since: current.since, next: next, retired: retired)
    }

    /// One key with the lines above it.
    private struct Entry {
        let file: String
        let line: Int
        var lines: [String: String]
        var pem: ArraySlice<UInt8>

        var role: String { lines["key"] ?? "" }

        /// Cuts the file without making text of the private keys.
        static func all(in bytes: [UInt8], file: String) throws(DiagnosedError) -> [Entry] {
            var entries: [Entry] = []
            var start = 0
            var number = 0
            var pemStart: Int?
            while start < bytes.count {
                let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
                let line = bytes[start..<end]
                number += 1
                if line.starts(with: "-----BEGIN ".utf8) {
                    pemStart = start
                } else if line.starts(with: "-----END ".utf8) {
                    guard let begin = pemStart, !entries.isEmpty, entries[entries.count - 1].pem.isEmpty else {
                        throw damaged(file, line: number)
                    }
                    entries[entries.count - 1].pem = bytes[begin..<end]
                    pemStart = nil
                } else if pemStart == nil, !line.isEmpty, line.first != UInt8(ascii: "#") {
                    let text = String(decoding: line, as: UTF8.self)
                    guard let colon = text.firstRange(of: ": ") else { throw damaged(file, line: number) }
                    let name = String(text[..<colon.lowerBound])
                    if name == "key" { entries.append(Entry(file: file, line: number, lines: [:], pem: [])) }
                    guard !entries.isEmpty else { throw damaged(file, line: number) }
                    entries[entries.count - 1].lines[name] = String(text[colon.upperBound...])
                }
                start = end + 1
            }
            guard pemStart == nil else { throw damaged(file, line: number) }
            return entries
        }

        func text(_ name: String) throws(DiagnosedError) -> String {
            guard let text = lines[name] else { throw refusal("a key without the line \(name)") }
            return text
        }

        func time(_ name: String) throws(DiagnosedError) -> Timestamp {
            guard let time = Timestamp(iso8601: try text(name)) else {
                throw refusal("a key with a malformed time in the line \(name)")
            }
            return time
        }

        func privateKey() throws -> PrivateKey {
            do { return try pem.withUnsafeBytes { try PrivateKey(pem: $0) } } catch {
                throw refusal("a key that can not be read")
            }
        }

        func publicKey() throws(DiagnosedError) -> PublicKey {
            do { return try PublicKey(pem: String(decoding: pem, as: UTF8.self)) } catch {
                throw refusal("a key that can not be read")
            }
        }

        func refusal(_ what: String) -> DiagnosedError {
            DiagnosedError(
                .signingKeyFile, fault: .store, "\(file):\(line): the signing key file holds \(what)",
                hint: "restore the file from a backup, or move it away: new keys are made and all users sign in again")
        }

        private static func damaged(_ file: String, line: Int) -> DiagnosedError {
            Entry(file: file, line: line, lines: [:], pem: []).refusal("a line that the program did not write")
        }
    }
}
