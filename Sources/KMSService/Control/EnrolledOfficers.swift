import Diagnostics
import Glibc
package import ServiceRuntime
import SignedPolicy
import Synchronization

/// The officers as the file of officers has them now: whose signatures count for policies and commands.
///
/// Without the file nobody can sign and everything that only reads works. A file that can not be used is refused and
/// the officers stay who they were.
final class EnrolledOfficers: Sendable {
    let file: FileLocation?
    private let state: Mutex<OfficerRoster>

    init(file: FileLocation?) throws {
        self.file = file
        state = Mutex(try file.map { try Self.read($0) } ?? .empty)
    }

    var roster: OfficerRoster { state.withLock { $0 } }

    /// Reads the file and takes nothing over.
    func judge() throws { if let file { _ = try Self.read(file) } }

    /// Reads the file again; whether the officers are others than before.
    @discardableResult
    func reload() throws -> Bool {
        guard let file else { return false }
        let roster = try Self.read(file)
        return state.withLock { state in
            defer { state = roster }
            return state != roster
        }
    }

    /// Who may write the file can enrol officers: nobody but root and the service's own user.
    private static func read(_ file: FileLocation) throws -> OfficerRoster {
        var status = stat()
        guard stat(file.path, &status) == 0 else {
            // Nobody is enrolled yet.
            if errno == ENOENT { return .empty }
            return try OfficerRoster(json: Array(file.text(upTo: OfficerRoster.maximumBytes).utf8))
        }
        guard status.st_uid == 0 || status.st_uid == geteuid(), status.st_mode & 0o022 == 0 else {
            throw DiagnosedError(
                .officersMalformed, fault: .configuration, "the file of officers \(file.path) can be changed by others",
                expected: "a file of root or of the service's user, without write permission for others",
                found: "owner \(status.st_uid), mode 0\(String(status.st_mode & 0o7777, radix: 8))",
                hint: "chown root \(file.path) && chmod 644 \(file.path), and compare the officers' fingerprints anew")
        }
        return try OfficerRoster(json: Array(try file.text(upTo: OfficerRoster.maximumBytes).utf8))
    }
}

/// Who is an officer.
package struct OfficersSection: Decodable, Sendable {
    /// As `hdsctl officer create` prints them; nil: nobody can sign.
    package let file: FileLocation?

    package enum CodingKeys: String, CodingKey, CaseIterable { case file }

    package init() { file = nil }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        file = try section.optional(.file)
    }
}
