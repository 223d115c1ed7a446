import Diagnostics
import Glibc
import Synchronization
import TestServers
import WireText

@testable import AuditTrail

/// A folder for one trail, a key, a witness file and a clock that only tests move.
final class AuditFixture: Sendable {
    static let start = Timestamp(iso8601: "2026-11-26T11:05:00Z")!

    let temporary = TemporaryFolder()
    let key: AttestationKey
    private let time = Mutex(AuditFixture.start)

    init(key: AttestationKey? = nil) throws { self.key = try key ?? .createP256() }

    var folder: String { temporary.path + "/audit" }
    var witness: String { temporary.path + "/witness" }
    var now: Timestamp {
        get { time.withLock { $0 } }
        set { time.withLock { $0 = newValue } }
    }
    func advance(seconds: Int64) { time.withLock { $0 = $0.adding(seconds: seconds) } }

    var configuration: AuditTrailConfiguration {
        var configuration = AuditTrailConfiguration(folder: folder, node: "kms-1", key: key)
        configuration.witnesses = [FileWitness(witness)]
        configuration.witnessFiles = [witness]
        configuration.clock = { [self] in now }
        return configuration
    }

    func open(_ change: (inout AuditTrailConfiguration) -> Void = { _ in }) async throws -> AuditTrail {
        var configuration = configuration
        change(&configuration)
        return try await AuditTrail.open(configuration)
    }

    func record(_ number: Int, status: Int = 200) -> AuditRecord {
        var record = AuditRecord(.decision, at: now)
        record.user = "u:\(number % 3)"
        record.effectiveUser = "u:\(number % 3)"
        record.client = "c:7"
        record.method = "retrieve"
        record.type = "KEY"
        record.object = "o:\(number)"
        record.requestId = "request-\(number % 2)"
        record.rule = status < 400 ? "member" : "not-a-member"
        record.path = "o:1/o:2"
        record.status = status
        record.durationUs = 120
        record.sealed = "c2VhbGVk"
        return record
    }

    func fill(_ trail: AuditTrail, _ numbers: Range<Int>) async throws {
        for number in numbers { try await trail.keep(record(number)) }
    }

    func seal(_ trail: AuditTrail, position: Int64? = nil) async throws {
        try await trail.sealHead(now: now, position: position)
        await trail.witnessesSettled()
    }

    /// Three segments with heads: what most tests tamper with. Closed.
    func story() async throws -> AuditTrail {
        let trail = try await open()
        for hour in 0..<3 {
            try await fill(trail, hour * 10..<hour * 10 + 5)
            try await seal(trail, position: Int64(hour))
            try await fill(trail, hour * 10 + 5..<hour * 10 + 8)
            if hour < 2 {
                try await seal(trail)
                advance(seconds: 3600)
                try await trail.sealRoot(now: now)
            }
        }
        return trail
    }

    func verify(witness: Bool = false, key: AttestationKey? = nil) throws -> VerificationReport {
        let trust = AttestationTrust(keys: [(key ?? self.key).publicKey])
        return try TrailVerifier(folder: folder, trust: trust, witnesses: witness ? [self.witness] : []).verify()
    }

    /// The break that the verification finds.
    func finding(witness: Bool = false, key: AttestationKey? = nil) throws -> DiagnosedError? {
        do {
            _ = try verify(witness: witness, key: key)
            return nil
        } catch let error as DiagnosedError {
            return error
        }
    }

    // MARK: Files

    var segments: [String] { temporary.names(in: "audit").filter { $0.hasSuffix(".audit") } }

    func read(_ name: String) throws -> [UInt8] { try SmallFile.read("\(folder)/\(name)", limit: 1 << 28) }

    func write(_ name: String, _ bytes: [UInt8]) {
        let descriptor = Glibc.open("\(folder)/\(name)", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        defer { close(descriptor) }
        _ = Glibc.write(descriptor, bytes, bytes.count)
    }

    func lines(_ name: String) throws -> [String] {
        String(decoding: try read(name), as: UTF8.self).split(separator: "\n").map(String.init)
    }

    func write(_ name: String, lines: [String]) { write(name, Array(lines.map { $0 + "\n" }.joined().utf8)) }

    /// All files of the folder, to put back an old state.
    func copy() throws -> [String: [UInt8]] {
        let names = temporary.names(in: "audit").filter { $0 != "trail.lock" }
        return try Dictionary(uniqueKeysWithValues: names.map { ($0, try read($0)) })
    }

    func putBack(_ files: [String: [UInt8]]) {
        for name in temporary.names(in: "audit") where name != "trail.lock" { unlink("\(folder)/\(name)") }
        for (name, bytes) in files { write(name, bytes) }
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

/// Real files with faults in front: the n-th write or sync fails, some of the octets may get through.
final class FaultingFileSystem: TrailFileSystem {
    struct Faults {
        /// Octets that may still be written before the disk is full; nil is no end.
        var room: Int?
        var syncFails = false
        var truncateFails = false
        var removeFails = false
        var syncs = 0
        /// For tests that open hundreds of trails and never lose power.
        var skipsSyncs = false
    }

    let faults = Mutex(Faults())

    func set(_ change: (inout Faults) -> Void) { faults.withLock { change(&$0) } }

    func openSegment(_ path: String) throws(DiagnosedError) -> any AppendFile {
        FaultingFile(try PosixAppendFile(path), self)
    }

    func remove(_ path: String) throws(DiagnosedError) {
        if faults.withLock({ $0.removeFails }) { throw Self.failure("removing") }
        try PosixFileSystem().remove(path)
    }

    func synchronizeFolder(_ path: String) throws(DiagnosedError) {
        if !faults.withLock({ $0.skipsSyncs }) { try PosixFileSystem().synchronizeFolder(path) }
    }

    static func failure(_ what: String) -> DiagnosedError {
        DiagnosedError(.auditBlocked, fault: .store, "injected: \(what)", found: "a full disk", hint: "free space")
    }

    private final class FaultingFile: AppendFile {
        let file: PosixAppendFile
        let system: FaultingFileSystem

        init(_ file: PosixAppendFile, _ system: FaultingFileSystem) {
            self.file = file
            self.system = system
        }

        func append(_ bytes: [UInt8]) throws(DiagnosedError) {
            let allowed = system.faults.withLock { faults -> Int in
                guard let room = faults.room else { return bytes.count }
                let allowed = min(room, bytes.count)
                faults.room = room - allowed
                return allowed
            }
            try file.append(Array(bytes[..<allowed]))
            if allowed < bytes.count { throw FaultingFileSystem.failure("writing") }
        }

        func synchronize() throws(DiagnosedError) {
            let (fails, skips) = system.faults.withLock { faults in
                faults.syncs += 1
                return (faults.syncFails, faults.skipsSyncs)
            }
            if fails { throw FaultingFileSystem.failure("syncing") }
            if !skips { try file.synchronize() }
        }

        func truncate(to count: Int) throws(DiagnosedError) {
            if system.faults.withLock({ $0.truncateFails }) { throw FaultingFileSystem.failure("cutting") }
            try file.truncate(to: count)
        }
    }
}
