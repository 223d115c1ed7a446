import Cryptography
import Diagnostics
import JOSESignature
package import WireText

/// Where officers' requests are checked: each signature counts for exactly one request, once, within five minutes.
///
/// Rules, in this order (security model, rule 6):
/// 1. The text is a JWS of type `hds-officer-request` by an enrolled officer.
/// 2. The officer has the duty that the command needs.
/// 3. The signed command and arguments are those that arrived.
/// 4. It is for this KMS, and for this node or its cluster.
/// 5. It is valid now: issued at most a minute ahead of this clock, living at most five minutes, not expired.
/// 6. Where a second officer is needed, which is found out only now: a JWS of type `hds-officer-confirmation` over the SHA-256 of that very text, by
///    another officer with the duty `four-eyes`, under the same rules of time and host.
/// 7. No nonce was seen before. Nonces are taken at last, so that a refused request can be mended and sent again, and
///    they are written down before the request is acted on, so that a restart forgets none.
package actor OfficerDesk {
    /// A nonce that was taken, and when it can be forgotten.
    package struct Nonce: Sendable, Equatable {
        package let value: String
        package let until: Timestamp

        package init(value: String, until: Timestamp) {
            self.value = value
            self.until = until
        }
    }

    /// Who stands behind a request that may be carried out.
    package struct Approval: Sendable {
        package let request: OfficerRequest
        package let officer: Officer
        package let second: Officer?
        /// SHA-256 of the signed text in base64url, for the audit record.
        package let digest: String
    }

    private let host: String
    private let nodes: Set<String>
    private let duties: [String: Officer.Duty]
    private let roster: @Sendable () -> OfficerRoster
    private let keep: @Sendable ([Nonce]) async throws -> Void
    private var seen: [String: Timestamp]

    package static let maximumNonces = 10_000

    /// - Parameters:
    ///   - host: DNS name of this KMS.
    ///   - nodes: the names under which this node is spoken to: its own and the cluster's.
    ///   - duties: which duty each command needs; other commands can not be signed for.
    ///   - roster: the officers as they are enrolled now.
    ///   - remembered: the nonces that were kept before the restart.
    ///   - keep: writes nonces down, durably.
    package init(
        host: String, nodes: Set<String>, duties: [String: Officer.Duty],
        roster: @escaping @Sendable () -> OfficerRoster, remembered: [Nonce],
        keep: @escaping @Sendable ([Nonce]) async throws -> Void
    ) {
        self.host = host
        self.nodes = nodes
        self.duties = duties
        self.roster = roster
        self.keep = keep
        seen = Dictionary(remembered.map { ($0.value, $0.until) }) { max($0, $1) }
    }

    /// - Parameters:
    ///   - signature: the first officer's JWS; nil is refused.
    ///   - confirmation: the second officer's.
    ///   - needsSecond: whether one is needed. It may count for long, so it is asked only when the first signature is
    ///     good for this request, and not when a confirmation came.
    package func approve(
        command: String, arguments: JSONNode, signature: String?, confirmation: String?,
        needsSecond: @Sendable () async throws -> Bool, now: @Sendable () -> Timestamp
    ) async throws -> Approval {
        guard let signature else {
            throw DiagnosedError.request(
                .requestUnsigned, "the command \(command.quotedForError) needs an officer's signature",
                hint: "give the officer's key: --officer-key FILE")
        }
        let (officer, payload) = try verified(signature, as: .request)
        guard let duty = duties[command], officer.duties.contains(duty) else {
            throw DiagnosedError.request(
                .officerDuty, "\(officer.id) is no officer for this",
                expected: duties[command].map { "the duty \($0.rawValue)" } ?? "a command that officers sign",
                found: officer.duties.map(\.rawValue).sorted().joined(separator: ", "),
                hint: "let an officer with that duty sign")
        }
        let request = try OfficerRequest(payload: payload)
        try checkSame(request, command, arguments)
        try checkPlace(request)
        try checkTime(issued: request.issued, expires: request.expires, now())
        var nonces = [Nonce(value: request.nonce, until: request.expires)]
        var second: Officer?
        if let confirmation {
            let (other, nonce) = try confirmed(confirmation, signature, officer, now())
            second = other
            nonces.append(nonce)
        } else {
            // A signature that has counted already sets nobody counting again.
            try checkFresh(nonces)
            if try await needsSecond() {
                throw DiagnosedError.request(
                    .confirmationMissing, "this needs the confirmation of a second officer",
                    hint: "let the other one run: hdsctl officer confirm REQUEST --officer-key FILE")
            }
        }
        // The counting may have taken longer than the request lives, or than its officer is enrolled.
        let end = now()
        try checkTime(issued: request.issued, expires: request.expires, end)
        guard try verified(signature, as: .request).0 == officer else {
            throw DiagnosedError.request(.officerUnknown, "\(officer.id) is another officer now", hint: "sign again")
        }
        try await take(nonces, end)
        return Approval(
            request: request, officer: officer, second: second, digest: OfficerRequest.digest(of: signature))
    }

    private func verified(
        _ text: String, as kind: OfficerSignature.Kind
    ) throws(DiagnosedError) -> (Officer, [UInt8]) {
        do {
            return try OfficerSignature.verify(text, as: kind, by: roster())
        } catch let error as DiagnosedError {
            throw .request(
                error.code == .officerUnknown ? .officerUnknown : .requestMalformed,
                "the officer's signature does not count: \(error.summary)", expected: error.expected,
                found: error.found, hint: error.hint)
        } catch {
            throw .request(.requestMalformed, "the officer's signature can not be checked")
        }
    }

    private func checkSame(
        _ request: OfficerRequest, _ command: String, _ arguments: JSONNode
    ) throws(DiagnosedError) {
        guard request.command == command else {
            throw .request(
                .requestMismatch, "the signature is for another command", expected: command.quotedForError,
                found: request.command.quotedForError)
        }
        guard try CanonicalJSON.bytes(request.arguments) == CanonicalJSON.bytes(arguments) else {
            throw .request(
                .requestMismatch, "the signature is for other arguments", hint: "sign the request as it is sent")
        }
    }

    private func checkPlace(_ request: OfficerRequest) throws(DiagnosedError) {
        guard request.host == host, nodes.contains(request.node) else {
            throw .request(
                .requestMismatch, "the signature is for another place",
                expected: "\(host), \(nodes.sorted().joined(separator: " or "))",
                found: "\(request.host.quotedForError), \(request.node.quotedForError)",
                hint: "send it to the one it was signed for, or sign again")
        }
    }

    private func checkTime(issued: Timestamp, expires: Timestamp, _ now: Timestamp) throws(DiagnosedError) {
        guard issued <= now.adding(seconds: OfficerRequest.clockSkew) else {
            throw .request(
                .requestExpired, "the signature is from the future", expected: "issued by \(now)", found: "\(issued)",
                hint: "compare the clocks")
        }
        guard now < expires else {
            throw .request(
                .requestExpired, "the signature has expired", expected: "valid at \(now)", found: "until \(expires)",
                hint: "sign again, and send it within five minutes")
        }
    }

    private func confirmed(
        _ text: String, _ signature: String, _ first: Officer, _ now: Timestamp
    ) throws(DiagnosedError) -> (Officer, Nonce) {
        let (officer, payload) = try verified(text, as: .confirmation)
        guard officer != first, officer.id != first.id else {
            throw .request(
                .confirmationMissing, "\(first.id) can not confirm an own request", expected: "another officer")
        }
        guard officer.duties.contains(.fourEyes) else {
            throw .request(
                .officerDuty, "\(officer.id) is no officer for confirmations", expected: "the duty four-eyes",
                found: officer.duties.map(\.rawValue).sorted().joined(separator: ", "))
        }
        let confirmation = try OfficerConfirmation(payload: payload)
        guard confirmation.host == host, confirmation.request == OfficerRequest.digest(of: signature) else {
            throw .request(
                .requestMismatch, "the confirmation is for another request",
                expected: OfficerRequest.digest(of: signature), found: confirmation.request.quotedForError,
                hint: "confirm the very file that is sent")
        }
        try checkTime(issued: confirmation.issued, expires: confirmation.expires, now)
        return (officer, Nonce(value: confirmation.nonce, until: confirmation.expires))
    }

    private func checkFresh(_ nonces: [Nonce]) throws(DiagnosedError) {
        guard Set(nonces.map(\.value)).count == nonces.count, nonces.allSatisfy({ seen[$0.value] == nil }) else {
            throw .request(
                .requestReplayed, "this signature was used before", hint: "sign again: each signature counts once")
        }
    }

    /// In memory before the first suspension: of two that race with one nonce, one is refused. A nonce that could not be
    /// written down stays taken.
    private func take(_ nonces: [Nonce], _ now: Timestamp) async throws(DiagnosedError) {
        // Kept beyond their time as long as there is room: a clock that is set back brings no request back.
        if seen.count > Self.maximumNonces / 2 { seen = seen.filter { now <= $0.value } }
        try checkFresh(nonces)
        guard seen.count + nonces.count <= Self.maximumNonces else {
            throw .request(
                .requestReplayed, "too many signed requests in a short time", hint: "try again in ten minutes")
        }
        for nonce in nonces { seen[nonce.value] = nonce.until }
        do {
            try await keep(nonces)
        } catch {
            throw DiagnosedError(
                .requestReplayed, fault: .store, "the request's nonce can not be written down, so nothing was done",
                found: (error as? DiagnosedError)?.summary, hint: "see to the database, then sign again")
        }
    }
}
