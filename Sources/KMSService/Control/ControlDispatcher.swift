import AuditTrail
import ControlSocket
import Diagnostics
import JOSESignature
import KeyManagement
import SignedPolicy
import WireText

/// Gives each command of the control socket to whoever carries it out, when who asks may.
///
/// Rules (security model, rule 6):
/// 1. The socket lets in root, the service's own user and the operators' group.
/// 2. A command with a duty needs the signature of an officer who has it, and of a second one where it says so.
/// 3. What officers asked for stands in the audit trail before anything is done; what can not be kept is not done. While
///    the trail is blocked no key is released either, so nobody needs a freeze then.
struct ControlDispatcher: ControlHandler {
    private let commands: [String: ControlCommand]
    private let desk: OfficerDesk
    private let audit: DecisionAudit?
    private let events: any EventRecorder
    private let heartbeat: Duration

    /// - Parameter heartbeat: how often a client hears that its command goes on; it gives up after 30 s of silence.
    init(
        _ commands: [ControlCommand], desk: OfficerDesk, audit: DecisionAudit?, events: any EventRecorder,
        heartbeat: Duration = .seconds(10)
    ) {
        self.commands = Dictionary(commands.map { ($0.name, $0) }) { first, _ in first }
        self.desk = desk
        self.audit = audit
        self.events = events
        self.heartbeat = heartbeat
    }

    /// Which duty each command needs, for the desk.
    static func duties(of commands: [ControlCommand]) -> [String: Officer.Duty] {
        Dictionary(commands.compactMap { command in command.duty.map { (command.name, $0) } }) { first, _ in first }
    }

    func perform(
        _ request: ControlRequest, peer: PeerCredentials, progress: ControlProgress
    ) async throws -> ControlAnswer {
        guard let command = commands[request.command] else {
            throw DiagnosedError(
                .controlUnknownCommand, fault: .client, "there is no command \(request.command.quotedForError)",
                expected: commands.keys.sorted().joined(separator: ", "))
        }
        let interval = heartbeat
        let beating = Task {
            while true {
                try await Task.sleep(for: interval)
                progress("still at it")
            }
        }
        defer { beating.cancel() }
        guard let duty = command.duty else { return try await command.run(request.arguments, nil, peer, progress) }
        let approval = try await desk.approve(
            command: request.command, arguments: request.arguments, signature: request.signature,
            confirmation: request.confirmation,
            needsSecond: { try await command.needsSecond(request.arguments) }, now: { .now() })
        try await note(approval, duty)
        return try await command.run(request.arguments, approval, peer, progress)
    }

    private func note(_ approval: OfficerDesk.Approval, _ duty: Officer.Duty) async throws {
        let officers = [approval.officer.id] + (approval.second.map { [$0.id] } ?? [])
        let command = approval.request.command
        let act = OfficeAct(
            Self.kind(of: duty), signedBy: officers, command: command, rule: "officer:\(command)",
            digest: approval.digest,
            detail: String(decoding: try CanonicalJSON.bytes(approval.request.arguments), as: UTF8.self))
        let id = try await audit?.keep(act, now: .now())
        events.record(
            .officerCommand,
            [
                .detail: "\(reviewed: command), signed by \(reviewed: officers.joined(separator: " and "))",
                .fingerprint: Loggable(reviewed: approval.digest),
                .auditID: id.map { Loggable(reviewed: $0.description) },
            ])
    }

    private static func kind(of duty: Officer.Duty) -> AuditRecord.Kind {
        switch duty {
        case .policy, .cluster: .policy
        case .freeze: .freeze
        case .erasure: .erasure
        case .fourEyes, .compliance: .consent
        }
    }
}
