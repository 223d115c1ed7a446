import Glibc
import WireText

/// Writes the fields of a record for sealing: each with its length in front, in a fixed order, after a format octet.
///
/// The buffer is wiped when the writer ends. Integers are 8 octets, big endian; an absent optional is one zero octet.
struct FieldWriter: ~Copyable {
    private var bytes: UnsafeMutableRawBufferPointer
    private var count = 0

    init(format: UInt8) {
        bytes = .allocate(byteCount: 512, alignment: 8)
        append(format)
    }

    deinit {
        wipe(bytes)
        bytes.deallocate()
    }

    mutating func field(_ octets: UnsafeRawBufferPointer) {
        append(UInt8(truncatingIfNeeded: octets.count >> 16))
        append(UInt8(truncatingIfNeeded: octets.count >> 8))
        append(UInt8(truncatingIfNeeded: octets.count))
        reserve(octets.count)
        if octets.count > 0 { UnsafeMutableRawBufferPointer(rebasing: bytes[count...]).copyMemory(from: octets) }
        count += octets.count
    }

    mutating func field(_ text: String) {
        var text = text
        text.withUTF8 { field(UnsafeRawBufferPointer($0)) }
    }

    mutating func field(_ number: Int64) {
        for shift in stride(from: 56, through: 0, by: -8) { append(UInt8(truncatingIfNeeded: number >> Int64(shift))) }
    }

    mutating func field(_ time: Timestamp) { field(time.milliseconds) }

    mutating func field(_ flag: Bool) { append(flag ? 1 : 0) }

    mutating func field(optional text: String?) {
        field(text != nil)
        if let text { field(text) }
    }

    mutating func field(optional time: Timestamp?) {
        field(time != nil)
        if let time { field(time) }
    }

    borrowing func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        try body(UnsafeRawBufferPointer(rebasing: bytes[..<count]))
    }

    private mutating func append(_ octet: UInt8) {
        reserve(1)
        bytes[count] = octet
        count += 1
    }

    private mutating func reserve(_ more: Int) {
        guard count + more > bytes.count else { return }
        var size = bytes.count * 2
        while size < count + more { size *= 2 }
        let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 8)
        larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[..<count]))
        wipe(bytes)
        bytes.deallocate()
        bytes = larger
    }
}

/// Reads what `FieldWriter` wrote; nil from any accessor means that the record is not of this form.
struct FieldReader {
    private let bytes: UnsafeRawBufferPointer
    private var position = 1

    init?(_ bytes: UnsafeRawBufferPointer, format: UInt8) {
        guard bytes.first == format else { return nil }
        self.bytes = bytes
    }

    var isAtEnd: Bool { position == bytes.count }

    mutating func octets() -> UnsafeRawBufferPointer? {
        guard bytes.count - position >= 3 else { return nil }
        let length = Int(bytes[position]) << 16 | Int(bytes[position + 1]) << 8 | Int(bytes[position + 2])
        position += 3
        guard bytes.count - position >= length else { return nil }
        defer { position += length }
        return UnsafeRawBufferPointer(rebasing: bytes[position..<position + length])
    }

    mutating func text() -> String? { octets().flatMap { String(validUTF8: $0) } }

    mutating func number() -> Int64? {
        guard bytes.count - position >= 8 else { return nil }
        defer { position += 8 }
        return bytes[position..<position + 8].reduce(Int64(0)) { $0 << 8 | Int64($1) }
    }

    mutating func time() -> Timestamp? { number().map { Timestamp(milliseconds: $0) } }

    mutating func flag() -> Bool? {
        guard position < bytes.count, bytes[position] <= 1 else { return nil }
        defer { position += 1 }
        return bytes[position] == 1
    }

    /// Outer nil: malformed; inner nil: absent.
    mutating func optionalText() -> String?? {
        guard let present = flag() else { return nil }
        guard present else { return .some(nil) }
        guard let text = text() else { return nil }
        return .some(text)
    }

    mutating func optionalTime() -> Timestamp?? {
        guard let present = flag() else { return nil }
        guard present else { return .some(nil) }
        guard let time = time() else { return nil }
        return .some(time)
    }
}

/// Overwrites octets in a way that the optimizer may not leave out.
private func wipe(_ bytes: UnsafeMutableRawBufferPointer) {
    if let start = bytes.baseAddress { explicit_bzero(start, bytes.count) }
}
