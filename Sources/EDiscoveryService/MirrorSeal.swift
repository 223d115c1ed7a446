import Diagnostics
import LinkedService
import SecretMemory

/// Seals values of the worker's database, each bound to what it is.
enum MirrorSeal {
    private static let values = StoreSeal(
        "ediscovery",
        unreadable: DiagnosedError(
            .mirror, fault: .store, "what the worker has stored does not open",
            expected: "values sealed under the key of this service's account",
            hint: "the database belongs to another account or was changed"))

    static func seal(_ plain: [UInt8], _ what: String, _ key: SymmetricKey) throws -> [UInt8] {
        try values.seal(plain, Array(what.utf8), key)
    }

    static func open(_ sealed: [UInt8], _ what: String, _ key: SymmetricKey) throws -> [UInt8] {
        try values.open(sealed, Array(what.utf8), key)
    }
}
