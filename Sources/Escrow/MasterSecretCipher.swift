import Cryptography
import SecretMemory

/// The passphrase's part of SLIP-39: a Feistel network of four rounds of PBKDF2 over the halves of the master secret.
enum MasterSecretCipher {
    private static let baseIterations = 10_000
    private static let rounds: [UInt8] = [0, 1, 2, 3]

    struct Parameters {
        let identifier: UInt16
        let isExtendable: Bool
        let iterationExponent: Int
    }

    static func encrypt(_ secret: SymmetricKey, passphrase: SymmetricKey, _ parameters: Parameters) throws
        -> SymmetricKey
    {
        try run(secret, passphrase, parameters, rounds: rounds)
    }

    static func decrypt(_ secret: SymmetricKey, passphrase: SymmetricKey, _ parameters: Parameters) throws
        -> SymmetricKey
    {
        try run(secret, passphrase, parameters, rounds: rounds.reversed())
    }

    private static func run(
        _ secret: SymmetricKey, _ passphrase: SymmetricKey, _ parameters: Parameters, rounds: [UInt8]
    ) throws -> SymmetricKey {
        let half = secret.count / 2
        var (left, right) = secret.withUnsafeBytes { secret in
            (
                SymmetricKey(copying: UnsafeRawBufferPointer(rebasing: secret[..<half])),
                SymmetricKey(copying: UnsafeRawBufferPointer(rebasing: secret[half...]))
            )
        }
        for round in rounds {
            let mask = try derive(round, passphrase, parameters, right)
            (left, right) = (right, exclusiveOr(left, mask))
        }
        return SymmetricKey(
            SecretBytes(count: secret.count) { target in
                right.withUnsafeBytes { UnsafeMutableRawBufferPointer(rebasing: target[..<half]).copyMemory(from: $0) }
                left.withUnsafeBytes { UnsafeMutableRawBufferPointer(rebasing: target[half...]).copyMemory(from: $0) }
            })
    }

    private static func derive(
        _ round: UInt8, _ passphrase: SymmetricKey, _ parameters: Parameters, _ right: SymmetricKey
    ) throws -> SymmetricKey {
        let password = joined([round], passphrase)
        let identifier = [UInt8(parameters.identifier >> 8), UInt8(parameters.identifier & 0xFF)]
        let salt = joined(parameters.isExtendable ? [] : Array("shamir".utf8) + identifier, right)
        return try password.withUnsafeBytes { password in
            try salt.withUnsafeBytes { salt in
                try PBKDF2SHA256.derive(
                    password: password, salt: salt,
                    iterations: (baseIterations << parameters.iterationExponent) / rounds.count, count: right.count)
            }
        }
    }

    private static func joined(_ prefix: [UInt8], _ secret: SymmetricKey) -> SymmetricKey {
        SymmetricKey(
            SecretBytes(count: prefix.count + secret.count) { target in
                target.copyBytes(from: prefix)
                secret.withUnsafeBytes {
                    UnsafeMutableRawBufferPointer(rebasing: target[prefix.count...]).copyMemory(from: $0)
                }
            })
    }

    private static func exclusiveOr(_ left: SymmetricKey, _ right: SymmetricKey) -> SymmetricKey {
        SymmetricKey(
            SecretBytes(count: left.count) { target in
                left.withUnsafeBytes { left in
                    right.withUnsafeBytes { right in
                        for index in 0..<left.count { target[index] = left[index] ^ right[index] }
                    }
                }
            })
    }
}
