package import Cryptography
package import Diagnostics
import JOSESignature
import WireText

/// A node list as it travels and is kept: a compact JWS of `typ` `hds-node-list`, whose signature was verified.
package struct SignedNodeList: Sendable, Equatable {
    package static let type = "hds-node-list"
    package static let maximumBytes = 2 * NodeList.maximumBytes
    private static let algorithms: Set<SignatureAlgorithm> = [.es256, .ps256]

    package let text: String
    package let list: NodeList
    /// The thumbprint of the officer's key.
    package let signer: String

    /// Rules, in this order:
    /// 1. It is a JWS of that type by a key that `signer` knows: the customer's officers with the duty `cluster`.
    /// 2. What is signed is the canonical text of a list of that organisation.
    package init(
        verifying text: String, of organisation: String, signer: (_ kid: String) -> PublicKey?
    ) throws(DiagnosedError) {
        guard text.utf8.count <= Self.maximumBytes else {
            throw .nodeListMalformed(expected: "at most \(Self.maximumBytes) octets")
        }
        let jws: JWS
        do {
            jws = try JWS.verify(text, allowing: Self.algorithms) { header in
                guard header.typ == Self.type else {
                    throw Self.unsigned("another kind of signature, \(header.typ?.quotedForError ?? "without typ")")
                }
                guard let key = header.kid.flatMap(signer) else {
                    throw Self.unsigned("the key \(header.kid?.quotedForError ?? "without a name")")
                }
                return key
            }
        } catch let error as DiagnosedError where error.code == .nodeListSignature {
            throw error
        } catch {
            throw Self.unsigned((error as? DiagnosedError)?.summary ?? "a signature that can not be checked")
        }
        list = try NodeList(canonical: jws.payload)
        guard list.organisation == organisation else {
            throw DiagnosedError(
                .nodeListMalformed, fault: .configuration, "the list of nodes is another organisation's",
                expected: organisation, found: list.organisation.quotedForError,
                hint: "sign the list with this organisation's service: hdsctl node list")
        }
        self.signer = jws.header.kid ?? ""
        self.text = text
    }

    package static func sign(_ list: NodeList, with key: PrivateKey) throws -> String {
        guard let kid = JWK.thumbprint(of: key.publicKey) else { throw unsigned("a key that can not sign") }
        return try JWS.sign(
            list.canonical, with: key, algorithm: key.publicKey.kind == .p256 ? .es256 : .ps256, kid: kid, typ: type)
    }

    /// The version that a text claims, unverified: for a file of one's own, never to believe anybody.
    package static func claimed(_ text: String) -> NodeList? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard text.utf8.count <= maximumBytes, parts.count == 3, let payload = Base64URL.decode(parts[1]) else {
            return nil
        }
        return try? NodeList(canonical: payload)
    }

    /// Whether it may take the place of another one: true for a higher version, false for the same list.
    package func replaces(_ other: SignedNodeList?) throws(DiagnosedError) -> Bool {
        guard let other else { return true }
        if list == other.list { return false }
        guard list.version > other.list.version else {
            throw DiagnosedError(
                .nodeListRollback, fault: .peer, "the list of nodes is older than one that was seen",
                expected: "a version above \(other.list.version)", found: "version \(list.version)",
                hint: "sign the change anew on top of the present list: hdsctl node list shows it")
        }
        return true
    }

    private static func unsigned(_ found: String) -> DiagnosedError {
        DiagnosedError(
            .nodeListSignature, fault: .configuration, "the list of nodes is not signed by an officer",
            expected: "a JWS of type \(type) by an enrolled officer with the duty cluster", found: found,
            hint:
                "let an officer with that duty sign it, and enter him in the files of officers of the KMS and the core")
    }
}
