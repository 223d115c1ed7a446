package import Escrow
import KeyStore
import MasterKey
import WireText

extension EscrowPublicKey: RootKeyHolder {
    package var holder: String { RootKeyRecord.holder(escrow: fingerprint) }
}

/// As the setting holds it.
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
