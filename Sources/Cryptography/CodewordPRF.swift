internal import COpenSSL

/// A pseudorandom function from 16 octets to 24 bits: AES-128 of one block under the key, cut.
///
/// For comparisons in the search service (`SearchMatching`). It has no inverse and gives no whole block of the cipher out,
/// so whoever links it can not decrypt with it. One value per thread; a new key by `rekey`.
@safe
package struct CodewordPRF: ~Copyable {
    package static let keyByteCount = 16
    package static let inputByteCount = 16

    private let context: OpaquePointer
    private var hasCipher = false

    package init() {
        guard let context = unsafe EVP_CIPHER_CTX_new() else { fatalError("out of memory: PRF context") }
        unsafe self.context = context
    }

    deinit { unsafe EVP_CIPHER_CTX_free(context) }

    package mutating func rekey(high: UInt64, low: UInt64) {
        let key = (high.bigEndian, low.bigEndian)
        unsafe withUnsafeBytes(of: key) { key in
            let start = unsafe key.baseAddress?.assumingMemoryBound(to: UInt8.self)
            if hasCipher {
                requireSuccess(unsafe EVP_EncryptInit_ex2(context, nil, start, nil, nil), "PRF")
            } else {
                requireSuccess(
                    unsafe EVP_EncryptInit_ex2(context, Primitive.aes128.pointer, start, nil, nil), "PRF")
                requireSuccess(unsafe EVP_CIPHER_CTX_set_padding(context, 0), "PRF")
                hasCipher = true
            }
        }
    }

    /// The codeword of one input of 16 octets.
    package mutating func codeword(for input: [UInt8]) -> UInt32 {
        var result: UInt32 = 0
        codewords(for: input) { _, codeword in result = codeword }
        return result
    }

    /// The codeword of the 16 octets of two numbers, big endian.
    package mutating func codeword(high: UInt64, low: UInt64) -> UInt32 {
        precondition(hasCipher, "the PRF needs a key")
        var block = (high.bigEndian, low.bigEndian)
        return unsafe withUnsafeMutableBytes(of: &block) { block in
            let octets = unsafe block.baseAddress!.assumingMemoryBound(to: UInt8.self)  // 16 octets
            var written: Int32 = 0
            requireSuccess(
                unsafe EVP_EncryptUpdate(context, octets, &written, octets, Int32(Self.inputByteCount)), "PRF")
            return unsafe UInt32(block[0]) << 16 | UInt32(block[1]) << 8 | UInt32(block[2])
        }
    }

    /// The codewords of inputs that stand one after the other, 16 octets each; many at once cost least.
    package mutating func codewords(for inputs: [UInt8], _ body: (Int, UInt32) -> Void) {
        precondition(hasCipher && inputs.count % Self.inputByteCount == 0, "the PRF needs a key and whole inputs")
        let piece = 64 * Self.inputByteCount
        unsafe withUnsafeTemporaryAllocation(byteCount: piece, alignment: 16) { blocks in
            let target = unsafe blocks.baseAddress!.assumingMemoryBound(to: UInt8.self)  // not empty
            unsafe inputs.withUnsafeBytes { inputs in
                var offset = 0
                while offset < inputs.count {
                    let count = min(piece, inputs.count - offset)
                    let start = unsafe inputs.baseAddress!.assumingMemoryBound(to: UInt8.self)  // not empty here
                    var written: Int32 = 0
                    requireSuccess(
                        unsafe EVP_EncryptUpdate(context, target, &written, start + offset, Int32(count)), "PRF")
                    for index in stride(from: 0, to: count, by: Self.inputByteCount) {
                        let codeword =
                            unsafe UInt32(blocks[index]) << 16 | UInt32(blocks[index + 1]) << 8
                            | UInt32(blocks[index + 2])
                        body((offset + index) / Self.inputByteCount, codeword)
                    }
                    offset += count
                }
            }
        }
    }
}
