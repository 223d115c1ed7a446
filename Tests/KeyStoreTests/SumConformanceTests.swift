import KeyStore
import Testing

/// What sums over rows need of every store: they grow with exactly the changes that took effect.
struct SumConformanceTests {
    private static let writer = Sample.id(0xA)
    private static let other = Sample.id(0xB)

    private static func sum(_ number: Int64) -> RowSum {
        RowSum(numbers: [number, 0, 0, 0, 0, 0, 0, RowSum.modulus - number]) ?? RowSum()
    }

    private static func change(
        _ number: Int64, _ writes: StoreWrite..., writer: String = writer, expecting: [StoreExpectation] = []
    ) -> StoreChange {
        var change = StoreChange(writes: writes, expectations: expecting)
        change.sum = SumChange(writer: writer, sum: sum(number))
        return change
    }

    @Test("a sum is eight numbers that are added each for itself, and takes back what was added")
    func arithmetic() throws {
        let high = try #require(RowSum(numbers: [RowSum.modulus - 1, 1, 0, 0, 0, 0, 0, 7]))
        #expect((high + high).numbers == [RowSum.modulus - 2, 2, 0, 0, 0, 0, 0, 14])
        #expect(high + high - high == high)
        #expect((RowSum() - high).numbers == [1, RowSum.modulus - 1, 0, 0, 0, 0, 0, RowSum.modulus - 7])
        #expect(RowSum(high.octets) == high)
        #expect(RowSum(numbers: [RowSum.modulus, 0, 0, 0, 0, 0, 0, 0]) == nil)
        #expect(RowSum(high.octets.dropLast()) == nil)
    }

    @Test("what changes add stands in their writer's row, modulo 2^32, and nowhere else", arguments: StoreKind.allCases)
    func adding(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            #expect(try await store.rowSums().isEmpty)
            #expect(try await store.commit(Self.change(5, .insertKey(Sample.key(1)))) == .committed)
            #expect(try await store.commit(Self.change(RowSum.modulus - 1, .insertKey(Sample.key(2)))) == .committed)
            #expect(
                try await store.commit(Self.change(9, .insertKey(Sample.key(3)), writer: Self.other)) == .committed)
            try await store.apply(.insertKey(Sample.key(4)))
            #expect(
                try await store.rowSums() == [
                    WriterSum(writer: Self.writer, counter: 2, sum: Self.sum(5) + Self.sum(RowSum.modulus - 1)),
                    WriterSum(writer: Self.other, counter: 1, sum: Self.sum(9)),
                ])
        }
    }

    @Test("what is refused adds nothing, alone or beside others", arguments: StoreKind.allCases)
    func refused(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(.insertKey(Sample.key(1)), .insertLedger(Sample.ledger(1)))
            #expect(try await store.commit(Self.change(5, .insertKey(Sample.key(1)))) == .conflict)
            #expect(try await store.commit(Self.change(5, .insertLedger(Sample.ledger(1)))) == .duplicate)
            #expect(
                try await store.commit(
                    Self.change(5, .insertKey(Sample.key(2)), expecting: [.setting(name: "a", value: [1])]))
                    == .conflict)
            #expect(try await store.rowSums().isEmpty)
            try await withThrowingTaskGroup(of: (Int, CommitResult).self) { group in
                for number in 0..<60 {
                    // Each third is there.
                    let key = Sample.key(number % 3 == 0 ? 1 : 100 + number)
                    group.addTask { (number, try await store.commit(Self.change(Int64(number), .insertKey(key)))) }
                }
                for try await (number, result) in group {
                    #expect(result == (number % 3 == 0 ? .conflict : .committed))
                }
            }
            let expected = (0..<60).filter { $0 % 3 != 0 }.reduce(RowSum()) { $0 + Self.sum(Int64($1)) }
            #expect(try await store.rowSums() == [WriterSum(writer: Self.writer, counter: 40, sum: expected)])
        }
    }

    @Test("the contents of a resource are expected by their number and versions", arguments: StoreKind.allCases)
    func contents(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            try await store.apply(
                .insertResource(Sample.resource(50)), .insertKey(Sample.key(1, resource: 50)),
                .insertKey(Sample.key(2, version: 3, resource: 50)), .insertKey(Sample.key(3)),
                .insertAuthorization(Sample.authorization(4, version: 2, resource: 50, user: 1, removedAt: 1)))
            func holds(_ rows: Int64, _ versions: Int64, of resource: Int = 50) async throws -> Bool {
                try await store.apply(
                    .putSetting(name: "a", value: [1]),
                    expecting: [.contents(resource: Sample.id(resource), rows: rows, versions: versions)]) == .committed
            }
            #expect(try await holds(3, 6))
            #expect(try await !holds(2, 6))
            #expect(try await !holds(3, 7))
            #expect(try await holds(0, 0, of: 51))
        }
    }
}
