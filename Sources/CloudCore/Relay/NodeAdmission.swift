package import Cryptography
import Diagnostics
import LinkProtocol
import NodeList
import WireText

/// Which nodes of one organisation the core takes (security model, rules 5 and 34; docs/cluster.md).
///
/// 1. A list of nodes counts when one of the customer's cluster officers signed it, and never goes back to a lower version.
/// 2. A node is taken when the list has its name as active, and its hello is signed by the key that stands there, over
///    this connection and the core's nonce for it.
/// 3. Where the configuration lets nodes without proof in meanwhile, a name that is on the list needs its proof all the
///    same, and one that was removed does not come back.
/// 4. What was let in is judged again by each new list.
struct NodeAdmission: Sendable {
    /// What both ends know of one connection and of no other.
    struct Challenge: Sendable, Equatable {
        /// Of the core.
        var nonce: [UInt8]
        /// The TLS exporter value; nil on a connection that has none.
        var exporter: [UInt8]?
    }

    let organisation: String
    let rules: CloudCoreConfiguration.NodeRules
    private(set) var list: SignedNodeList?

    init(organisation: String, rules: CloudCoreConfiguration.NodeRules) {
        self.organisation = organisation
        self.rules = rules
    }

    /// Of the list that counts, 0 for none.
    var version: Int64 { list?.list.version ?? 0 }

    /// Whether it is another one than before. Throws when it does not count; the present one then goes on counting.
    mutating func take(_ text: String) throws(DiagnosedError) -> Bool {
        let next = try SignedNodeList(verifying: text, of: organisation) { rules.signers[$0] }
        guard try next.replaces(list) else { return false }
        list = next
        return true
    }

    /// Why a hello is not taken; nil when it is.
    func refusal(of hello: LinkHello, challenge: Challenge?) -> DiagnosedError? {
        guard let entry = list?.list.node(hello.node, of: hello.service) else {
            if rules.allowsUnproven { return nil }
            return list == nil
                ? Self.refused("the core has no list of nodes yet: hdsctl node approve, by a cluster officer", hello)
                : Self.refused("\(hello.node) is not on the list of nodes: hdsctl node approve", hello)
        }
        guard entry.state == .active else {
            return Self.refused("\(hello.node) was removed from the list of nodes: hdsctl node approve", hello)
        }
        guard let proof = hello.proof else {
            return Self.refused("the hello has no proof of the node's key: update hds-kms on \(hello.node)", hello)
        }
        guard let challenge else { return Self.refused("the core gave no nonce", hello) }
        var exporters = [challenge.exporter].compactMap { $0 }
        if rules.allowsInspected { exporters.append([]) }
        let isProven = exporters.contains { exporter in
            entry.publicKey.isValidSignature(
                proof, for: hello.provenOctets(exporter: exporter, nonce: challenge.nonce), algorithm: .es256)
        }
        guard !isProven else { return nil }
        return Self.refused(
            "not the key of \(hello.node) on the list, or TLS is inspected: hdsctl node list", hello)
    }

    private static func refused(_ what: String, _ hello: LinkHello) -> DiagnosedError {
        DiagnosedError(.linkNotListed, fault: .peer, what, found: hello.node.printable)
    }
}

extension CloudCoreConfiguration {
    /// Who says which nodes of an organisation are taken.
    package struct NodeRules: Sendable {
        /// By thumbprint, the keys of the customer's officers with the duty `cluster`.
        package var signers: [String: PublicKey]
        /// Nodes that are not on the list and have no proof are taken, until all releases have one.
        package var allowsUnproven: Bool
        /// A proof without the exporter of this connection is taken: TLS is inspected on the way.
        package var allowsInspected: Bool

        package init(signers: [String: PublicKey], allowsUnproven: Bool = false, allowsInspected: Bool = false) {
            self.signers = signers
            self.allowsUnproven = allowsUnproven
            self.allowsInspected = allowsInspected
        }
    }
}

extension Relay {
    /// What an earlier run has stored.
    mutating func setNodeList(_ text: String, of destination: String) {
        _ = try? admissions[destination]?.take(text)
    }

    /// A list from whomever; links that it does not let be are ended at once.
    mutating func take(nodeList text: String, of destination: String, now: Int64) -> [Action] {
        do throws(DiagnosedError) {
            guard try admissions[destination]?.take(text) == true else { return [] }
        } catch {
            return [.listRefused(destination: destination, error)]
        }
        var actions: [Action] = [.listed(destination: destination, text)]
        guard let admission = admissions[destination] else { return actions }
        for (id, link) in links.sorted(by: { $0.key < $1.key })
        where link.grant.destination == destination && link.half.isOpen {
            guard let hello = link.hello, let error = admission.refusal(of: hello, challenge: link.challenge) else {
                continue
            }
            actions += end(id, .notListed, error, now: now)
        }
        return actions
    }
}

extension DiagnosedError.Code {
    static let linkNotListed: Self = "link-not-listed"
}
