import Diagnostics
import KMSProtocol
import KeyStore
import Testing
import WireText

/// Spaces and keys are made while the n-th call of the store goes wrong, for each n until a run has no n-th call any more.
@Suite("Making keys while each call of the store fails once")
struct EveryCallFailsTests {
    private static let failure = DiagnosedError("injected", fault: .store, "injected")

    enum Way: String, CaseIterable, Sendable {
        case fails, losesItsAnswer, waits

        var fault: FaultingKeyStore.Fault {
            switch self {
            case .fails: .fail(EveryCallFailsTests.failure)
            case .losesItsAnswer: .loseAnswer(EveryCallFailsTests.failure)
            case .waits: .delay { for _ in 0..<50 { await Task.yield() } }
            }
        }
    }

    @Test(
        "whichever call fails, loses its answer or waits, the same request again is done once, and its keys are readable",
        arguments: Way.allCases, [FaultingKeyStore.Operation.read, .commit])
    func creation(_ way: Way, _ operation: FaultingKeyStore.Operation) async throws {
        var number = 1
        var failures = 0
        while true {
            let inner = MemoryKeyStore()
            let store = FaultingKeyStore(inner)
            let kms = try await TestKMS.start(store: store)
            let alice = try await TestClient.open(kms, People.alice)
            let before = store.calls(of: operation)
            store.inject(way.fault, at: number, of: operation)

            let (create, tries) = try await answered(
                alice, try alice.wrapped("create", "/keys") { $0.member("count", 2) })
            guard case .keys(let keys) = create.body else {
                Issue.record("no keys: \(create.status)")
                return
            }
            #expect(create.status == 201 && keys.count == 2)
            let bind = try alice.wrapped("create", "/resources") { $0.member("keyUris", keys.map(\.uri)) }
            let (bound, more) = try await answered(alice, bind)
            #expect(bound.status == 201)
            for key in keys {
                let (read, _) = try await answered(alice, try alice.wrapped("retrieve", key.uri))
                #expect(read.status == 200, "an acknowledged key is readable")
            }
            // Exactly what was asked for is there, however often it was asked.
            #expect(try await inner.resources(after: nil, limit: 10).count == 1)
            #expect(try await inner.unboundKeys(after: nil, limit: 10).isEmpty)
            failures += tries + more
            guard store.calls(of: operation) - before >= number else { break }
            number += 1
            try #require(number < 200)
        }
        #expect(number > 1, "no call of that kind was made")
        #expect(way == .waits || failures > 0, "no fault was felt")
    }

    /// The answer to one wrapped string, sent again while it is a 500; and how often it was.
    private func answered(_ client: TestClient, _ text: [UInt8]) async throws -> (KMSAnswer, Int) {
        for failures in 0..<4 {
            let answer = try await client.send(text)
            if answer.status != 500 { return (answer, failures) }
        }
        throw Self.failure
    }
}
