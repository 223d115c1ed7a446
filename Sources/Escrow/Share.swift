package import Diagnostics
package import SecretMemory

extension DiagnosedError.Code {
    /// Words that are no share: a slip of the pen, or of the tongue.
    package static let shareMalformed: Self = "share-malformed"
    /// Shares that do not give a secret together.
    package static let sharesMismatch: Self = "shares-mismatch"
    package static let sharesMissing: Self = "shares-missing"
    package static let escrowParameters: Self = "escrow-parameters"
    /// A wrapped root key that this escrow does not open, or a proof that is none.
    package static let escrowMismatch: Self = "escrow-mismatch"
}

/// One share of a secret as SLIP-39 writes it: 20 words for a secret of 128 bits, 33 for one of 256.
///
/// The words are as secret as the share. They are read and written as `SecretBytes`; an error names the place of a word,
/// never the word.
package struct Share: Sendable {
    package let identifier: UInt16
    package let isExtendable: Bool
    package let iterationExponent: Int
    package let groupIndex: Int
    package let groupThreshold: Int
    package let groupCount: Int
    package let memberIndex: Int
    package let memberThreshold: Int
    let value: SymmetricKey

    static let minimumWords = 20
    private static let maximumWords = 64
    /// Words of the identifier (2), of the parameters (2), of the checksum (3).
    private static let metadataWords = 7

    init(
        identifier: UInt16, isExtendable: Bool, iterationExponent: Int, groupIndex: Int = 0, groupThreshold: Int = 1,
        groupCount: Int = 1, memberIndex: Int, memberThreshold: Int, value: SymmetricKey
    ) {
        self.identifier = identifier
        self.isExtendable = isExtendable
        self.iterationExponent = iterationExponent
        self.groupIndex = groupIndex
        self.groupThreshold = groupThreshold
        self.groupCount = groupCount
        self.memberIndex = memberIndex
        self.memberThreshold = memberThreshold
        self.value = value
    }

    /// The same share of a secret with another identifier, as a forger could write it; for tests.
    package func withIdentifier(_ identifier: UInt16) -> Share {
        Share(
            identifier: identifier, isExtendable: isExtendable, iterationExponent: iterationExponent,
            groupIndex: groupIndex, groupThreshold: groupThreshold, groupCount: groupCount, memberIndex: memberIndex,
            memberThreshold: memberThreshold, value: value)
    }

    private static func customization(_ isExtendable: Bool) -> String {
        isExtendable ? "shamir_extendable" : "shamir"
    }

    // MARK: Reading

    /// Reads words between white space; lower or upper case.
    package init(words text: UnsafeRawBufferPointer) throws(DiagnosedError) {
        let words = text.split(whereSeparator: { $0 == 0x20 || (0x09...0x0D).contains($0) })
        guard (Self.minimumWords...Self.maximumWords).contains(words.count) else {
            throw Self.malformed(
                "it has another number of words", expected: "20 words, or 33 for a share of an escrow",
                found: "\(words.count)")
        }
        let count = words.count
        let symbols = try SecretSymbols(count: count) { (target) throws(DiagnosedError) in
            for (index, word) in words.enumerated() {
                guard let value = ShareWords.value(of: word) else {
                    throw Self.malformed("word \(index + 1) is not in the list of words", expected: nil, found: nil)
                }
                target[index] = value
            }
        }
        self = try symbols.read { (symbols) throws(DiagnosedError) in try Share(symbols) }
    }

    private init(_ symbols: UnsafeBufferPointer<UInt16>) throws(DiagnosedError) {
        let valueWords = symbols.count - Self.metadataWords
        let padding = valueWords * 10 % 16
        guard padding <= 8 else {
            throw Self.malformed(
                "no secret has a share of that length", expected: "20 words, or 33 for a share of an escrow",
                found: "\(symbols.count)")
        }
        let head = UInt32(symbols[0]) << 10 | UInt32(symbols[1])
        isExtendable = head >> 4 & 1 == 1
        guard ReedSolomon1024.isValid(symbols, customization: Self.customization(isExtendable)) else {
            throw Self.malformed(
                "its checksum is wrong: a word is another one or stands elsewhere", expected: nil, found: nil)
        }
        identifier = UInt16(head >> 5)
        iterationExponent = Int(head & 15)
        let parameters = UInt32(symbols[2]) << 10 | UInt32(symbols[3])
        func field(_ index: UInt32) -> Int { Int(parameters >> (16 - 4 * index) & 15) }
        groupIndex = field(0)
        groupThreshold = field(1) + 1
        groupCount = field(2) + 1
        memberIndex = field(3)
        memberThreshold = field(4) + 1
        guard groupThreshold <= groupCount else {
            throw Self.malformed("it asks for more groups than there are", expected: nil, found: nil)
        }
        // The value stands at the end of its words, behind `padding` bits that are zero.
        var excess: UInt32 = 0
        let count = (valueWords * 10 - padding) / 8
        let value = SecretBytes(count: count) { target in
            var bits: UInt32 = 0
            var held = 0
            var position = 0
            for word in 0..<valueWords {
                bits = bits << 10 | UInt32(symbols[4 + word])
                held += 10
                if word == 0 {
                    excess = bits >> UInt32(10 - padding)
                    held -= padding
                    bits &= 1 << UInt32(held) - 1
                }
                while held >= 8 {
                    held -= 8
                    target[position] = UInt8(truncatingIfNeeded: bits >> UInt32(held))
                    bits &= 1 << UInt32(held) - 1
                    position += 1
                }
            }
        }
        guard excess == 0 else { throw Self.malformed("its padding is not zero", expected: nil, found: nil) }
        self.value = SymmetricKey(value)
    }

    private static func malformed(_ what: String, expected: String?, found: String?) -> DiagnosedError {
        DiagnosedError(
            .shareMalformed, fault: .client, "the words are no share: \(what)", expected: expected, found: found,
            hint: "compare each word with the paper; the first four letters tell words apart")
    }

    // MARK: Writing

    /// The words with a space between them.
    package func words() -> SecretBytes {
        let padding = (10 - value.count * 8 % 10) % 10
        let valueWords = (value.count * 8 + padding) / 10
        let symbols = SecretSymbols(count: valueWords + Self.metadataWords) { target in
            let head = UInt32(identifier) << 5 | (isExtendable ? 1 : 0) << 4 | UInt32(iterationExponent)
            let parameters = [groupIndex, groupThreshold - 1, groupCount - 1, memberIndex, memberThreshold - 1]
                .reduce(UInt32(0)) { $0 << 4 | UInt32($1) }
            for (index, word) in [head >> 10, head & 1023, parameters >> 10, parameters & 1023].enumerated() {
                target[index] = UInt16(word)
            }
            value.withUnsafeBytes { value in
                var bits: UInt32 = 0
                var held = padding
                var word = 4
                for octet in value {
                    bits = bits << 8 | UInt32(octet)
                    held += 8
                    while held >= 10 {
                        held -= 10
                        target[word] = UInt16(bits >> UInt32(held) & 1023)
                        bits &= 1 << UInt32(held) - 1
                        word += 1
                    }
                }
            }
            let checksum = ReedSolomon1024.checksum(
                of: target[..<(4 + valueWords)], customization: Self.customization(isExtendable))
            for (index, word) in checksum.enumerated() { target[4 + valueWords + index] = word }
        }
        return symbols.read { symbols in
            SecretBytes(capacity: symbols.count * 9) { target in
                var position = 0
                for (index, symbol) in symbols.enumerated() {
                    if index > 0 {
                        target[position] = 0x20
                        position += 1
                    }
                    for octet in ShareWords.all[Int(symbol)] {
                        target[position] = octet
                        position += 1
                    }
                }
                return position
            }
        }
    }
}

/// Values of words in secret memory.
private struct SecretSymbols: ~Copyable {
    private let bytes: SecretBytes

    init<E: Error>(count: Int, _ fill: (UnsafeMutableBufferPointer<UInt16>) throws(E) -> Void) throws(E) {
        bytes = try SecretBytes(count: count * 2) { (target) throws(E) in
            try fill(target.bindMemory(to: UInt16.self))
        }
    }

    borrowing func read<R: ~Copyable, E: Error>(_ body: (UnsafeBufferPointer<UInt16>) throws(E) -> R) throws(E) -> R {
        try bytes.withUnsafeBytes { (bytes) throws(E) in try body(bytes.bindMemory(to: UInt16.self)) }
    }
}
