import Diagnostics
import FoundationEssentials
import Glibc
import KeyStore
import SecretMemory
import WireText

@testable import MasterKey

/// A directory of mode 0700 that is gone with the value.
final class TemporaryDirectory: Sendable {
    let root: String

    init() throws {
        var template = Array("/tmp/hds-master-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestFailure(description: "mkdtemp: \(errno)") }
        root = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    func path(_ name: String) -> String { "\(root)/\(name)" }
}

struct TestFailure: Error, CustomStringConvertible {
    let description: String
}

let start = Timestamp(seconds: 1_700_000_000)
let id = "0b5e4c1a-9a64-4d0e-8a53-3f3f8c2e1d00"

extension SealRing {
    static func open(_ store: any KeyStore, _ kek: KeyEncryptionKey) async throws -> SealRing {
        try await open(kek: kek, store: store, now: start)
    }

    func seal(_ text: String, kind: RecordKind = .key, id: String = id, version: Int64 = 1) throws -> [UInt8] {
        try Array(text.utf8).withUnsafeBytes { try seal($0, kind: kind, id: id, version: version) }
    }

    func openText(_ sealed: [UInt8], kind: RecordKind = .key, id: String = id, version: Int64 = 1) throws -> String {
        let plain = try open(sealed, kind: kind, id: id, version: version)
        return plain.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }
}

extension SessionSealRing {
    func record(_ text: String, day: Int64 = 0, id: String = id) async throws -> SessionRecord {
        let kek = try await currentKEK(now: start.adding(seconds: day * 86_400))
        let sealed = try Array(text.utf8).withUnsafeBytes { try seal($0, under: kek, id: id) }
        let expires = start.adding(seconds: (day + 1) * 86_400)
        return SessionRecord(
            id: id, kek: kek.id, user: [UInt8](repeating: 1, count: 16), expires: expires, sealed: sealed)
    }

    func openText(_ record: SessionRecord) async throws -> String {
        let plain = try await open(record)
        return plain.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }
}

/// The code of the error that the body throws; nil when it throws none or another kind.
func code(of body: () async throws -> Void) async -> DiagnosedError.Code? {
    do {
        try await body()
        return nil
    } catch {
        return (error as? DiagnosedError)?.code
    }
}
