package import Cryptography
package import Diagnostics
package import SecretMemory

/// An officer's private key in a file: P-256, encrypted under a passphrase, mode 0600.
package enum OfficerKeyFile {
    /// The shortest passphrase that a new key is encrypted under, in characters.
    package static let minimumPassphrase = 12
    private static let maximumBytes = 64 << 10

    package static func create(
        _ path: String, passphrase: borrowing SecretBytes
    ) throws -> PrivateKey {
        let characters = passphrase.withUnsafeBytes { String(decoding: $0, as: UTF8.self).count }
        guard characters >= minimumPassphrase else {
            throw DiagnosedError(
                .keyPassphraseWrong, fault: .configuration, "the passphrase is too short",
                expected: "at least \(minimumPassphrase) characters", found: "\(characters)",
                hint: "take four words that have nothing to do with each other")
        }
        let key = try PrivateKey.generateP256()
        try OwnFile.write(try key.encryptedPEM(passphrase: passphrase), toNew: path)
        return key
    }

    package static func open(_ path: String, passphrase: borrowing SecretBytes) throws -> PrivateKey {
        let pem = try OwnFile.readSecret(path, upTo: maximumBytes)
        return try PrivateKey(encryptedPEM: pem.withUnsafeBytes { Array($0) }, passphrase: passphrase)
    }

    /// The first line of a file of mode 0600.
    package static func passphrase(inFile path: String) throws(DiagnosedError) -> SecretBytes {
        let content = try OwnFile.readSecret(path, upTo: 4096)
        return content.withUnsafeBytes { bytes in
            let line = bytes.prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }
            return SecretBytes(copying: UnsafeRawBufferPointer(rebasing: line))
        }
    }
}
