import Cryptography
import SecretMemory
import Testing
import WireText

@Suite("Secret memory")
struct SecretMemoryTests {
    let pattern = [UInt8](repeating: 0xA7, count: 96)

    @Test("a secret holds what it was given, and a copy is independent")
    func content() {
        let secret = SecretBytes(copying: pattern)
        #expect(secret.count == 96)
        let copy = secret.copy()
        _ = consume secret
        #expect(copy.withUnsafeBytes { Array($0) } == pattern)
    }

    @Test("the empty secret exists", arguments: [0, 1])
    func empty(capacity: Int) {
        let secret = SecretBytes(capacity: capacity) { _ in 0 }
        #expect(secret.count == 0)
        #expect(secret.withUnsafeBytes { $0.isEmpty })
    }

    @Test("memory is zero before it is filled, whatever stood there before")
    func zeroed() {
        for _ in 0..<50 {
            _ = SecretBytes(copying: pattern)
            let next = SecretBytes(count: 96) { _ in }
            #expect(next.withUnsafeBytes { $0.allSatisfy { $0 == 0 } })
        }
    }

    @Test("what a closure throws comes through, and nothing leaks")
    func throwing() {
        struct Refusal: Error {}
        let before = SecureHeap.used
        #expect(throws: Refusal.self) { _ = try SecretBytes(count: 4096) { _ in throw Refusal() } }
        #expect(SecureHeap.used < before + (1 << 20))
    }

    @Test("the arena's memory is wiped when a secret ends")
    func wiped() async {
        // In a process of its own nobody else fills the arena: beside it a secret has pages that are gone at its end.
        await #expect(processExitsWith: .success) {
            let secret = SecretBytes(count: 40_001) { $0.initializeMemory(as: UInt8.self, repeating: 0xA7) }
            let address = secret.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
            #expect(secret.withUnsafeBytes { bytes in bytes.count { $0 == 0xA7 } } == 40_001)
            _ = consume secret
            // The arena stays mapped for the life of the process, so its free memory may be looked at.
            let memory = UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: address), count: 40_001)
            #expect(memory.count { $0 == 0xA7 } < 4000)
        }
    }

    @Test("secrets larger than the arena's blocks work alike")
    func large() {
        let secret = SecretBytes(count: 3 << 20) { $0.initializeMemory(as: UInt8.self, repeating: 0x5C) }
        #expect(secret.withUnsafeBytes { $0.first == 0x5C && $0.last == 0x5C && $0.count == 3 << 20 })
    }

    @Test("when the arena is full, secrets stand in pages of their own")
    func exhausted() {
        // 8 MiB in blocks of 64 KiB: more than the arena has.
        let keys = (0..<128).map { index in
            SymmetricKey(
                SecretBytes(count: 64 << 10) { $0.initializeMemory(as: UInt8.self, repeating: UInt8(index)) })
        }
        for (index, key) in keys.enumerated() {
            #expect(key.withUnsafeBytes { $0.first == UInt8(index) && $0.last == UInt8(index) })
        }
    }

    @Test("the arena says whether it is locked, again and again the same")
    func locked() {
        SecureHeap.initialize()
        let isLocked = SecureHeap.isLocked
        SecureHeap.initialize(bytes: 1 << 16)
        #expect(SecureHeap.isLocked == isLocked)
        let key = SymmetricKey(copying: pattern)
        #expect(SecureHeap.used > 0 && key.count == 96)
    }

    @Test("neither description nor dump nor reflection shows a key")
    func noDescription() throws {
        struct Holder { let key: SymmetricKey, signing: PrivateKey }
        let key = SymmetricKey(copying: pattern)
        let holder = Holder(key: key, signing: try PrivateKey.generateP256())
        var dumped = ""
        dump(holder, to: &dumped)
        let texts = [String(describing: key), String(reflecting: holder), "\(holder)", "\(holder.signing)", dumped]
        for text in texts {
            #expect(!text.contains("167") && !text.lowercased().contains("a7a7") && !text.contains("0x"))
        }
        #expect(Mirror(reflecting: key).children.isEmpty && Mirror(reflecting: holder.signing).children.isEmpty)
        #expect(!((key as Any) is any CustomStringConvertible) && !((key as Any) is any CustomDebugStringConvertible))
        #expect(!((holder.signing as Any) is any CustomStringConvertible))
    }

    @Test("keys are equal by content, and only then")
    func equality() throws {
        let key = try SymmetricKey.random()
        let same = key.withUnsafeBytes { SymmetricKey(copying: $0) }
        #expect(key.isEqual(to: same))
        #expect(!key.isEqual(to: try SymmetricKey.random()))
        #expect(!key.isEqual(to: SymmetricKey(copying: [])))
        #expect(key.count == 32)
    }

    @Test("comparison in constant time finds every difference", arguments: [0, 1, 15, 31])
    func comparison(position: Int) {
        let left = [UInt8](0..<32)
        var right = left
        #expect(constantTimeEqual(left, right))
        right[position] ^= 0x80
        #expect(!constantTimeEqual(left, right))
        #expect(!constantTimeEqual(left, left.dropLast()))
        // Collections without contiguous storage take another way.
        #expect(constantTimeEqual(left.lazy.map { $0 }, left))
        #expect(!constantTimeEqual(left.lazy.map { $0 }, right))
        #expect(constantTimeEqual([UInt8](), EmptyCollection()))
    }

    @Test("wipe leaves zeros")
    func wiping() {
        var bytes = pattern
        wipe(&bytes)
        #expect(bytes == [UInt8](repeating: 0, count: 96))
        var none: [UInt8] = []
        wipe(&none)
        #expect(none.isEmpty)
    }

    @Test("random bytes have the size asked for and do not repeat")
    func random() throws {
        #expect(try RandomBytes.bytes(0).isEmpty)
        #expect(try RandomBytes.bytes(1000).count == 1000)
        let drawn = try (0..<200).map { _ in try RandomBytes.bytes(12) }
        #expect(Set(drawn).count == 200)
        #expect(try RandomBytes.secret(64).withUnsafeBytes { $0.contains { $0 != 0 } })
    }
}
