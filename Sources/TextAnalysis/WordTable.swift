/// Octet strings with numbers: each string has one number as long as the table is not emptied.
///
/// Open addressing over one buffer, so that a known word costs no allocation.
struct OctetTable {
    private var slots: [Int32]
    private var hashes: [UInt64] = []
    private var ends: [Int32] = [0]
    private var octets: [UInt8] = []

    init() { slots = Array(repeating: -1, count: 1 << 12) }

    var count: Int { hashes.count }

    subscript(number: Int) -> ArraySlice<UInt8> {
        octets[Int(ends[number])..<Int(ends[number + 1])]
    }

    /// The string's number, and whether it is new.
    mutating func number(of string: UnsafeBufferPointer<UInt8>, seed: UInt64 = 0) -> (number: Int, isNew: Bool) {
        let hash = Self.hash(string, seed: seed)
        let mask = slots.count - 1
        var slot = Int(truncatingIfNeeded: hash) & mask
        while case let number = Int(slots[slot]), number >= 0 {
            if hashes[number] == hash, holds(string, at: number) { return (number, false) }
            slot = (slot + 1) & mask
        }
        let number = hashes.count
        slots[slot] = Int32(number)
        hashes.append(hash)
        octets.append(contentsOf: string)
        ends.append(Int32(octets.count))
        if hashes.count * 2 > slots.count { grow() }
        return (number, true)
    }

    private func holds(_ string: UnsafeBufferPointer<UInt8>, at number: Int) -> Bool {
        let start = Int(ends[number])
        guard Int(ends[number + 1]) - start == string.count else { return false }
        return octets.withUnsafeBufferPointer { octets in
            for index in 0..<string.count where octets[start + index] != string[index] { return false }
            return true
        }
    }

    private mutating func grow() {
        slots = Array(repeating: -1, count: slots.count * 2)
        let mask = slots.count - 1
        for (number, hash) in hashes.enumerated() {
            var slot = Int(truncatingIfNeeded: hash) & mask
            while slots[slot] >= 0 { slot = (slot + 1) & mask }
            slots[slot] = Int32(number)
        }
    }

    mutating func removeAll() {
        for index in slots.indices { slots[index] = -1 }
        hashes.removeAll(keepingCapacity: true)
        ends = [0]
        octets.removeAll(keepingCapacity: true)
    }

    @inline(__always)
    private static func hash(_ string: UnsafeBufferPointer<UInt8>, seed: UInt64) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325 ^ seed &* 0x9E37_79B9_7F4A_7C15
        for octet in string { hash = (hash ^ UInt64(octet)) &* 0x100_0000_01B3 }
        // The low bits choose the slot.
        return hash ^ hash >> 29
    }
}
