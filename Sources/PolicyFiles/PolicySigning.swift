package import Cryptography
package import Diagnostics
package import SignedPolicy
import WireText

/// Puts officers' signatures on a policy file, one after the other.
package enum PolicySigning {
    /// A policy file of either kind: one that people write, or one that officers signed.
    package static func read(_ path: String) throws(DiagnosedError) -> (policy: Policy, text: String, isSigned: Bool) {
        let bytes = try OwnFile.read(path, upTo: SignedPolicyText.maximumBytes)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw DiagnosedError(
                .policyMalformed, fault: .configuration, "\(path) is no text", expected: "UTF-8",
                hint: "save it as UTF-8")
        }
        // No YAML of ours begins like the header of a JWS.
        guard text.hasPrefix("eyJ") else { return (try PolicySource.read(text, file: path).policy, text, false) }
        return (try Policy(canonical: try SignedPolicyText.unverifiedPayload(text)), text, true)
    }

    /// A policy as it is to be signed, read once: what was shown is what is signed.
    package struct Draft: Sendable {
        package let file: String
        package let policy: Policy
        let canonical: [UInt8]

        package init(file: String) throws(DiagnosedError) {
            let bytes = try OwnFile.read(file, upTo: Policy.maximumBytes)
            self.file = file
            (policy, canonical) = try PolicySource.read(String(decoding: bytes, as: UTF8.self), file: file)
        }
    }

    /// Signs a draft into `target`.
    ///
    /// Without `appending`, `target` is new or holds a lower version. With it, `target` must hold the signatures of other
    /// officers over the very same policy, and this one is put below.
    package static func sign(
        _ draft: Draft, into target: String, with key: PrivateKey, appending: Bool
    ) throws {
        let policy = draft.policy
        let line = try SignedPolicyText.sign(draft.canonical, with: key)
        if appending {
            let before = String(
                decoding: try OwnFile.read(target, upTo: SignedPolicyText.maximumBytes), as: UTF8.self)
            guard try SignedPolicyText.unverifiedPayload(before) == draft.canonical else {
                throw DiagnosedError(
                    .policySignature, fault: .configuration, "\(target) holds the signatures of another policy",
                    expected: "the contents of \(draft.file)", hint: "sign the file that the others signed")
            }
            let kid = try OfficerSignature.signer(of: line)
            let lines = before.split(whereSeparator: \.isNewline).map(String.init)
            guard try !lines.contains(where: { try OfficerSignature.signer(of: $0) == kid }) else {
                throw DiagnosedError(
                    .policySignature, fault: .configuration, "this officer signed \(target) already",
                    hint: "let another officer sign")
            }
            try OwnFile.replace(target, with: Array((lines.joined(separator: "\n") + "\n" + line).utf8))
            return
        }
        guard let old = try? read(target) else {
            // Not there, or nothing that a policy's signature could be lost with: the latter is refused by the file system.
            try OwnFile.write(Array(line.utf8), toNew: target, mode: 0o644)
            return
        }
        guard old.isSigned, old.policy.version < policy.version else {
            throw DiagnosedError(
                .ownFileExists, fault: .configuration, "\(target) holds version \(old.policy.version) already",
                expected: "a lower version than \(policy.version), or no file",
                hint: "add a signature with --append, raise the version, or name another file with --out")
        }
        try OwnFile.replace(target, with: Array(line.utf8))
    }
}
