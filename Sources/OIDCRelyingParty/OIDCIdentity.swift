import Diagnostics
import JOSESignature
import WireText

/// Who signed in at the provider, as it says.
package struct OIDCIdentity: Sendable, Equatable {
    /// Stable at this provider, never given to another.
    package let subject: String
    /// As the provider writes it; nil also for one that it has not verified where that is wanted.
    package private(set) var address: String?
    package private(set) var name: String?
    /// `sid`: the browser's session there.
    package let session: String?
    /// For the hint of a logout.
    package let idToken: String
    /// `sub`, which a logout names; another one than `subject` only where a claim of its own was configured.
    package let tokenSubject: String

    static let longestSubject = 255
    /// Some providers put a sealed record there.
    static let longestSession = 2048

    init(_ token: JWT, idToken: String, _ settings: OIDCSettings) throws(DiagnosedError) {
        let root = token.document.root
        guard let own = token.subject, let subject = root[settings.claims.subject]?.string,
            Self.isIdentifier(own), Self.isIdentifier(subject)
        else {
            throw IDTokenRules.refusal(
                "the token does not say who",
                expected: "a text of at most \(Self.longestSubject) octets as "
                    + "'\(settings.claims.subject)'")
        }
        tokenSubject = own
        self.subject = subject
        self.idToken = idToken
        session = root["sid"]?.string.flatMap { Self.isIdentifier($0, upTo: Self.longestSession) ? $0 : nil }
        read(root, settings)
    }

    /// With what the provider says at its UserInfo endpoint, which has to speak of the same subject (Core, 5.3.2).
    mutating func complete(with root: JSONNode, _ settings: OIDCSettings) throws(DiagnosedError) {
        guard root["sub"]?.string == tokenSubject else {
            throw IDTokenRules.refusal("the UserInfo endpoint speaks of another subject")
        }
        read(root, settings)
    }

    private mutating func read(_ root: JSONNode, _ settings: OIDCSettings) {
        if address == nil, let text = root[settings.claims.address]?.string, text.utf8.count <= 254,
            !settings.wantsVerifiedAddress || Self.isTrue(root["email_verified"])
        {
            address = text
        }
        if name == nil, let text = root[settings.claims.name]?.string, (1...128).contains(text.count) { name = text }
    }

    /// Some providers write it as a text.
    private static func isTrue(_ node: JSONNode?) -> Bool { node?.boolean == true || node?.string == "true" }

    static func isIdentifier(_ text: String, upTo longest: Int = longestSubject) -> Bool {
        (1...longest).contains(text.utf8.count) && text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
    }
}
