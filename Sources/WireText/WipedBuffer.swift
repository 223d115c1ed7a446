import Glibc

/// Octets on the heap that are overwritten before they are given back: growth and end leave no copy behind.
///
/// Not locked into memory: it carries texts such as requests with bearer tokens, for the time of one request. Keys
/// that live longer belong into `SecretMemory`.
struct WipedBuffer: ~Copyable {
    private(set) var start: UnsafeMutablePointer<UInt8>
    private(set) var capacity: Int
    var count = 0

    init(capacity: Int) {
        self.capacity = max(capacity, 16)
        start = .allocate(capacity: self.capacity)
    }

    deinit {
        explicit_bzero(start, count)
        start.deallocate()
    }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: start, count: count) }

    mutating func reserve(_ more: Int) {
        let needed = count + more
        if needed > capacity { grow(to: needed) }
    }

    mutating func append(_ byte: UInt8) {
        if count == capacity { grow(to: count + 1) }
        start[count] = byte
        count += 1
    }

    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress else { return }
        reserve(bytes.count)
        memcpy(start + count, base, bytes.count)
        count += bytes.count
    }

    private mutating func grow(to needed: Int) {
        var larger = capacity * 2
        while larger < needed { larger *= 2 }
        let fresh = UnsafeMutablePointer<UInt8>.allocate(capacity: larger)
        fresh.update(from: start, count: count)
        explicit_bzero(start, count)
        start.deallocate()
        start = fresh
        capacity = larger
    }
}
