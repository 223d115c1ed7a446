import Diagnostics
import Glibc
import HardwareToken
package import MasterKey
import SecretMemory
package import ServiceRuntime

/// Where the master key (key-encryption key) is: a file or credential, or a hardware token.
package enum MasterKeyLocation: Sendable {
    case secret(SecretLocation)
    case token(TokenSection)

    /// Whoever wraps and unwraps root keys with it.
    package func open(_ credentials: Credentials) throws -> any RootKeyWrapping {
        switch self {
        case .secret(.file(let file)): return try KeyEncryptionKey.load(fromFile: file.path)
        case .secret(let location):
            guard let handed = credentials.handedOver(location) else {
                return try credentials.withBytes(of: location) {
                    try KeyEncryptionKey(text: $0, path: location.description)
                }
            }
            return try KeyEncryptionKey.load(fromFile: handed.path, credentialsDirectory: handed.folder)
        case .token(let section):
            let pin = try credentials.withBytes(of: section.pin) { bytes in
                let line = bytes.prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }
                return SymmetricKey(copying: UnsafeRawBufferPointer(rebasing: line))
            }
            return try TokenKey(section.location, pin: pin)
        }
    }
}

/// A master key that stays in a PKCS#11 token.
package struct TokenSection: Decodable, Sendable {
    let location: TokenKey.Location
    let pin: SecretLocation

    package enum CodingKeys: String, CodingKey, CaseIterable { case module, token, key, pin }

    init(_ location: TokenKey.Location, pin: SecretLocation) {
        (self.location, self.pin) = (location, pin)
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        let module: FileLocation = try section.value(.module)
        location = TokenKey.Location(
            module: module.path, token: try section.value(.token), key: try section.value(.key))
        pin = try section.value(.pin)
        guard !location.token.isEmpty, location.token.utf8.count <= 32 else {
            throw section.problem(.token, "expected the label of the token, 1 to 32 octets")
        }
        guard !location.key.isEmpty else { throw section.problem(.key, "expected the label of the key") }
    }
}
