import Diagnostics
import LinkProtocol
import WireText

/// Which greeting of a service the core accepts.
///
/// 1. The service is of the kind that the scope of its token names.
/// 2. Organisation and destination are those that the token of the upgrade request stands for.
/// 3. The node has a name.
/// 4. The details document is an object whose `kmsCluster` is the destination and whose `rsaPublicKey` is a text
///    (section 3 of the KMS protocol: the JavaScript client parses it itself), so that one organisation's service can
///    not hand clients the identity of another.
enum LinkAdmission {
    static let maximumDetailsBytes = 64 << 10

    static func refusal(of hello: LinkHello, grant: Relay.Grant) -> DiagnosedError? {
        guard hello.service == grant.service else {
            return DiagnosedError(
                .linkNotAllowed, fault: .peer, "the token does not stand for this kind of service",
                expected: grant.service, found: hello.service,
                hint: "give the service's account the scope link:\(hello.service)")
        }
        guard hello.organisation == grant.organisation, hello.destination == grant.destination else {
            return DiagnosedError(
                .linkNotAllowed, fault: .peer, "the token does not stand for this organisation and destination",
                expected: "\(grant.organisation), \(grant.destination)",
                found: "\(hello.organisation), \(hello.destination)",
                hint: "compare organisation and host in the service's configuration with those of the core")
        }
        guard !hello.node.isEmpty else {
            return DiagnosedError(.linkViolation, fault: .peer, "the hello names no node")
        }
        return refusal(ofDetails: hello.details, destination: grant.destination)
    }

    static func refusal(ofDetails details: String, destination: String) -> DiagnosedError? {
        let bytes = Array(details.utf8)
        // Only a KMS has clients that need its document.
        guard destination.hasPrefix("kms://") else {
            return (try? JSONDocument(bytes, limits: .init(maximumBytes: maximumDetailsBytes))) == nil
                ? DiagnosedError(
                    .linkViolation, fault: .peer, "the details document is malformed",
                    expected: "a JSON object of at most \(maximumDetailsBytes) octets")
                : nil
        }
        guard let document = try? JSONDocument(bytes, limits: .init(maximumBytes: maximumDetailsBytes)),
            document.root["kmsCluster"]?.string == destination, document.root["rsaPublicKey"]?.string != nil
        else {
            return DiagnosedError(
                .linkViolation, fault: .peer, "the details document is malformed",
                expected: "a JSON object of at most \(maximumDetailsBytes) octets with kmsCluster \(destination) "
                    + "and rsaPublicKey as a text")
        }
        return nil
    }
}

extension DiagnosedError.Code {
    static let linkNotAllowed: Self = "link-not-allowed"
}

/// A node as its link shows it.
package struct LinkedNode: Sendable, Equatable {
    package let node: String
    package let version: String
    package let epoch: Int64
}

extension DiagnosedError {
    static var epochNotStored: DiagnosedError {
        DiagnosedError(
            .storeUnusable, fault: .store, "the core can not store the epoch of this destination",
            hint: "its operator has to look after its disk; the service links again by itself")
    }

    static func superseded(_ epoch: Int64, highest: Int64) -> DiagnosedError {
        DiagnosedError(
            "link-superseded", fault: .peer, "epoch \(epoch) is over, \(highest) was seen",
            expected: "epoch \(highest)",
            found: "\(epoch)", hint: "stop the node, or let it work with the database that was promoted")
    }
}
