import Cryptography
import Diagnostics
package import SecretMemory

/// SLIP-39: a master secret becomes shares, and enough shares become the master secret.
///
/// Written shares are one group of k of n with 2 <= k; shares of several groups, as other programs make them, are read.
package enum SecretSharing {
    /// - Parameters:
    ///   - secret: 16 octets or more, an even number.
    ///   - threshold: how many shares give the secret back, at least 2.
    ///   - count: how many are made, at most 16.
    package static func split(
        _ secret: SymmetricKey, threshold: Int, count: Int, passphrase: SymmetricKey = SymmetricKey(copying: []),
        iterationExponent: Int = 1, random: (Int) throws -> SecretBytes = { try RandomBytes.secret($0) }
    ) throws -> [Share] {
        guard threshold >= 2, threshold <= count, count <= ShamirSharing.maximumShares else {
            throw DiagnosedError(
                .escrowParameters, fault: .client, "a secret can not be shared that way",
                expected: "2 <= shares needed <= shares made <= \(ShamirSharing.maximumShares)",
                found: "\(threshold) of \(count)",
                hint: threshold < 2 ? "with 1 of n each share alone is the secret" : nil)
        }
        guard secret.count >= 16, secret.count.isMultiple(of: 2), secret.count <= 64,
            (0...15).contains(iterationExponent)
        else {
            throw DiagnosedError(
                .escrowParameters, fault: .internal, "the secret has a size that can not be shared",
                expected: "16 to 64 octets, an even number", found: "\(secret.count)")
        }
        let identifier = try random(2).withUnsafeBytes { UInt16($0[0]) << 8 & 0x7F00 | UInt16($0[1]) }
        let encrypted = try MasterSecretCipher.encrypt(
            secret, passphrase: passphrase,
            .init(identifier: identifier, isExtendable: true, iterationExponent: iterationExponent))
        return try ShamirSharing.split(encrypted, threshold: threshold, count: count, random: random).map {
            Share(
                identifier: identifier, isExtendable: true, iterationExponent: iterationExponent,
                memberIndex: Int($0.position), memberThreshold: threshold, value: $0.value)
        }
    }

    /// The master secret of enough shares; more than enough must agree. A wrong passphrase gives another secret, as the
    /// standard wants it.
    package static func combine(
        _ shares: [Share], passphrase: SymmetricKey = SymmetricKey(copying: [])
    ) throws -> SymmetricKey {
        guard let first = shares.first else { throw missing(0, of: 1, "shares") }
        for share in shares where !share.belongs(with: first) {
            throw mismatch("they are of different secrets")
        }
        var groups: [Int: [Share]] = [:]
        for share in shares {
            var group = groups[share.groupIndex] ?? []
            guard group.first.map({ $0.memberThreshold == share.memberThreshold }) ?? true else {
                throw mismatch("they say differently how many are needed")
            }
            if let same = group.first(where: { $0.memberIndex == share.memberIndex }) {
                guard same.value.isEqual(to: share.value) else {
                    throw mismatch("two of them say that they are share \(share.memberIndex + 1)")
                }
                continue
            }
            group.append(share)
            groups[share.groupIndex] = group
        }
        let complete = groups.filter { $0.value.count >= $0.value[0].memberThreshold }.sorted { $0.key < $1.key }
        guard complete.count >= first.groupThreshold else {
            if first.groupThreshold == 1, let group = groups.values.first {
                throw missing(group.count, of: group[0].memberThreshold, "shares")
            }
            throw missing(complete.count, of: first.groupThreshold, "complete groups of shares")
        }
        var points: [ShamirSharing.Point] = []
        for (index, group) in complete {
            let members = group.map { ShamirSharing.Point(position: UInt8($0.memberIndex), value: $0.value) }
            guard let value = ShamirSharing.combine(members, threshold: group[0].memberThreshold) else {
                throw mismatch("their digest is wrong")
            }
            points.append(ShamirSharing.Point(position: UInt8(index), value: value))
        }
        guard let encrypted = ShamirSharing.combine(points, threshold: first.groupThreshold) else {
            throw mismatch("the digest of the groups is wrong")
        }
        return try MasterSecretCipher.decrypt(
            encrypted, passphrase: passphrase,
            .init(
                identifier: first.identifier, isExtendable: first.isExtendable,
                iterationExponent: first.iterationExponent))
    }

    private static func mismatch(_ why: String) -> DiagnosedError {
        DiagnosedError(
            .sharesMismatch, fault: .client, "the shares do not belong together: \(why)",
            hint: "see on each paper of which escrow it is and which share")
    }

    private static func missing(_ found: Int, of needed: Int, _ what: String) -> DiagnosedError {
        DiagnosedError(
            .sharesMissing, fault: .client, "there are too few \(what)", expected: "\(needed)", found: "\(found)",
            hint: "ask further holders for theirs")
    }
}

extension Share {
    fileprivate func belongs(with other: Share) -> Bool {
        identifier == other.identifier && isExtendable == other.isExtendable
            && iterationExponent == other.iterationExponent && groupThreshold == other.groupThreshold
            && groupCount == other.groupCount && value.count == other.value.count
    }
}
