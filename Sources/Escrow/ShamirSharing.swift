import Cryptography
import SecretMemory
import WireText

/// Splitting a secret into shares of which `threshold` give it back (SLIP-39, "Shamir's secret sharing").
///
/// Shares are points of a curve for each octet; at 255 stands the secret, at 254 a digest that shows whether shares
/// belong together.
enum ShamirSharing {
    static let maximumShares = 16
    private static let secretPosition: UInt8 = 255
    private static let digestPosition: UInt8 = 254
    private static let digestCount = 4

    struct Point {
        let position: UInt8
        let value: SymmetricKey
    }

    /// `count` points at 0, 1, …; 2 <= threshold <= count <= 16, the secret has at least 16 octets.
    static func split(
        _ secret: SymmetricKey, threshold: Int, count: Int, random: (Int) throws -> SecretBytes
    ) throws -> [Point] {
        precondition(threshold >= 2 && threshold <= count && count <= maximumShares && secret.count > digestCount)
        var base: [Point] = []
        for position in 0..<(threshold - 2) {
            base.append(Point(position: UInt8(position), value: SymmetricKey(try random(secret.count))))
        }
        let salt = SymmetricKey(try random(secret.count - digestCount))
        let digest = SecretBytes(count: secret.count) { target in
            target.copyBytes(from: Self.digest(of: secret, salt: salt))
            salt.withUnsafeBytes { salt in
                UnsafeMutableRawBufferPointer(rebasing: target[digestCount...]).copyMemory(from: salt)
            }
        }
        let known = Array(base)
        base.append(Point(position: digestPosition, value: SymmetricKey(digest)))
        base.append(Point(position: secretPosition, value: secret))
        return known
            + ((threshold - 2)..<count).map { position in
                Point(position: UInt8(position), value: value(at: UInt8(position), of: base))
            }
    }

    /// The secret; nil when the points do not belong together. More points than needed must lie on the same curve.
    static func combine(_ points: [Point], threshold: Int) -> SymmetricKey? {
        guard threshold > 1 else { return points.first?.value }
        let base = Array(points.prefix(threshold))
        guard points.dropFirst(threshold).allSatisfy({ value(at: $0.position, of: base).isEqual(to: $0.value) }) else {
            return nil
        }
        let secret = value(at: secretPosition, of: base)
        let stored = value(at: digestPosition, of: base)
        return stored.withUnsafeBytes { stored in
            let salt = SymmetricKey(copying: UnsafeRawBufferPointer(rebasing: stored[digestCount...]))
            return constantTimeEqual(Array(stored[..<digestCount]), digest(of: secret, salt: salt)) ? secret : nil
        }
    }

    private static func digest(of secret: SymmetricKey, salt: SymmetricKey) -> ArraySlice<UInt8> {
        secret.withUnsafeBytes { HMACSHA256.code(for: $0, key: salt) }.prefix(digestCount)
    }

    private static func value(at x: UInt8, of points: [Point]) -> SymmetricKey {
        let weights = GaloisField256.weights(at: x, positions: points.map(\.position))
        let count = points[0].value.count
        return SymmetricKey(
            SecretBytes(count: count) { target in
                for (point, weight) in zip(points, weights) {
                    point.value.withUnsafeBytes { value in
                        for index in 0..<count { target[index] ^= GaloisField256.multiply(value[index], weight) }
                    }
                }
            })
    }
}
