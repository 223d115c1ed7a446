package import Cryptography
package import Diagnostics
import JOSESignature
import WireText

/// A policy file: one compact JWS for each officer who signed, one a line, all over the identical payload.
package struct SignedPolicyText: Sendable {
    package let policy: Policy
    /// In the order of the lines; each another officer.
    package let signers: [Officer]

    package static let maximumBytes = 4 << 20
    package static let maximumSignatures = 8

    /// Rules, in this order:
    /// 1. One to eight lines, each a JWS of type `hds-policy` by an enrolled officer with the duty `policy`. A line that
    ///    is anything else spoils the file: nobody is to wonder later which lines counted.
    /// 2. No officer signed twice.
    /// 3. All signed the same octets.
    /// 4. As many signed as the configuration demands.
    /// 5. The octets are a policy in canonical form.
    package static func verify(
        _ text: String, by roster: OfficerRoster, signaturesNeeded: Int
    ) throws(DiagnosedError) -> SignedPolicyText {
        var signers: [Officer] = []
        var payload: [UInt8]?
        for (index, line) in try lines(text).enumerated() {
            let (officer, signed) = try signature(line, number: index + 1, roster)
            guard officer.duties.contains(.policy) else {
                throw .policy(
                    .officerDuty, "line \(index + 1): \(officer.id) is no officer for the policy",
                    expected: "the duty policy",
                    found: officer.duties.map(\.rawValue).sorted().joined(separator: ", "),
                    hint: "let an officer with that duty sign")
            }
            guard !signers.contains(officer) else {
                throw .policy(
                    .policySignature, "line \(index + 1): \(officer.id) signed twice",
                    hint: "remove one of the lines")
            }
            guard payload == nil || payload == signed else {
                throw .policy(
                    .policySignature, "line \(index + 1): \(officer.id) signed another policy than \(signers[0].id)",
                    hint: "let both sign the same file: hdsctl policy sign --append")
            }
            signers.append(officer)
            payload = signed
        }
        guard let payload, signers.count >= signaturesNeeded else {
            throw .policy(
                .policySignaturesMissing, "the policy has too few signatures", expected: "\(signaturesNeeded)",
                found: "\(signers.count), by \(signers.map(\.id).joined(separator: " and "))",
                hint: "let another officer sign: hdsctl policy sign --append")
        }
        return SignedPolicyText(policy: try Policy(canonical: payload), signers: signers)
    }

    /// The payload of a file without any check of who signed: to show it or to sign it as well, never to obey it.
    package static func unverifiedPayload(_ text: String) throws(DiagnosedError) -> [UInt8] {
        let lines = try lines(text)
        let parts = lines[0].split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let payload = Base64URL.decode(parts[1]) else {
            throw .policy(.policySignature, "line 1 is no signed policy", expected: "a compact JWS")
        }
        return payload
    }

    package static func sign(_ canonical: [UInt8], with key: PrivateKey) throws -> String {
        try OfficerSignature.sign(canonical, as: .policy, with: key) + "\n"
    }

    private static func lines(_ text: String) throws(DiagnosedError) -> [Substring] {
        let lines = text.utf8.count <= maximumBytes ? text.split(whereSeparator: \.isNewline) : []
        guard (1...maximumSignatures).contains(lines.count) else {
            throw .policy(
                .policySignature, "this is no signed policy",
                expected: "1 to \(maximumSignatures) lines, each a compact JWS",
                found: text.utf8.count <= maximumBytes ? "\(lines.count) lines" : "\(text.utf8.count) octets",
                hint: "hdsctl policy sign makes one")
        }
        return lines
    }

    private static func signature(
        _ line: Substring, number: Int, _ roster: OfficerRoster
    ) throws(DiagnosedError) -> (Officer, [UInt8]) {
        do {
            return try OfficerSignature.verify(String(line), as: .policy, by: roster)
        } catch let error as DiagnosedError {
            throw .policy(
                error.code == .officerUnknown ? .officerUnknown : .policySignature,
                "line \(number): \(error.summary)", expected: error.expected, found: error.found,
                hint: error.hint ?? "sign the policy again with hdsctl policy sign")
        } catch {
            throw .policy(.policySignature, "line \(number): the signature can not be checked")
        }
    }
}
