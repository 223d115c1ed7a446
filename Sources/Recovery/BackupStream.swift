import Cryptography
import Diagnostics
import Encryption
import SecretMemory
import WireText

/// Writes a backup's octets: the header, then chunks of AES-256-GCM, each bound to the header, its place and whether it
/// is the last.
///
/// File: "HDS-BACKUP-1" and a line feed; length of the header (4, big endian), header; chunks of length (4, the highest
/// bit marks the last), ciphertext, tag. The key is fresh for each file, the nonce is the chunk's number.
struct BackupWriter: ~Copyable {
    static let magic = Array("HDS-BACKUP-1\n".utf8)
    static let chunkCount = 1 << 16
    static let lastMark: UInt32 = 1 << 31

    private let key: SymmetricKey
    private let sink: ([UInt8]) throws -> Void
    private let binding: [UInt8]
    private var index: Int64 = 0
    private var pending: [UInt8] = []

    init(header: [UInt8], key: SymmetricKey, sink: @escaping ([UInt8]) throws -> Void) throws {
        (self.key, self.sink) = (key, sink)
        var start = Self.magic
        start.append(bigEndian: UInt32(header.count))
        start += header
        binding = SHA256.hash(start)
        try sink(start)
    }

    mutating func append(_ kind: UInt8, _ payload: [UInt8]) throws {
        pending.append(kind)
        pending.append(bigEndian: UInt32(payload.count))
        pending += payload
        while pending.count > Self.chunkCount {
            try seal(Array(pending.prefix(Self.chunkCount)), isLast: false)
            pending.removeFirst(Self.chunkCount)
        }
    }

    consuming func finish() throws { try seal(pending, isLast: true) }

    private mutating func seal(_ plain: [UInt8], isLast: Bool) throws {
        let sealed = try AESGCM.seal(
            plain, key: key, nonce: Self.nonce(index), aad: Self.context(binding, index, isLast: isLast))
        var chunk: [UInt8] = []
        chunk.append(bigEndian: UInt32(sealed.ciphertext.count + sealed.tag.count) | (isLast ? Self.lastMark : 0))
        try sink(chunk + sealed.ciphertext + sealed.tag)
        index += 1
    }

    static func nonce(_ index: Int64) -> [UInt8] {
        var nonce = [UInt8](repeating: 0, count: AESGCM.nonceByteCount - 8)
        nonce.append(bigEndian: index)
        return nonce
    }

    static func context(_ binding: [UInt8], _ index: Int64, isLast: Bool) -> [UInt8] {
        var context: [UInt8] = []
        context.append(lengthPrefixed: "HDS backup chunk")
        context += binding
        context.append(bigEndian: index)
        context.append(isLast ? 1 : 0)
        return context
    }
}

/// Reads what `BackupWriter` wrote; whatever was cut off, changed, moved or added ends in `backup-damaged`.
struct BackupReader {
    private static let maximumHeader = 1 << 20

    let header: BackupHeader
    private let source: (Int) throws -> [UInt8]
    private let binding: [UInt8]

    /// - Parameter source: gives so many octets, or fewer at the end of the file.
    init(source: @escaping (Int) throws -> [UInt8]) throws {
        self.source = source
        let start = try source(BackupWriter.magic.count + 4)
        guard start.starts(with: BackupWriter.magic), start.count == BackupWriter.magic.count + 4 else {
            throw Self.damaged("it does not begin as a backup does")
        }
        let count = Self.number(start.suffix(4))
        guard count <= Self.maximumHeader else { throw Self.damaged("its header is too long") }
        let octets = try source(Int(count))
        guard octets.count == count, let header = BackupHeader(octets) else {
            throw Self.damaged("its header is not whole or of another format")
        }
        self.header = header
        binding = SHA256.hash(start + octets)
    }

    /// Calls `body` with every part in its order; the file is whole when it returns.
    func parts(key: SymmetricKey, _ body: (_ kind: UInt8, _ payload: ArraySlice<UInt8>) throws -> Void) throws {
        var index: Int64 = 0
        var pending: [UInt8] = []
        var isLast = false
        while !isLast {
            let mark = try source(4)
            guard mark.count == 4 else { throw Self.damaged("it ends before its last chunk") }
            let number = Self.number(mark[...])
            isLast = number & BackupWriter.lastMark != 0
            let count = Int(number & ~BackupWriter.lastMark)
            guard (AESGCM.tagByteCount...BackupWriter.chunkCount + AESGCM.tagByteCount).contains(count) else {
                throw Self.damaged("chunk \(index) has an impossible length")
            }
            let chunk = try source(count)
            guard chunk.count == count else { throw Self.damaged("it ends within chunk \(index)") }
            let tag = count - AESGCM.tagByteCount
            guard
                let plain = try? AESGCM.open(
                    Array(chunk[..<tag]), tag: Array(chunk[tag...]), key: key, nonce: BackupWriter.nonce(index),
                    aad: BackupWriter.context(binding, index, isLast: isLast))
            else { throw Self.damaged("chunk \(index) is not what was written there") }
            plain.withUnsafeBytes { pending.append(contentsOf: $0) }
            try take(&pending, body)
            index += 1
        }
        guard pending.isEmpty, try source(1).isEmpty else { throw Self.damaged("something follows its end") }
    }

    private func take(_ pending: inout [UInt8], _ body: (UInt8, ArraySlice<UInt8>) throws -> Void) throws {
        var position = 0
        while pending.count - position >= 5 {
            let count = Int(Self.number(pending[position + 1..<position + 5]))
            guard pending.count - position - 5 >= count else { break }
            try body(pending[position], pending[position + 5..<position + 5 + count])
            position += 5 + count
        }
        pending.removeFirst(position)
    }

    private static func number(_ octets: ArraySlice<UInt8>) -> UInt32 { octets.reduce(0) { $0 << 8 | UInt32($1) } }

    static func damaged(_ what: String) -> DiagnosedError {
        DiagnosedError(
            .backupDamaged, fault: .client, "the backup is damaged: \(what)", expected: "the file as it was written",
            hint: "take another copy of it, or another backup")
    }
}
