import Diagnostics
import JOSESignature
package import WireText

/// What one service may get keys for: the plaintext service's type, who proves to be it, which spaces, until when.
package struct ServiceConsent: Sendable, Equatable {
    /// The types that this project knows; a policy may name others.
    package static let knownTypes = ["search-indexing", "ediscovery", "calendar", "transcoding", "api-access"]

    /// Unique within the policy; the rule of a verdict is `service-consent:NAME`.
    package let name: String
    package let type: String
    /// `sub` of the service account's token.
    package let subject: String
    /// `client_id` that the token must carry, and whose tokens of persons are judged by this consent as well.
    package let client: String?
    /// Absolute `kms:` URIs of resources.
    package let spaces: Coverage
    /// Of the token's issuer, and of the space where that is known; empty for any.
    package let organisations: Set<String>
    package let notBefore: Timestamp?
    /// The first moment at which the consent is over.
    package let notAfter: Timestamp
    /// With `retrieve`, which is always one of them.
    package let operations: Set<String>
    package let mayActOnBehalf: Bool
    /// Whether keys bound until a member left may be read for that former member (eDiscovery, rule 11).
    package let formerMembers: Bool

    init(_ place: PolicyPlace) throws(DiagnosedError) {
        let members = try place.object(
            [
                "name", "type", "subject", "client", "spaces", "organisations", "notBefore", "notAfter", "operations",
                "mayActOnBehalf", "formerMembers",
            ])
        name = try members.required("name").name()
        type = try members.required("type").name()
        subject = try members.required("subject").text()
        client = try members["client"]?.text()
        spaces = try members.required("spaces").coverage(upTo: 1000) { (place) throws(DiagnosedError) in
            try Self.space(place)
        }
        guard spaces != .nothing else {
            throw try members.required("spaces").refusal("it covers nothing", expected: "all, or at least one space")
        }
        organisations = Set(
            try members["organisations"]?.texts(upTo: 100) { (place) throws(DiagnosedError) in try place.text() } ?? [])
        notBefore = try members["notBefore"]?.moment()
        notAfter = try members.required("notAfter").moment(endOfDay: true)
        if let notBefore, notBefore >= notAfter {
            throw try members.required("notAfter").refusal(
                "the consent ends before it begins", expected: "after \(notBefore)", found: "\(notAfter)")
        }
        let more =
            try members["operations"]?.texts(upTo: 20) { (place) throws(DiagnosedError) in try place.name() } ?? []
        operations = Set(more).union(["retrieve"])
        mayActOnBehalf = try members["mayActOnBehalf"]?.boolean() ?? false
        formerMembers = try members["formerMembers"]?.boolean() ?? false
    }

    /// Such as `kms://kms.example.com/resources/UUID`: the host in lower case, as the KMS writes it.
    private static func space(_ place: PolicyPlace) throws(DiagnosedError) -> String {
        let text = try place.text()
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 5, parts[0] == "kms:", parts[1].isEmpty, parts[3] == "resources",
            UUIDText.isValid(parts[4]), !parts[2].isEmpty, parts[2] == parts[2].lowercased()
        else {
            throw place.refusal(
                "this names no space", expected: "kms://HOST/resources/UUID with the host in lower case",
                found: text.quotedForError)
        }
        return text
    }

    /// Whether one request could be judged by both, so that it would not be clear which consent counts.
    func overlaps(_ other: ServiceConsent) -> Bool {
        guard subject == other.subject, client == nil || other.client == nil || client == other.client else {
            return false
        }
        let begins = notBefore ?? Timestamp(milliseconds: .min)
        let otherBegins = other.notBefore ?? Timestamp(milliseconds: .min)
        guard begins < other.notAfter, otherBegins < notAfter, spaces.overlaps(other.spaces) else { return false }
        return organisations.isEmpty || other.organisations.isEmpty
            || !organisations.isDisjoint(with: other.organisations)
    }
}

/// A person with the capacity of a compliance officer: may retrieve on behalf of others.
package struct Agent: Sendable, Equatable {
    /// The user's id, as tokens name it.
    package let user: String
    package let notAfter: Timestamp?
    /// The only matter that it is for; nil for every one.
    package let matter: String?

    init(_ place: PolicyPlace) throws(DiagnosedError) {
        let members = try place.object(["user", "notAfter", "matter"])
        user = try members.required("user").text()
        notAfter = try members["notAfter"]?.moment(endOfDay: true)
        matter = try members["matter"]?.text()
    }
}
