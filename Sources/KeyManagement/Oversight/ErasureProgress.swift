import AuditTrail
import Cryptography
import KeyStore
import SecretMemory
import WireText

/// How far an erasure is: sealed in the store, written in each of its transactions, so that a crash loses no count and
/// two runs for one subject can not both count.
struct ErasureProgress: Sendable, Equatable {
    private static let format: UInt8 = 1

    let id: AuditID
    /// What the officers ordered first; a run that goes on after a crash keeps it, but for a later end of backups.
    var order: Erasure.Order
    let begun: Timestamp
    var counts = ErasureCertificate.Counts()
    var objects: [String] = []
    var digest = [UInt8](repeating: 0, count: 32)
    /// Set when it is done.
    var certificate: String?

    init(id: AuditID, order: Erasure.Order, begun: Timestamp) {
        self.id = id
        self.order = order
        self.begun = begun
    }

    mutating func note(_ object: String) {
        if objects.count < ErasureCertificate.maximumObjects { objects.append(object) }
        digest = SHA256.hash(digest + SHA256.hash(Array(object.utf8)))
    }

    // MARK: The setting

    func encoded() -> FieldWriter {
        var fields = FieldWriter(format: Self.format)
        fields.field(id.description)
        fields.field(order.officers.joined(separator: " "))
        fields.field(order.request)
        fields.field(order.backupsUntil)
        fields.field(begun)
        for (_, count) in counts.all { fields.field(count) }
        fields.field(objects.joined(separator: " "))
        digest.withUnsafeBytes { fields.field($0) }
        fields.field(optional: certificate)
        return fields
    }

    init?(_ bytes: UnsafeRawBufferPointer) {
        guard var fields = FieldReader(bytes, format: Self.format), let id = fields.text().flatMap({ AuditID($0) }),
            let officers = fields.text(), let request = fields.text(), let backups = fields.time(),
            let begun = fields.time()
        else { return nil }
        let order = Erasure.Order(
            officers: officers.split(separator: " ").map(String.init), request: request, backupsUntil: backups)
        self.init(id: id, order: order, begun: begun)
        for (_, path) in ErasureCertificate.Counts.names {
            guard let count = fields.number() else { return nil }
            counts[keyPath: path] = count
        }
        guard let objects = fields.text(), let digest = fields.octets(), digest.count == 32,
            let certificate = fields.optionalText(), fields.isAtEnd
        else { return nil }
        self.objects = objects.split(separator: " ").map(String.init)
        self.digest = Array(digest)
        self.certificate = certificate
    }
}
