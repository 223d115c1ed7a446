import Diagnostics
package import JOSESignature
import Synchronization
package import WireText

/// The last list of revocations of one issuer that was believed, and how old it is.
///
/// Rules for taking a list:
/// 1. It is signed by a key of the issuer, of the type of such lists and of this issuer (`RevocationDocument`).
/// 2. It was not signed in the future, and it is no older than the one that is held: neither its version nor, for the
///    same version, the time of its signature goes back. Whoever replays an old list changes nothing.
///
/// A list that is refused or can not be fetched leaves the one that is held in force; when that gets older than
/// `oldest` its state says so. Thread-safe; asked on every request.
package final class RevocationList: Sendable {
    package enum State: Sendable, Equatable {
        /// None was ever taken.
        case missing
        case fresh(age: Int64, entries: Int)
        case stale(age: Int64)
    }

    package let issuer: String
    private let oldest: Int64
    private let clockSkew: Int64
    private let keys: @Sendable (_ refresh: Bool) async throws -> JWKSet
    private let held = Mutex<RevocationDocument?>(nil)

    /// - Parameters:
    ///   - oldest: seconds after which a list counts as stale.
    ///   - keys: as for `JWTBearerVerifier`.
    package init(
        issuer: String, oldest: Int64 = 300, clockSkew: Int64 = 60,
        keys: @escaping @Sendable (_ refresh: Bool) async throws -> JWKSet
    ) {
        self.issuer = issuer
        self.oldest = oldest
        self.clockSkew = clockSkew
        self.keys = keys
    }

    /// Takes a list as it was fetched, or throws and keeps the one that is held.
    /// - Returns: the list that is in force now.
    @discardableResult
    package func take(_ signed: String, now: Timestamp) async throws -> RevocationDocument {
        let header = try JWS.peekHeader(signed)
        var set = try await keys(false)
        if let kid = header.kid, set[kid] == nil { set = try await keys(true) }
        let document = try RevocationDocument.verify(
            signed, keys: set, allowing: JWTBearerVerifier.algorithms, issuer: issuer)
        guard document.issued <= now.adding(seconds: clockSkew) else {
            throw Self.refused("it was signed in the future", expected: "not after \(now)", found: "\(document.issued)")
        }
        try held.withLock { held in
            if let last = held {
                guard document.version >= last.version else {
                    throw Self.refused(
                        "its version goes back", expected: "at least \(last.version)", found: "\(document.version)")
                }
                guard document.version > last.version || document.issued >= last.issued else {
                    throw Self.refused(
                        "it is older than the last one", expected: "not before \(last.issued)",
                        found: "\(document.issued)")
                }
            }
            held = document
        }
        return document
    }

    func revokes(_ identity: TokenIdentity) -> Bool {
        held.withLock { held in
            held?.revokes(tokenID: identity.tokenID, subject: identity.userID, issued: identity.issued) ?? false
        }
    }

    package func state(now: Timestamp) -> State {
        held.withLock { held in
            guard let held else { return .missing }
            let age = max(0, now.seconds - held.issued.seconds)
            guard age <= oldest else { return .stale(age: age) }
            let entries = held.tokens.count + held.subjects.count + (held.everyone == nil ? 0 : 1)
            return .fresh(age: age, entries: entries)
        }
    }

    private static func refused(_ summary: String, expected: String, found: String) -> DiagnosedError {
        DiagnosedError(
            .revocationsRefused, fault: .peer, "the revocation list is refused: \(summary)", expected: expected,
            found: found, hint: "compare the clocks; if they agree, somebody may play an old list back")
    }
}
