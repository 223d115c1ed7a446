import Escrow
import WireText

/// The root keys wrapped to the escrow, as the store and backups keep them.
package struct EscrowWraps: Sendable, Equatable {
    package static let setting = "escrow-wraps"

    /// The fingerprint of the escrow's public key.
    package let escrow: String
    package let wraps: [Int64: [UInt8]]

    package init(escrow: String, wraps: [Int64: [UInt8]]) {
        (self.escrow, self.wraps) = (escrow, wraps)
    }

    /// Nil when it is no such text.
    package init?(_ json: [UInt8]) {
        guard let root = try? JSONDocument(json).root, let escrow = root["escrow"]?.string,
            let elements = root["wraps"]?.elements
        else { return nil }
        var wraps: [Int64: [UInt8]] = [:]
        for element in elements {
            guard let version = element["version"]?.integer, let text = element["wrapped"]?.string,
                let wrapped = Base64URL.decode(text)
            else { return nil }
            wraps[version] = wrapped
        }
        self.init(escrow: escrow, wraps: wraps)
    }

    package func json() -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("escrow", escrow)
        json.name("wraps")
        json.beginArray()
        for (version, wrapped) in wraps.sorted(by: { $0.key < $1.key }) {
            json.beginObject()
            json.member("version", version)
            json.member("wrapped", Base64URL.encode(wrapped))
            json.endObject()
        }
        json.endArray()
        json.endObject()
        return json.bytes()
    }
}

extension EscrowState {
    func json() -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("publicKey", Base64URL.encode(publicKey))
        json.member("needed", needed)
        json.member("created", created.milliseconds)
        json.name("shares")
        json.beginArray()
        for share in shares {
            json.beginObject()
            json.member("publicKey", Base64URL.encode(share.commitment.publicKey))
            if let proved = share.proved { json.member("proved", proved.milliseconds) }
            json.member("nonce", ifPresent: share.nonce.map { Base64URL.encode($0) })
            json.endObject()
        }
        json.endArray()
        json.endObject()
        return json.bytes()
    }

    init?(_ root: JSONNode) {
        guard let key = root["publicKey"]?.string.flatMap({ Base64URL.decode($0) }),
            let escrow = try? EscrowPublicKey(octets: key), let needed = root["needed"]?.integer,
            let created = root["created"]?.integer, let elements = root["shares"]?.elements
        else { return nil }
        var shares: [Share] = []
        for (index, element) in elements.enumerated() {
            guard let key = element["publicKey"]?.string.flatMap({ Base64URL.decode($0) }) else { return nil }
            shares.append(
                Share(
                    commitment: .init(number: index + 1, publicKey: key),
                    proved: element["proved"]?.integer.map { Timestamp(milliseconds: $0) },
                    nonce: element["nonce"]?.string.flatMap { Base64URL.decode($0) }))
        }
        self.init(
            publicKey: key, fingerprint: escrow.fingerprint, needed: Int(needed),
            created: Timestamp(milliseconds: created), shares: shares)
    }
}
