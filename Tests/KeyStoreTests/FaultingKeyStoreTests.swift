import Diagnostics
import KeyStore
import Testing

@Suite struct FaultingKeyStoreTests {
    private static let error = DiagnosedError(.storeFull, fault: .store, "injected")

    @Test("the chosen call fails without an effect, the others pass")
    func failing() async throws {
        let inner = MemoryKeyStore()
        let store = FaultingKeyStore(inner)
        store.inject(.fail(Self.error), at: 2, of: .commit)
        #expect(try await store.apply(.insertKey(Sample.key(1))) == .committed)
        #expect(await code { try await store.apply(.insertKey(Sample.key(2))) } == .storeFull)
        #expect(try await store.apply(.insertKey(Sample.key(3))) == .committed)
        #expect(try await inner.key(Sample.id(2)) == nil)
        #expect(try await inner.key(Sample.id(3)) != nil)
        #expect(store.calls(of: .commit) == 3)
        #expect(store.calls(of: .read) == 0)
    }

    @Test("a lost answer leaves its effect")
    func losing() async throws {
        let store = FaultingKeyStore(MemoryKeyStore())
        store.inject(.loseAnswer(Self.error), of: .commit)
        #expect(await code { try await store.apply(.insertKey(Sample.key(1))) } == .storeFull)
        #expect(try await store.key(Sample.id(1)) != nil)
    }

    @Test("faults on the same call strike one after the other")
    func queueing() async throws {
        let store = FaultingKeyStore(MemoryKeyStore())
        store.inject(.fail(Self.error), of: .read)
        store.inject(.fail(Self.error), of: .read)
        store.inject(.fail(Self.error), of: .check)
        #expect(await code { _ = try await store.rootKeys() } == .storeFull)
        #expect(await code { _ = try await store.isEmpty() } == .storeFull)
        #expect(try await store.isEmpty())
        #expect(await code { try await store.check() } == .storeFull)
        try await store.check()
    }

    @Test("a delayed call happens when it is let go")
    func delaying() async throws {
        let gate = Gate()
        let inner = MemoryKeyStore()
        let store = FaultingKeyStore(inner)
        store.inject(.delay { await gate.pass() }, of: .commit)
        async let slow = store.apply(.insertKey(Sample.key(1)))
        while store.calls(of: .commit) == 0 { await Task.yield() }
        #expect(try await inner.key(Sample.id(1)) == nil)
        #expect(try await store.apply(.insertKey(Sample.key(2))) == .committed)
        gate.open()
        #expect(try await slow == .committed)
        #expect(try await inner.key(Sample.id(1)) != nil)
    }
}
